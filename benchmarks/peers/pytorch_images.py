"""An image generator in PyTorch as its users write it, trained for a given time.

    pytorch_images.py dcgan IMAGES --minutes 60 --num 10000 --out DIR
    pytorch_images.py sngan IMAGES --minutes 60 --num 10000 --out DIR

IMAGES is a folder of pictures of 32x32. Writes DIR/made.npz, and DIR/averaged.npz by the generator's moving average.
Needs torch, numpy and pillow.

dcgan: Radford et al. 2016, https://arxiv.org/abs/1511.06434, cut to 32x32: channels 256, 128, 64.
sngan: Miyato et al. 2018, https://arxiv.org/abs/1802.05957, tables 3 and 4: hinge, spectral norm in seven convolutions,
one step of the discriminator for each of the generator's.
"""

import argparse
import copy
import pathlib
import time

import numpy
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from environment import pytorch_arguments

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("model", choices=["dcgan", "sngan"])
parser.add_argument("images", type=pathlib.Path)
parser.add_argument("--minutes", type=float, required=True)
parser.add_argument("--num", type=int, default=10_000)
parser.add_argument("--out", type=pathlib.Path, required=True)
options = pytorch_arguments(parser)

START = time.monotonic()
torch.set_num_threads(options.threads)
torch.manual_seed(0)
MEMORY = torch.channels_last if options.channels_last else torch.contiguous_format
BATCH, LATENTS = 64, 128 if options.model == "sngan" else 100
# Half of the average is younger than so many images.
HALF_LIFE = 10_000


def read(source):
    paths = sorted(path for path in source.rglob("*") if path.suffix.lower() in {".png", ".jpg", ".jpeg"})
    return numpy.stack([numpy.asarray(Image.open(path).convert("RGB")) for path in paths])


def dcgan(channels):
    def up(i, o, stride, padding):
        return [nn.ConvTranspose2d(i, o, 4, stride, padding, bias=False), nn.BatchNorm2d(o), nn.ReLU(True)]

    def down(i, o):
        return [nn.Conv2d(i, o, 4, 2, 1, bias=False), nn.BatchNorm2d(o), nn.LeakyReLU(0.2, True)]

    generator = nn.Sequential(
        nn.Unflatten(1, (LATENTS, 1, 1)), *up(LATENTS, 256, 1, 0), *up(256, 128, 2, 1), *up(128, 64, 2, 1),
        nn.ConvTranspose2d(64, channels, 4, 2, 1), nn.Tanh(),
    )
    discriminator = nn.Sequential(
        nn.Conv2d(channels, 64, 4, 2, 1), nn.LeakyReLU(0.2, True), *down(64, 128), *down(128, 256),
        nn.Conv2d(256, 1, 4), nn.Flatten(),
    )
    for part in [*generator.modules(), *discriminator.modules()]:
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(part.weight, 0, 0.02)
        elif isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.weight, 1, 0.02)
    return generator, discriminator


def sngan(channels):
    def up(i, o):
        return [nn.ConvTranspose2d(i, o, 4, 2, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU(True)]

    def seen(i, o, kernel, stride):
        return [spectral_norm(nn.Conv2d(i, o, kernel, stride, 1)), nn.LeakyReLU(0.1, True)]

    generator = nn.Sequential(
        nn.Linear(LATENTS, 512 * 4 * 4, bias=False), nn.Unflatten(1, (512, 4, 4)), nn.BatchNorm2d(512), nn.ReLU(True),
        *up(512, 256), *up(256, 128), *up(128, 64), nn.Conv2d(64, channels, 3, 1, 1), nn.Tanh(),
    )
    discriminator = nn.Sequential(
        *seen(channels, 64, 3, 1), *seen(64, 64, 4, 2), *seen(64, 128, 3, 1), *seen(128, 128, 4, 2),
        *seen(128, 256, 3, 1), *seen(256, 256, 4, 2), *seen(256, 512, 3, 1),
        nn.Flatten(), spectral_norm(nn.Linear(512 * 4 * 4, 1)),
    )
    return generator, discriminator


def fast():
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=options.precision == "bf16")


def of_fakes(logits):
    return F.softplus(logits).mean() if options.model == "dcgan" else F.relu(1 + logits).mean()


def of_reals(logits):
    return F.softplus(-logits).mean() if options.model == "dcgan" else F.relu(1 - logits).mean()


def to_fool(logits):
    return F.softplus(-logits).mean() if options.model == "dcgan" else -logits.mean()


pixels = read(options.images)
reals = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(memory_format=MEMORY)
generator, discriminator = (network.to(memory_format=MEMORY) for network in globals()[options.model](reals.shape[1]))
average = copy.deepcopy(generator)
adam = lambda network: torch.optim.Adam(network.parameters(), 2e-4, (0.5, 0.999), fused=True)
for_generator, for_discriminator = adam(generator), adam(discriminator)
images_seen, told, keep = 0, 0, 0.5 ** (BATCH / HALF_LIFE)
while (share := (time.monotonic() - START) / (60 * options.minutes)) < 1:
    chosen = torch.randint(len(reals), (BATCH,))
    real = reals[chosen].float() / 127.5 - 1
    with fast():
        fakes = generator(torch.randn(BATCH, LATENTS))
        loss = of_reals(discriminator(real).float()) + of_fakes(discriminator(fakes.detach()).float())
    for_discriminator.zero_grad(set_to_none=True)
    loss.backward()
    for_discriminator.step()
    discriminator.requires_grad_(False)
    with fast():
        loss = to_fool(discriminator(fakes).float())
    for_generator.zero_grad(set_to_none=True)
    loss.backward()
    for_generator.step()
    discriminator.requires_grad_(True)
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(generator.parameters()), 1 - keep)
        for mine, theirs in zip(average.buffers(), generator.buffers()):
            mine.copy_(theirs)
    images_seen += BATCH
    if share > told:
        told += 0.1
        print(f"{100 * share:3.0f} %  {images_seen / 1000:.3f} kimg", flush=True)

options.out.mkdir(parents=True, exist_ok=True)
for name, network in [("made", generator), ("averaged", average)]:
    # As while training: each batch is normalized by its own statistics.
    latents = torch.randn(options.num, LATENTS).split(BATCH)
    with torch.no_grad():
        made = torch.cat([((network(z).float() + 1) * 127.5).round().clamp(0, 255).byte() for z in latents])
    numpy.savez(options.out / f"{name}.npz", images=made.permute(0, 2, 3, 1).numpy())
print(f"{images_seen / 1000:.3f} kimg")
