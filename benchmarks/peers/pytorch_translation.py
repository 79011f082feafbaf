"""A translator of Gander's, trained in PyTorch: the same networks, losses, batch and schedule, for a given time.

    pytorch_translation.py RUN/config.toml A B --minutes 15 --translate INPUTS --out DIR

Reads family and sizes from the config of a Gander run (pix2pix, cyclegan or cut), learns from the folders A and B (of
the same names for pix2pix) and writes what becomes of INPUTS. The rate falls by the clock, as `--minutes` lets it fall
in Gander. Needs torch, numpy and pillow, and Python 3.11 or later.
"""

import argparse
import pathlib
import time
import tomllib

import numpy
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from environment import pytorch_arguments

parser = argparse.ArgumentParser()
parser.add_argument("config", type=pathlib.Path)
parser.add_argument("a", type=pathlib.Path)
parser.add_argument("b", type=pathlib.Path)
parser.add_argument("--minutes", type=float, required=True)
parser.add_argument("--translate", type=pathlib.Path, required=True)
parser.add_argument("--out", type=pathlib.Path, required=True)
options = pytorch_arguments(parser)

START = time.monotonic()
torch.set_num_threads(options.threads)
torch.manual_seed(0)
config = tomllib.loads(options.config.read_text())
model, training = config["model"], config["training"]
WIDTH = model["width"]
MEMORY = torch.channels_last if options.channels_last else torch.contiguous_format


def read(folder):
    """Images as `[count, 3, height, width]`, -1 to 1, in the order of their names."""
    sides = (model["images"]["width_px"], model["images"]["height_px"])
    images = [Image.open(path).convert("RGB").resize(sides, Image.BOX) for path in sorted(folder.glob("*.png"))]
    return torch.from_numpy(numpy.stack([numpy.asarray(image) for image in images])).permute(0, 3, 1, 2).float() / 127.5 - 1


class Filter(nn.Module):
    """Resampling by two with the separable filter [1, 3, 3, 1]."""

    def __init__(self, channels, up):
        super().__init__()
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
        kernel = torch.outer(taps, taps) / 64 * (4 if up else 1)
        self.resample = F.conv_transpose2d if up else F.conv2d
        self.register_buffer("kernel", kernel.expand(channels, 1, 4, 4).clone())

    def forward(self, x):
        return self.resample(x, self.kernel.to(x.dtype), stride=2, padding=1, groups=x.shape[1])


def doubling(inside, outside, how, transposed, bias=False):
    if how == "transposed":
        return transposed
    larger = Filter(inside, True) if how == "filtered" else nn.Upsample(scale_factor=2)
    return nn.Sequential(larger, nn.Conv2d(inside, outside, 3, padding=1, bias=bias))


class Residual(nn.Module):
    def __init__(self, c):
        super().__init__()
        part = lambda: [nn.ReflectionPad2d(1), nn.Conv2d(c, c, 3, bias=False), nn.InstanceNorm2d(c)]
        self.inner = nn.Sequential(*part(), nn.ReLU(), *part())

    def forward(self, x):
        return x + self.inner(x)


class Translator(nn.Module):
    """CycleGAN's and CUT's."""

    def __init__(self):
        super().__init__()
        w, blocks, filtered = WIDTH, model["blocks"], model["family"] == "cut"
        how = "filtered" if filtered else model["upsampling"]
        down = lambda i, o: nn.Conv2d(i, o, 3, 1 if filtered else 2, 1, bias=False)
        shrink = lambda c: Filter(c, False) if filtered else nn.Identity()
        then = lambda c: nn.Sequential(nn.InstanceNorm2d(c), nn.ReLU())
        up = lambda i, o: doubling(i, o, how, nn.ConvTranspose2d(i, o, 3, 2, 1, 1, bias=False))
        self.parts = nn.ModuleList([
            nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(3, w, 7, bias=False), then(w), down(w, 2 * w)),
            nn.Sequential(then(2 * w), shrink(2 * w), down(2 * w, 4 * w)),
            nn.Sequential(then(4 * w), shrink(4 * w), Residual(4 * w)),
            nn.Sequential(*[Residual(4 * w) for _ in range(4)]),
        ])
        self.rest = nn.Sequential(
            *[Residual(4 * w) for _ in range(blocks - 5)], up(4 * w, 2 * w), then(2 * w), up(2 * w, w), then(w),
            nn.ReflectionPad2d(3), nn.Conv2d(w, 3, 7),
        )

    def features(self, image):
        seen = [image]
        for part in self.parts:
            seen.append(part(seen[-1]))
        return seen

    def forward(self, image):
        return self.with_features(image)[0]

    def with_features(self, image):
        seen = self.features(image)
        painted = self.rest(seen[-1]).float()
        return (image + painted if model.get("output") == "change" else torch.tanh(painted)), seen


