"""Convolutions and transposed convolutions over one, two and three axes. PyTorch 2.15.0, seed 0; see golden.py."""

import torch.nn.functional as F

from golden import Golden, channels_first, channels_last, torch_weight

golden = Golden(__file__)
CONV = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}
TRANSPOSED = {3: F.conv_transpose1d, 4: F.conv_transpose2d, 5: F.conv_transpose3d}


def case(name, family, x, kernel, channels, activation=None, **options):
    """`channels` are those of the result."""
    groups = options.get("groups", 1)
    if family is CONV:
        weight = [*kernel, x[-1] // groups, channels]
    else:
        weight = [*kernel, channels // groups, x[-1]]

    def function(x, w, b):
        y = channels_last(family[x.ndim](channels_first(x), torch_weight(w), b, **options))
        return activation(y) if activation else y

    fan_in = weight[-2] * len(kernel) * kernel[0]
    golden.case(name, function, golden.random(*x), golden.random(*weight, scale=fan_in**-0.5), golden.random(channels))


case("conv1_3", CONV, [2, 9, 3], [3], 4, padding=1)
case("conv1_5_stride2", CONV, [2, 11, 4], [5], 3, stride=2, padding=2)
case("conv2_1x1", CONV, [2, 5, 4, 6], [1, 1], 5)
case("conv2_3x3", CONV, [2, 6, 5, 3], [3, 3], 4, padding=1)
case("conv2_3x1_valid", CONV, [1, 6, 5, 3], [3, 1], 2)
case("conv2_4x4_stride2", CONV, [2, 8, 6, 3], [4, 4], 5, stride=2, padding=1)
case("conv2_3x3_stride3_rest", CONV, [1, 11, 10, 2], [3, 3], 3, stride=3)
case("conv2_dilation2", CONV, [1, 7, 8, 3], [3, 3], 4, padding=2, dilation=2)
case("conv2_stride2_dilation2", CONV, [1, 8, 7, 2], [3, 3], 3, stride=2, padding=1, dilation=2)
case("conv2_groups4", CONV, [1, 5, 6, 8], [3, 3], 12, padding=1, groups=4)
case("conv2_groups2_stride2", CONV, [1, 6, 6, 4], [4, 4], 6, stride=2, padding=1, groups=2)
case("conv2_depthwise", CONV, [1, 6, 5, 7], [3, 3], 7, padding=1, groups=7)
case("conv2_depthwise_4x4", CONV, [2, 4, 4, 5], [4, 4], 5, groups=5)
case("conv2_depthwise_twofold_stride2", CONV, [1, 6, 6, 3], [3, 3], 6, stride=2, padding=1, groups=3)
case("conv2_wide", CONV, [1, 4, 5, 17], [3, 3], 19, padding=1)
case("conv2_leaky_relu", CONV, [1, 5, 5, 3], [3, 3], 4, lambda y: F.leaky_relu(y, 0.2), padding=1)
case("conv2_tanh", CONV, [1, 5, 5, 3], [3, 3], 3, lambda y: y.tanh(), padding=1)
case("conv3_3x3x3", CONV, [1, 4, 3, 5, 2], [3, 3, 3], 3, padding=1)
case("conv3_stride2", CONV, [1, 4, 6, 5, 2], [4, 4, 4], 2, stride=2, padding=1)
case("conv3_groups2", CONV, [1, 3, 4, 4, 4], [2, 2, 2], 4, groups=2)

case("transposed1_4_stride2", TRANSPOSED, [2, 5, 3], [4], 4, stride=2, padding=1)
case("transposed1_25_stride4", TRANSPOSED, [1, 4, 3], [25], 2, stride=4, padding=11, output_padding=1)
case("transposed2_4x4_from_1x1", TRANSPOSED, [2, 1, 1, 6], [4, 4], 5)
case("transposed2_4x4_stride2", TRANSPOSED, [2, 4, 3, 5], [4, 4], 3, stride=2, padding=1)
case("transposed2_3x3_stride2_more", TRANSPOSED, [1, 4, 3, 3], [3, 3], 4, stride=2, padding=1, output_padding=1)
case("transposed2_3x3_stride2", TRANSPOSED, [1, 4, 3, 3], [3, 3], 4, stride=2, padding=1)
case("transposed2_dilation2", TRANSPOSED, [1, 4, 5, 2], [3, 3], 3, stride=2, padding=1, dilation=2)
case("transposed2_groups2", TRANSPOSED, [1, 4, 3, 6], [4, 4], 4, stride=2, padding=1, groups=2)
case("transposed2_depthwise", TRANSPOSED, [1, 3, 4, 5], [4, 4], 5, stride=2, padding=1, groups=5)
case("transposed2_relu", TRANSPOSED, [1, 4, 3, 3], [4, 4], 3, lambda y: y.relu(), stride=2, padding=1)
case("transposed3_4x4x4_stride2", TRANSPOSED, [1, 2, 3, 2, 3], [4, 4, 4], 2, stride=2, padding=1)
golden.save()
