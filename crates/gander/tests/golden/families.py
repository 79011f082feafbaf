"""Images, logits, losses and their gradients of whole families, narrow. PyTorch 2.15.0.

Weights, latents and images come from an integer hash of their name and index, which the test repeats. A gradient is
stored as its dot product with a hashed tensor, in the order of the weights' names.

    fastgan.images               [2, 16, 24, 3]   every fourth pixel of 64 x 96
    fastgan.logits               [2, 5 * 13]
    fastgan.auxiliary            [4]      for each quarter that may be painted
    fastgan.discriminator.grad   [...]    of the soft hinge and the auxiliary loss of the last quarter
    fastgan.generator.grad       [...]
    stylegan2.images             [2, 8, 12, 3]    every fourth pixel of 32 x 48, without noise
    stylegan2.truncated          the same with styles half way to their mean
    stylegan2.logits             [2]
    stylegan2.r1                 [2]
    stylegan2.discriminator.grad, stylegan2.generator.grad    of the non-saturating loss, with R1 and without
    pix2pix.images               [2, 8, 16, 3]    every fourth pixel of 32 x 64, without dropout
    pix2pix.logits               [2, 2, 6, 1]     of real pairs
    pix2pix.discriminator.grad   of half the cross-entropy
    pix2pix.generator.grad       of the cross-entropy and 100 times the mean distance
"""

import pathlib
import sys

import torch
import torch.nn.functional as F

sys.path.append(str(pathlib.Path(__file__).resolve().parents[3] / "gander-tensor/tests/golden"))
from golden import Golden
from networks import Network, hashed, pixels_first, pixels_last

golden = Golden(__file__)
BATCH = 2


def unit(x):
    return x / (x.square().sum().sqrt() + 1e-12)


class SpectralNetwork(Network):
    """A network of which some weights are divided by their largest singular value, as far as it is known."""

    spectral = ()

    def weight(self, name, shape):
        weight = super().weight(name, shape)
        layer = name.removesuffix(".weight")
        if layer not in self.spectral:
            return weight
        matrix = weight.reshape(-1, shape[-1])
        with torch.no_grad():
            u = unit(hashed(f"{self.name}.{layer}.spectral_u", [1, shape[-1]], 1.0))
            v = unit(u @ matrix.t())
        return weight / (v @ matrix @ u.t()).squeeze()


def leaky(x):
    return F.leaky_relu(x, 0.2)


def gated(net, name, x, out):
    """One gated linear unit over the two convolutions side by side."""
    value, gate = (net.conv(f"{name}.{part}", x, out, 3, 1, 1, bias=False) for part in ["value", "gate"])
    value, gate = (net.batch_norm(f"{name}.{part}_norm", y) for part, y in [("value", value), ("gate", gate)])
    return F.glu(torch.cat([value, gate], 1), 1)


def doubled(x):
    return F.interpolate(x, scale_factor=2, mode="nearest")


class FastganGenerator(SpectralNetwork):
    spectral = ("excite0.squeeze", "excite0.expand", "to_image")

    def __call__(self, z, width):
        rows, columns, first = 4, 6, 16 * width
        parts = []
        for part in ["value", "gate"]:
            x = self.linear(f"project.{part}", z, rows * columns * first, bias=False)
            parts.append(self.batch_norm(f"project.{part}_norm", pixels_first(x.reshape(-1, rows, columns, first))))
        maps = [F.glu(torch.cat(parts, 1), 1)]
        for i, multiple in enumerate([8, 4, 2, 2]):
            x = gated(self, f"up{i}.conv0", doubled(maps[i]), multiple * width)
            maps.append(gated(self, f"up{i}.conv1", x, multiple * width) if i % 2 == 0 else x)
        glance = pixels_last(F.adaptive_avg_pool2d(maps[0], 4)).flatten(1)
        gate = leaky(self.linear("excite0.squeeze", glance, 2 * width, bias=False))
        gate = torch.sigmoid(self.linear("excite0.expand", gate, 2 * width, bias=False))
        return torch.tanh(self.conv("to_image", maps[4] * gate[:, :, None, None], 3, 3, 1, 1, bias=False))


