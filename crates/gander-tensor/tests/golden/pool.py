"""Average pooling, whose padding is not counted, and max pooling. PyTorch 2.15.0, seed 0; see golden.py."""

import torch.nn.functional as F

from golden import Golden, channels_first, channels_last

golden = Golden(__file__)
AVERAGE = {3: F.avg_pool1d, 4: F.avg_pool2d, 5: F.avg_pool3d}
MAX = {3: F.max_pool1d, 4: F.max_pool2d, 5: F.max_pool3d}
SHAPES = {1: [2, 9, 3], 2: [2, 7, 6, 3], 3: [1, 4, 5, 5, 2]}
for axes, shape in SHAPES.items():
    for kernel, stride, padding in [(2, 2, 0), (3, 2, 1), (3, 1, 1)]:
        name = f"{axes}_kernel{kernel}_stride{stride}_padding{padding}"

        def average(x):
            pool = AVERAGE[x.ndim]
            return channels_last(pool(channels_first(x), kernel, stride, padding, count_include_pad=False))

        def largest(x):
            return channels_last(MAX[x.ndim](channels_first(x), kernel, stride, padding))

        golden.case(f"average{name}", average, golden.random(*shape))
        golden.case(f"max{name}", largest, golden.random(*shape))
golden.save()