class UNet(nn.Module):
    """pix2pix's."""

    def __init__(self):
        super().__init__()
        n, how = model["downs"], model["upsampling"]
        channels = lambda level: WIDTH * min(2 ** min(level, 3), 8)
        norm = nn.BatchNorm2d if model["normalization"] == "batch" else lambda c: nn.InstanceNorm2d(c, affine=True)
        self.downs, self.ups = nn.ModuleList(), nn.ModuleList()
        for level in range(n):
            plain = level in (0, n - 1)
            conv = nn.Conv2d(channels(level - 1) if level else 3, channels(level), 4, 2, 1, bias=plain)
            self.downs.append(nn.Sequential(conv, nn.Identity() if plain else norm(channels(level))))
        for level in reversed(range(n)):
            inside = channels(level) * (1 if level == n - 1 else 2)
            outside = channels(level - 1) if level else 3
            transposed = nn.ConvTranspose2d(inside, outside, 4, 2, 1, bias=level == 0)
            conv = doubling(inside, outside, how, transposed, bias=level == 0)
            dropped = nn.Dropout(model["dropout"]) if level >= max(1, n - 3) else nn.Identity()
            self.ups.append(nn.Sequential(conv, norm(outside) if level else nn.Identity(), dropped))

    def forward(self, x):
        seen = []
        for level, down in enumerate(self.downs):
            x = down(F.leaky_relu(x, 0.2) if level else x)
            seen.append(x)
        seen.pop()
        for up in self.ups:
            x = up(F.relu(x))
            x = torch.cat([x, seen.pop()], 1) if seen else x
        return torch.tanh(x.float())


def judge(channels):
    halvings = {16: 1, 34: 2, 70: 3}[model["patch_px"]]
    width = model.get("discriminator_width", WIDTH)
    layers = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
    for i in range(halvings):
        conv = nn.Conv2d(width << i, width << i + 1, 4, 2 if i + 1 < halvings else 1, 1, bias=False)
        layers += [conv, nn.InstanceNorm2d(width << i + 1), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(width << halvings, 1, 4, 1, 1))


def fresh(network):
    for part in network.modules():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(part.weight, 0, 0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, (nn.BatchNorm2d, nn.InstanceNorm2d)) and part.weight is not None:
            nn.init.normal_(part.weight, 1, 0.02)
    return network.to(memory_format=MEMORY)


class Pool:
    """CycleGAN's earlier fakes."""

    def __init__(self):
        self.images = []

    def exchange(self, fakes):
        shown = []
        for fake in fakes.detach().split(1):
            if len(self.images) < model["pool"]:
                self.images.append(fake)
            elif torch.rand(()) < 0.5:
                place = int(torch.randint(len(self.images), ()))
                self.images[place], fake = fake, self.images[place]
            shown.append(fake)
        return torch.cat(shown)


def fast():
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=options.precision == "bf16")


def near(logits, target):
    return (logits.float() - target).square().mean()


def softplus(logits):
    return F.softplus(logits.float()).mean()


def apart(a, b):
    return F.l1_loss(a.float(), b)


optimizers = []


def adam(*networks):
    weights = [weight for network in networks for weight in network.parameters()]
    optimizers.append(torch.optim.Adam(weights, training["learning_rate"], (training["beta1"], training["beta2"]), fused=True))
    return optimizers[-1]


def minimize(optimizer, loss):
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def pix2pix():
    to_b, of_pairs = fresh(UNet()), fresh(judge(6))
    for_b, for_judge = adam(to_b), adam(of_pairs)

    def step(a, b):
        with fast():
            drawn = to_b(a)
            of_pairs.requires_grad_(True)
            loss = softplus(-of_pairs(torch.cat([a, b], 1))) + softplus(of_pairs(torch.cat([a, drawn.detach()], 1)))
        minimize(for_judge, 0.5 * loss)
        of_pairs.requires_grad_(False)
        with fast():
            loss = softplus(-of_pairs(torch.cat([a, drawn], 1))) + model["l1_weight"] * apart(drawn, b)
        minimize(for_b, loss)

    return step, to_b


