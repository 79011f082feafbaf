"""R1, R2 and WGAN-GP of a small convolutional discriminator. PyTorch 2.15.0, seed 0; see golden.py.

For each activation (leaky relu with slope 0.2; softplus, whose second derivative is not zero) the file holds the
logits at `real` and, for each penalty, its value per sample and the gradient of its mean for every weight.
Interpolates are `real + mix * (fake - real)`.
"""

import torch
import torch.nn.functional as F

from golden import Golden, channels_first, channels_last, torch_weight

golden = Golden(__file__)
batch, side = 3, 12
weights = {
    "conv0.weight": golden.random(4, 4, 3, 8, scale=0.15),
    "conv0.bias": golden.random(8, scale=0.1),
    "conv1.weight": golden.random(4, 4, 8, 16, scale=0.1),
    "conv1.bias": golden.random(16, scale=0.1),
    "linear.weight": golden.random(side // 4 * side // 4 * 16, 1, scale=0.1),
    "linear.bias": golden.random(1, scale=0.1),
}
real = golden.random(batch, side, side, 3, scale=0.5)
fake = golden.random(batch, side, side, 3, scale=0.5)
mix = torch.rand(batch, 1, 1, 1).double()
for name, tensor in {**weights, "real": real, "fake": fake, "mix": mix}.items():
    golden.store(name, tensor)


def discriminator(images, w, activation):
    x = channels_first(images)
    x = activation(F.conv2d(x, torch_weight(w["conv0.weight"]), w["conv0.bias"], stride=2, padding=1))
    x = activation(F.conv2d(x, torch_weight(w["conv1.weight"]), w["conv1.bias"], stride=2, padding=1))
    # Flattened in the order of height, width, channel.
    x = channels_last(x).flatten(1)
    return (x @ w["linear.weight"] + w["linear.bias"])[:, 0]


def leaky(x):
    return F.leaky_relu(x, 0.2)


for activation_name, activation in {"leaky_relu": leaky, "softplus": F.softplus}.items():
    golden.store(f"{activation_name}.logits", discriminator(real, weights, activation))
    interpolates = real + mix * (fake - real)
    for penalty_name, images in {"r1": real, "r2": fake, "wgan_gp": interpolates}.items():
        w = {name: tensor.clone().requires_grad_() for name, tensor in weights.items()}
        images = images.clone().requires_grad_()
        logits = discriminator(images, w, activation)
        (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
        penalty = gradient.square().sum((1, 2, 3))
        if penalty_name == "wgan_gp":
            penalty = (penalty.sqrt() - 1).square()
        gradients = torch.autograd.grad(penalty.mean(), list(w.values()), allow_unused=True)
        golden.store(f"{activation_name}.{penalty_name}", penalty)
        for name, gradient in zip(w, gradients):
            if gradient is not None and gradient.abs().max() > 0:
                golden.store(f"{activation_name}.{penalty_name}.grad.{name}", gradient)

golden.save()
