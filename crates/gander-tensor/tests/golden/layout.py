"""Padding, slices, joins, other orders of axes, and rows of tables. PyTorch 2.15.0, seed 0; see golden.py.

`embedding.indices` are the rows that the case `embedding` takes, some of them twice.
"""

import torch
import torch.nn.functional as F

from golden import Golden, channels_first, channels_last

golden = Golden(__file__)
x = [2, 4, 5, 3]
golden.case("pad_zero", lambda x: F.pad(x, [0, 0, 2, 1, 1, 3]), golden.random(*x))
golden.case("pad_reflect_1d", lambda x: channels_last(F.pad(channels_first(x), [3, 3], "reflect")), golden.random(2, 5, 3))
golden.case("pad_reflect_2d", lambda x: channels_last(F.pad(channels_first(x), [2] * 4, "reflect")), golden.random(*x))
golden.case("pad_reflect_3d", lambda x: channels_last(F.pad(channels_first(x), [1] * 6, "reflect")), golden.random(1, 2, 3, 2, 2))
golden.case("slice", lambda x: x[:, 1:4, :, 1:2], golden.random(*x))
golden.case("flip", lambda x: x.flip(2), golden.random(*x))
golden.case("permute", lambda x: x.permute(2, 0, 3, 1), golden.random(*x))
golden.case("transpose", lambda x: x.T, golden.random(4, 7))
golden.case("reshape", lambda x: x.reshape(8, 15), golden.random(*x))
golden.case("concat_channels", lambda a, b, c: torch.cat([a, b, c], -1), golden.random(2, 3, 2), golden.random(2, 3, 1), golden.random(2, 3, 4))
golden.case("concat_batch", lambda a, b: torch.cat([a, b], 0), golden.random(1, 3, 2), golden.random(2, 3, 2))

indices = torch.tensor([[3, 0, 3], [1, 3, 0]])
golden.store("embedding.indices", indices)
golden.case("embedding", lambda table: F.embedding(indices, table), golden.random(5, 4))
# Nonlinear in the rows, so that there is something of second order.
golden.case("embedding_tanh", lambda table: F.embedding(indices, table).tanh(), golden.random(5, 4))
golden.save()