class FastganDiscriminator(SpectralNetwork):
    spectral = ("from_image", "logits", "paint_part.to_image", "paint_whole.to_image")

    def normed(self, name, x, out, k, stride, padding):
        x = self.conv(f"{name}.conv", x, out, k, stride, padding, bias=False)
        return leaky(self.batch_norm(f"{name}.norm", x))

    def features(self, x, width):
        maps = [leaky(self.conv("from_image", x, width, 3, 1, 1, bias=False))]
        for i, multiple in enumerate([2, 4, 8]):
            y = self.normed(f"down{i}.strided", maps[i], multiple * width, 4, 2, 1)
            y = self.normed(f"down{i}.refined", y, multiple * width, 3, 1, 1)
            maps.append(y + self.normed(f"down{i}.direct", F.avg_pool2d(maps[i], 2), multiple * width, 1, 1, 0))
        return maps[2:]

    def logits(self, coarse, width):
        return pixels_last(self.conv("logits", self.normed("judge", coarse, 16 * width, 1, 1, 0), 1, 4, bias=False))

    def paint(self, name, x, width):
        for i, multiple in enumerate([2, 1]):
            x = gated(self, f"{name}.up{i}", doubled(x), multiple * width)
        return torch.tanh(self.conv(f"{name}.to_image", x, 3, 3, 1, 1, bias=False))


def quarters(x):
    return [part for half in x.chunk(2, 2) for part in half.chunk(2, 3)]


def soft_hinge(x):
    """The mean of the hinge over margins from 0.8 to 1: the integral, piece by piece."""
    return torch.where(x > -0.8, x + 0.9, torch.relu(x + 1).square() / 0.4).mean()


def store_gradients(name, net, loss):
    names = sorted(net.weights)
    gradients = torch.autograd.grad(loss, [net.weights[key] for key in names], retain_graph=True)
    products = [(d * hashed(f"direction.{key}", d.shape, 1.0)).sum() for key, d in zip(names, gradients)]
    golden.store(f"{name}.grad", torch.stack(products))


def fastgan(width):
    g, d = FastganGenerator("generator"), FastganDiscriminator("discriminator")
    images = g(hashed("latents", [BATCH, 8], 1.0), width)
    reals = pixels_first(hashed("reals", [BATCH, 64, 96, 3], 1.0))
    golden.store("fastgan.images", pixels_last(images)[:, ::4, ::4])

    fine, coarse = d.features(reals, width)
    logits = d.logits(coarse, width)
    golden.store("fastgan.logits", logits.flatten(1))
    whole = F.l1_loss(d.paint("paint_whole", coarse, width), F.avg_pool2d(reals, 2))
    parts = [
        F.l1_loss(d.paint("paint_part", features, width), part)
        for features, part in zip(quarters(fine), quarters(reals))
    ]
    golden.store("fastgan.auxiliary", torch.stack([whole + part for part in parts]))
    fakes = d.logits(d.features(images.detach(), width)[1], width)
    store_gradients("fastgan.discriminator", d, soft_hinge(-logits) + soft_hinge(fakes) + whole + parts[3])
    store_gradients("fastgan.generator", g, -d.logits(d.features(images, width)[1], width).mean())


def scaled_leaky(x):
    return leaky(x) * 2**0.5


def fir(x, up):
    k = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64)
    k = (torch.outer(k, k) / 64 * (4 if up else 1)).repeat(x.shape[1], 1, 1, 1)
    return (F.conv_transpose2d if up else F.conv2d)(x, k, stride=2, padding=1, groups=x.shape[1])


def unit_length(x):
    return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()


