"""Resizing. PyTorch 2.15.0, seed 0; see golden.py.

FIR resampling is written out: zeros between the values, padding, correlation with the outer product of [1, 3, 3, 1],
every second value; the paddings are (2, 1) up and (1, 1) down, which keep the picture in place.
"""

import torch
import torch.nn.functional as F

from golden import Golden, channels_first, channels_last

golden = Golden(__file__)


def interpolate(sides, **options):
    return lambda x: channels_last(F.interpolate(channels_first(x), sides, **options))


def fir(x, up, down, before, after, gain):
    x = channels_first(x)
    batch, channels, height, width = x.shape
    spread = torch.zeros(batch, channels, height * up, width * up, dtype=x.dtype)
    spread[:, :, ::up, ::up] = x
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype)
    taps = torch.outer(taps, taps)
    taps = (taps * gain / taps.sum()).expand(channels, 1, 4, 4)
    padded = F.pad(spread, [before, after, before, after])
    return channels_last(F.conv2d(padded, taps, stride=down, groups=channels))


images = [2, 6, 4, 3]
golden.case("nearest_twofold", interpolate([12, 8], mode="nearest"), golden.random(*images))
golden.case("nearest_1d", interpolate([10], mode="nearest"), golden.random(2, 5, 3))
golden.case("nearest_3d", interpolate([4, 6, 4], mode="nearest"), golden.random(1, 2, 3, 2, 2))
golden.case("nearest_9x5", interpolate([9, 5], mode="nearest"), golden.random(*images))
golden.case("nearest_4x3", interpolate([4, 3], mode="nearest"), golden.random(*images))
for name, sides in {"up": [12, 8], "up_odd": [7, 9], "down": [3, 2], "down_odd": [5, 3], "mixed": [9, 3]}.items():
    bilinear = interpolate(sides, mode="bilinear", align_corners=False, antialias=False)
    golden.case(f"bilinear_{name}", bilinear, golden.random(*images))
golden.case("bilinear_1d", interpolate([8], mode="linear", align_corners=False), golden.random(2, 5, 3))
for name, sides in {"half": [3, 2], "odd": [4, 3], "one": [1, 1]}.items():
    area = lambda x: channels_last(F.adaptive_avg_pool2d(channels_first(x), sides))
    golden.case(f"area_{name}", area, golden.random(*images))
golden.case("fir_upsample", lambda x: fir(x, 2, 1, 2, 1, 4.0), golden.random(*images))
golden.case("fir_downsample", lambda x: fir(x, 1, 2, 1, 1, 1.0), golden.random(*images))
golden.save()
