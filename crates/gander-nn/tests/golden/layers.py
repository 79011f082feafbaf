"""Layers and optimizers that keep a state, over several steps. PyTorch 2.15.0, seed 0.

What the scripts share lies with the tensors: crates/gander-tensor/tests/golden/golden.py. Step `s` counts from 0.

    batch_norm.s.{x, y}          a batch and its normalization in training
    batch_norm.{scale, shift}
    batch_norm.s.{mean, var}     the running averages after it, momentum 0.1
    batch_norm.evaluated         the last batch, normalized by them
    spectral.{weight, u, upstream}    a convolution's weight [height, width, in, out], the first u, a gradient
    spectral.s.{normalized, u}   after the power iteration of a pass in training (that of Miyato et al. 2018)
    spectral.grad                the gradient of sum(upstream * normalized) for the weight, in the last pass
    spectral.evaluated           the weight normalized by the last u, which does not move
    adam_N.lr, .beta1, .beta2    eps is 1e-8
    adam_N.W.weight, adam_N.s.W.{grad, weight}    weight W before the first and after each step
"""

import pathlib
import sys

import torch
import torch.nn.functional as F

sys.path.append(str(pathlib.Path(__file__).resolve().parents[3] / "gander-tensor/tests/golden"))
from golden import Golden, channels_first, channels_last, torch_weight

golden = Golden(__file__)
STEPS = 3

# Batch normalization.
channels = 5
layer = torch.nn.BatchNorm2d(channels).double()
layer.weight.data, layer.bias.data = golden.positive(channels), golden.random(channels)
golden.store("batch_norm.scale", layer.weight)
golden.store("batch_norm.shift", layer.bias)
for step in range(STEPS):
    x = golden.random(3, 4, 3, channels, scale=1.5) + step
    golden.store(f"batch_norm.{step}.x", x)
    golden.store(f"batch_norm.{step}.y", channels_last(layer(channels_first(x))))
    golden.store(f"batch_norm.{step}.mean", layer.running_mean)
    golden.store(f"batch_norm.{step}.var", layer.running_var)
golden.store("batch_norm.evaluated", channels_last(layer.eval()(channels_first(x))))

# Spectral normalization.
weight = golden.random(3, 3, 4, 6)
conv = torch.nn.Conv2d(4, 6, 3).double()
conv.weight.data = torch_weight(weight).contiguous()
conv = torch.nn.utils.spectral_norm(conv, n_power_iterations=1)
conv.weight_u.copy_(F.normalize(golden.random(6), dim=0).float().double())
golden.store("spectral.weight", weight)
golden.store("spectral.u", conv.weight_u)
upstream = golden.random(3, 3, 4, 6)
golden.store("spectral.upstream", upstream)


def our_layout(w):
    """[out, in, height, width] to [height, width, in, out]."""
    return w.permute(2, 3, 1, 0)


for step in range(STEPS):
    conv.train()(golden.random(1, 4, 3, 3))
    golden.store(f"spectral.{step}.normalized", our_layout(conv.weight))
    golden.store(f"spectral.{step}.u", conv.weight_u)
(gradient,) = torch.autograd.grad((our_layout(conv.weight) * upstream).sum(), conv.weight_orig)
golden.store("spectral.grad", our_layout(gradient))
matrix = conv.weight_orig.detach().flatten(1)
v = F.normalize(matrix.T @ conv.weight_u, dim=0)
golden.store("spectral.evaluated", our_layout(conv.weight_orig) / (conv.weight_u @ matrix @ v))

# Adam. The second weight has gradients so small that eps matters.
for number, (lr, betas) in enumerate([(2e-3, (0.0, 0.9)), (1e-2, (0.5, 0.999))]):
    weights = {"kernel": golden.random(4, 5), "bias": golden.random(7)}
    scales = {"kernel": 1.0, "bias": 3e-8}
    for name, weight in weights.items():
        golden.store(f"adam_{number}.{name}.weight", weight)
        weight.requires_grad_()
    for name, value in {"lr": lr, "beta1": betas[0], "beta2": betas[1]}.items():
        golden.store(f"adam_{number}.{name}", torch.tensor(value).double())
    optimizer = torch.optim.Adam(weights.values(), lr=lr, betas=betas, eps=1e-8)
    for step in range(STEPS):
        for name, weight in weights.items():
            weight.grad = golden.random(*weight.shape, scale=scales[name])
            golden.store(f"adam_{number}.{step}.{name}.grad", weight.grad)
        optimizer.step()
        for name, weight in weights.items():
            golden.store(f"adam_{number}.{step}.{name}.weight", weight)

golden.save()
