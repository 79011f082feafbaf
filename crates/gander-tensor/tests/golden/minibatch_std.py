"""Mini-batch standard deviation. PyTorch 2.15.0, seed 0; see golden.py.

Image i is in group i mod (batch / group_size); the deviation (biased, 1e-8 added to the variance) is averaged over
pixels and channels and becomes one more channel.
"""

import torch

from golden import Golden

golden = Golden(__file__)


def minibatch_std(group_size):
    def function(x):
        batch, height, width, channels = x.shape
        grouped = x.reshape(group_size, batch // group_size, -1)
        deviation = (grouped.var(0, correction=0) + 1e-8).sqrt().mean(1)
        deviation = deviation.repeat(group_size).reshape(batch, 1, 1, 1).expand(batch, height, width, 1)
        return torch.cat([x, deviation], -1)

    return function


golden.case("groups_of_4", minibatch_std(4), golden.random(8, 3, 2, 3))
golden.case("groups_of_3", minibatch_std(3), golden.random(6, 2, 2, 2))
golden.case("one_group", minibatch_std(5), golden.random(5, 2, 2, 2))
golden.save()