def cyclegan():
    to_b, to_a, judge_a, judge_b = (fresh(network) for network in [Translator(), Translator(), judge(3), judge(3)])
    translators, judges, pools = adam(to_b, to_a), adam(judge_a, judge_b), [Pool(), Pool()]

    def step(a, b):
        judge_a.requires_grad_(False), judge_b.requires_grad_(False)
        with fast():
            fake_b, fake_a = to_b(a), to_a(b)
            loss = near(judge_b(fake_b), 1) + near(judge_a(fake_a), 1)
            loss = loss + model["cycle_weight"] * (apart(to_a(fake_b), a) + apart(to_b(fake_a), b))
            loss = loss + model["identity_weight"] * (apart(to_b(b), b) + apart(to_a(a), a))
        minimize(translators, loss)
        judge_a.requires_grad_(True), judge_b.requires_grad_(True)
        shown_a, shown_b = pools[0].exchange(fake_a), pools[1].exchange(fake_b)
        with fast():
            loss = near(judge_a(a), 1) + near(judge_a(shown_a), 0) + near(judge_b(b), 1) + near(judge_b(shown_b), 0)
        minimize(judges, 0.5 * loss)

    return step, to_b


def cut():
    to_b, of_b = fresh(Translator()), fresh(judge(3))
    dim = model["feature_dim"]
    head = lambda c: nn.Sequential(nn.Linear(c, dim), nn.ReLU(), nn.Linear(dim, dim))
    heads = fresh(nn.ModuleList([head(c) for c in [3, 2 * WIDTH, 4 * WIDTH, 4 * WIDTH, 4 * WIDTH]]))
    for_b, for_judge, for_heads = adam(to_b), adam(of_b), adam(heads)

    def contrast(queries, keys):
        total = 0
        for head, query, key in zip(heads, queries, keys):
            positions = query.shape[2] * query.shape[3]
            places = torch.randperm(positions)[: model["patches"]]
            look = lambda x: F.normalize(head(x.flatten(2)[:, :, places].transpose(1, 2)).float(), dim=2)
            alike = look(query) @ look(key.detach()).detach().transpose(1, 2) / model["temperature"]
            total = total + F.cross_entropy(alike.flatten(0, 1), torch.arange(len(places)).repeat(len(alike)))
        return total / len(heads)

    def step(a, b):
        with fast():
            made, keys = to_b.with_features(torch.cat([a, b]) if model["identity"] else a)
            fakes = made[: len(a)]
            of_b.requires_grad_(True)
            loss = near(of_b(b), 1) + near(of_b(fakes.detach()), 0)
        minimize(for_judge, 0.5 * loss)
        of_b.requires_grad_(False)
        with fast():
            loss = near(of_b(fakes), 1) + model["contrast_weight"] * contrast(to_b.features(made), keys)
        for_heads.zero_grad(set_to_none=True)
        minimize(for_b, loss)
        for_heads.step()

    return step, to_b


def moved(images, padding, top, left):
    height, width = images.shape[2:]
    return F.pad(images, [padding] * 4, mode="reflect")[:, :, top : top + height, left : left + width]


set_a, set_b = read(options.a), read(options.b)
step, to_b = {"pix2pix": pix2pix, "cyclegan": cyclegan, "cut": cut}[model["family"]]()
is_paired = model["family"] == "pix2pix"
padding = min(set_a.shape[2:]) * 15 // 256
seconds, images_seen, told = 60 * options.minutes, 0, 0


def mirrored(images, coins):
    return torch.where(coins[:, None, None, None], images.flip(3), images)


while (share := (time.monotonic() - START) / seconds) < 1:
    for optimizer in optimizers:
        optimizer.param_groups[0]["lr"] = training["learning_rate"] * min(1, (1 - share) / training["decay_share"])
    batch = training["batch"]
    chosen, coins = torch.randint(len(set_a), (batch,)), torch.rand(batch) < 0.5
    others, other_coins = (chosen, coins) if is_paired else (torch.randint(len(set_b), (batch,)), torch.rand(batch) < 0.5)
    offset = torch.randint(2 * padding + 1, (2,)).tolist() if padding else [0, 0]
    a, b = mirrored(set_a[chosen], coins), mirrored(set_b[others], other_coins)
    step(*(moved(x, padding, *offset).contiguous(memory_format=MEMORY) for x in [a, b]))
    images_seen += batch
    if share > told:
        told += 0.1
        print(f"{100 * share:3.0f} %  {images_seen / 1000:.3f} kimg", flush=True)

options.out.mkdir(parents=True, exist_ok=True)
to_b.eval()
paths = sorted(options.translate.glob("*.png"))
with torch.no_grad():
    for path, image in zip(paths, read(options.translate)):
        pixels = ((to_b(image[None])[0] + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0)
        Image.fromarray(pixels.numpy()).save(options.out / path.name)
print(f"{images_seen / 1000:.3f} kimg")
