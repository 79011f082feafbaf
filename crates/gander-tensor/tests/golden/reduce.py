"""Sums, means, maxima and their transposes. PyTorch 2.15.0, seed 0; see golden.py."""

import torch

from golden import Golden

golden = Golden(__file__)
shape = [3, 4, 5, 6]
for name, axes in {"last": [3], "first": [0], "pixels": [1, 2], "ends": [0, 3], "all": [0, 1, 2, 3]}.items():
    golden.case(f"sum_{name}", lambda x: x.sum(axes, keepdim=True), golden.random(*shape))
    golden.case(f"mean_{name}", lambda x: x.mean(axes, keepdim=True), golden.random(*shape))
    golden.case(f"max_{name}", lambda x: torch.amax(x, axes, keepdim=True), golden.random(*shape))
# Ties share the gradient.
golden.case("max_ties", lambda x: torch.amax(x, [1], keepdim=True), torch.tensor([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]).double())
# A nonlinear function before the sum, so that there is something of second order.
golden.case("sum_of_cubes", lambda x: (x**3).sum(), golden.random(7, 5))
golden.case("mean_of_tanh", lambda x: x.tanh().mean(), golden.random(7, 5))
golden.case("sum_per_sample", lambda x: x.square().sum((1, 2)), golden.random(4, 3, 5))
golden.case("broadcast_to", lambda x: x.expand(4, 3, 2, 5), golden.random(3, 1, 5))
golden.case("sum_to", lambda x: x.sum(0).sum(1, keepdim=True), golden.random(4, 3, 2, 5))
golden.save()