class Stylegan2Generator(Network):
    """Weights are modulated image by image, as in the paper's equations 1 and 3."""

    def modulated(self, name, x, w, out, k, demodulate):
        style = self.linear(f"{name}.style", w, x.shape[1])
        weight = self.weight(f"{name}.weight", [k, k, x.shape[1], out]).permute(3, 2, 0, 1)
        bias = self.weight(f"{name}.bias", [out])
        images = []
        for image, scale in zip(x, style):
            scaled = weight * scale[None, :, None, None]
            if demodulate:
                scaled = scaled / (scaled.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
            images.append(F.conv2d(image[None], scaled.contiguous(), bias, padding=k // 2))
        y = torch.cat(images)
        return scaled_leaky(y) if demodulate else y

    def styles(self, z):
        return leaky(self.linear("map1", leaky(self.linear("map0", unit_length(z), 8)), 8))

    def __call__(self, w, channels):
        x = self.weight("basis", [4, 6, channels[0]]).permute(2, 0, 1)[None].repeat(BATCH, 1, 1, 1)
        images = 0
        for i, width in enumerate(channels):
            if i > 0:
                x = self.modulated(f"block{i}.up", doubled(x), w, width, 3, True)
                images = fir(images, True)
            x = self.modulated(f"block{i}.conv", x, w, width, 3, True)
            images = images + self.modulated(f"block{i}.to_image", x, w, 3, 1, False)
        return images


class Stylegan2Discriminator(Network):
    def __call__(self, x, channels):
        x = leaky(self.conv("from_image", x, channels[0], 1))
        for i, width in enumerate(channels[1:]):
            y = leaky(self.conv(f"down{i}.conv0", x, x.shape[1], 3, 1, 1))
            y = leaky(self.conv(f"down{i}.conv1", fir(y, False), width, 3, 1, 1))
            x = y + self.conv(f"down{i}.skip", fir(x, False), width, 1, bias=False)
        # One group of both images.
        std = (x.var(0, unbiased=False) + 1e-8).sqrt().mean().expand(BATCH, 1, *x.shape[2:])
        x = leaky(self.conv("compare", torch.cat([x, std], 1), channels[-1], 3, 1, 1))
        x = leaky(self.linear("gather", pixels_last(x).flatten(1), channels[-1]))
        return self.linear("logit", x, 1)[:, 0]


def stylegan2():
    g, d = Stylegan2Generator("generator"), Stylegan2Discriminator("discriminator")
    narrow_last, wide_last = [4, 4, 4, 2], [2, 4, 4, 4]
    w = g.styles(hashed("latents", [BATCH, 8], 1.0))
    images = g(w, narrow_last)
    golden.store("stylegan2.images", pixels_last(images)[:, ::4, ::4])
    mean = hashed("mean_style", [8], 1.0)
    golden.store("stylegan2.truncated", pixels_last(g((w + mean) / 2, narrow_last))[:, ::4, ::4])

    reals = pixels_first(hashed("reals", [BATCH, 32, 48, 3], 1.0)).requires_grad_()
    logits = d(reals, wide_last)
    golden.store("stylegan2.logits", logits)
    (slope,) = torch.autograd.grad(logits.sum(), reals, create_graph=True)
    r1 = slope.square().sum((1, 2, 3))
    golden.store("stylegan2.r1", r1)
    fakes = d(images.detach(), wide_last)
    store_gradients("stylegan2.discriminator", d, F.softplus(-logits).mean() + F.softplus(fakes).mean() + r1.mean())
    store_gradients("stylegan2.generator", g, F.softplus(-d(images, wide_last)).mean())


class UNet(Network):
    def __call__(self, x, channels):
        maps = []
        for i, width in enumerate(channels):
            is_plain = i in (0, len(channels) - 1)
            x = self.conv(f"down{i}", leaky(x) if i else x, width, 4, 2, 1, bias=is_plain)
            maps.append(x if is_plain else self.instance_norm(f"down{i}.norm", x))
            x = maps[i]
        for i, width in reversed(list(enumerate([3, *channels[:-1]]))):
            if i + 1 < len(channels):
                x = torch.cat([x, maps[i]], 1)
            x = self.conv_transpose(f"up{i}", F.relu(x), width, 4, 2, 1)
            if i > 0:
                x = self.instance_norm(f"up{i}.norm", x)
        return torch.tanh(x + self.weight("up0.bias", [3])[:, None, None])


class PatchDiscriminator(Network):
    def __call__(self, x, width):
        x = leaky(self.conv("from_image", x, width, 4, 2, 1))
        for i, (multiple, stride) in enumerate([(2, 2), (4, 2), (8, 1)]):
            x = leaky(F.instance_norm(self.conv(f"conv{i}", x, multiple * width, 4, stride, 1, bias=False)))
        return self.conv("logit", x, 1, 4, 1, 1)


def pix2pix(width):
    g, d = UNet("generator"), PatchDiscriminator("discriminator")
    a, b = (pixels_first(hashed(name, [BATCH, 32, 64, 3], 1.0)) for name in ["sketches", "pictures"])
    drawn = g(a, [width, 2 * width, 4 * width, 8 * width, 8 * width])
    golden.store("pix2pix.images", pixels_last(drawn)[:, ::4, ::4])
    judge = lambda picture: d(torch.cat([a, picture], 1), width)
    logits = judge(b)
    golden.store("pix2pix.logits", pixels_last(logits))
    loss = (F.softplus(-logits).mean() + F.softplus(judge(drawn.detach())).mean()) / 2
    store_gradients("pix2pix.discriminator", d, loss)
    store_gradients("pix2pix.generator", g, F.softplus(-judge(drawn)).mean() + 100 * F.l1_loss(drawn, b))


fastgan(2)
stylegan2()
pix2pix(2)
golden.save()
