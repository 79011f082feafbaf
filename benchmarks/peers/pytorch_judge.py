"""How far images are from Fashion-MNIST or MNIST, as a classifier in PyTorch sees them.

    pytorch_judge.py IDX-FOLDER MADE.npz…

Teaches a small convolutional network the training images of the folder's four IDX files (in gzip), then prints the Fréchet
distance of each NPZ file's images, and first of the test images, to the training images in its 128 features. Needs torch and numpy.
"""

import argparse
import gzip
import pathlib

import numpy
import torch
import torch.nn.functional as F
from torch import nn

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("images", type=pathlib.Path)
parser.add_argument("made", type=pathlib.Path, nargs="*")
parser.add_argument("--epochs", type=int, default=6)
options = parser.parse_args()

BATCH = 128
torch.manual_seed(0)


def idx(name):
    """Values of an IDX file behind its header, which has four bytes and four for each axis."""
    data = gzip.decompress((options.images / f"{name}.gz").read_bytes())
    axes = data[3]
    shape = [int.from_bytes(data[4 * axis : 4 * axis + 4], "big") for axis in range(1, axes + 1)]
    return torch.from_numpy(numpy.frombuffer(data, numpy.uint8, offset=4 + 4 * axes).reshape(shape).copy())


def images_of(pixels):
    return pixels.unsqueeze(1).float() / 127.5 - 1


features = nn.Sequential(
    nn.Conv2d(1, 32, 3, 1, 1), nn.ReLU(), nn.Conv2d(32, 64, 4, 2, 1), nn.BatchNorm2d(64), nn.ReLU(),
    nn.Conv2d(64, 128, 4, 2, 1), nn.BatchNorm2d(128), nn.ReLU(), nn.Flatten(),
    nn.Dropout(0.3), nn.Linear(128 * 7 * 7, 128), nn.ReLU(),
)
head = nn.Linear(128, 10)
network = nn.Sequential(features, head)
pixels, labels = idx("train-images-idx3-ubyte"), idx("train-labels-idx1-ubyte").long()
steps = options.epochs * (len(pixels) // BATCH)
adam = torch.optim.Adam(network.parameters(), 1e-3)
schedule = torch.optim.lr_scheduler.OneCycleLR(adam, 2e-3, steps)
for _ in range(options.epochs):
    for chosen in torch.randperm(len(pixels)).split(BATCH)[: len(pixels) // BATCH]:
        loss = F.cross_entropy(network(images_of(pixels[chosen])), labels[chosen])
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
network.eval()


@torch.no_grad()
def seen(pixels):
    return torch.cat([features(images_of(part)) for part in pixels.split(500)]).double()


def moments(features):
    return features.mean(0), torch.cov(features.T)


def distance(one, other):
    """Dowson & Landau 1982: the trace of the root of a product is the sum of the roots of its eigenvalues."""
    (mean_a, cov_a), (mean_b, cov_b) = one, other
    roots = torch.linalg.eigvals(cov_a @ cov_b).real.clamp(min=0).sqrt().sum()
    return float((mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * roots)


real = moments(seen(pixels))
tested = idx("t10k-images-idx3-ubyte")
with torch.no_grad():
    right = (head(seen(tested).float()).argmax(1) == idx("t10k-labels-idx1-ubyte")).float().mean()
print(f"test images\t{distance(moments(seen(tested)), real):.4f}\t{right:.4f} of them named rightly")
for path in options.made:
    made = torch.from_numpy(numpy.load(path)["images"][..., 0])
    print(f"{path}\t{distance(moments(seen(made)), real):.4f}", flush=True)
