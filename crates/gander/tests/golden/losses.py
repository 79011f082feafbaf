"""Adversarial losses and their gradients for the logits. PyTorch 2.15.0, seed 0.

What the scripts share lies with the tensors: crates/gander-tensor/tests/golden/golden.py.

    real_logits, fake_logits     [8]
    LOSS.discriminator, LOSS.generator             means over the batch
    LOSS.discriminator.{real, fake}.grad           absent where zero
    LOSS.generator.{real, fake}.grad
"""

import pathlib
import sys

import torch
import torch.nn.functional as F

sys.path.append(str(pathlib.Path(__file__).resolve().parents[3] / "gander-tensor/tests/golden"))
from golden import Golden

golden = Golden(__file__)
bce = F.binary_cross_entropy_with_logits


def mse_to(logits, target):
    return F.mse_loss(logits, torch.full_like(logits, target))


def soft_hinge(x):
    return torch.where(x > -0.8, x + 0.9, torch.relu(x + 1).square() / 0.4).mean()


LOSSES = {
    # Goodfellow et al. 2014, the generator's loss of section 3.
    "non_saturating": (
        lambda real, fake: bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake)),
        lambda real, fake: bce(fake, torch.ones_like(fake)),
    ),
    # Mao et al. 2017, equation 2 with a = 0, b = c = 1, halves included.
    "least_squares": (
        lambda real, fake: 0.5 * mse_to(real, 1.0) + 0.5 * mse_to(fake, 0.0),
        lambda real, fake: 0.5 * mse_to(fake, 1.0),
    ),
    # Lim & Ye 2017, Miyato et al. 2018 (equations 16 and 17).
    "hinge": (
        lambda real, fake: torch.relu(1 - real).mean() + torch.relu(1 + fake).mean(),
        lambda real, fake: -fake.mean(),
    ),
    # Liu et al. 2021, the mean over margins from 0.8 to 1.
    "soft_hinge": (
        lambda real, fake: soft_hinge(-real) + soft_hinge(fake),
        lambda real, fake: -fake.mean(),
    ),
    # Arjovsky et al. 2017.
    "wasserstein": (
        lambda real, fake: fake.mean() - real.mean(),
        lambda real, fake: -fake.mean(),
    ),
    # Jolicoeur-Martineau 2018, paired.
    "relativistic": (
        lambda real, fake: bce(real - fake, torch.ones_like(real)),
        lambda real, fake: bce(fake - real, torch.ones_like(fake)),
    ),
}

logits = {"real": golden.random(8, scale=1.5) + 0.5, "fake": golden.random(8, scale=1.5) - 0.5}
for name, values in logits.items():
    golden.store(f"{name}_logits", values)
    values.requires_grad_()
for loss, players in LOSSES.items():
    for player, function in zip(("discriminator", "generator"), players):
        value = function(*logits.values())
        golden.store(f"{loss}.{player}", value)
        for name, gradient in zip(logits, torch.autograd.grad(value, logits.values(), allow_unused=True)):
            if gradient is not None:
                golden.store(f"{loss}.{player}.{name}.grad", gradient)
golden.save()
