"""Normalizations with learned scale and shift. PyTorch 2.15.0, seed 0; see golden.py.

The batch's mean and biased variance are `batch_norm.mean` and `batch_norm.variance`.
"""

import torch
import torch.nn.functional as F

from golden import Golden, channels_first, channels_last

golden = Golden(__file__)
shape, channels = [3, 4, 5, 6], 6


def affine():
    return golden.positive(channels), golden.random(channels)


def batch_norm(x, scale, shift):
    return channels_last(F.batch_norm(channels_first(x), None, None, scale, shift, training=True, eps=1e-5))


def instance_norm(x, scale, shift):
    return channels_last(F.instance_norm(channels_first(x), None, None, scale, shift, eps=1e-5))


def group_norm(groups):
    return lambda x, scale, shift: channels_last(F.group_norm(channels_first(x), groups, scale, shift, eps=1e-5))


def layer_norm(x, scale, shift):
    return F.layer_norm(x, [channels], scale, shift, eps=1e-5)


x = golden.random(*shape) * 2 + 0.5
golden.case("batch_norm", batch_norm, x, *affine())
golden.store("batch_norm.mean", x.mean((0, 1, 2)))
golden.store("batch_norm.variance", x.var((0, 1, 2), correction=0))
golden.case("batch_norm_flat", lambda x, a, b: F.batch_norm(x, None, None, a, b, training=True), golden.random(9, channels), *affine())
golden.case("batch_norm_plain", lambda x: channels_last(F.batch_norm(channels_first(x), None, None, training=True)), golden.random(*shape))
golden.case("batch_norm_relu", lambda *i: batch_norm(*i).relu(), golden.random(*shape), *affine())
golden.case("batch_norm_leaky_relu", lambda *i: F.leaky_relu(batch_norm(*i), 0.2), golden.random(*shape), *affine())
golden.case("batch_norm_tanh", lambda *i: batch_norm(*i).tanh(), golden.random(2, 3, 3, channels), *affine())
golden.case("instance_norm", instance_norm, golden.random(*shape), *affine())
golden.case("instance_norm_plain", lambda x: channels_last(F.instance_norm(channels_first(x))), golden.random(2, 4, 5, 3))
golden.case("instance_norm_relu", lambda *i: instance_norm(*i).relu(), golden.random(2, 4, 5, channels), *affine())
golden.case("group_norm_3", group_norm(3), golden.random(2, 4, 5, channels), *affine())
golden.case("group_norm_1", group_norm(1), golden.random(2, 3, 3, channels), *affine())
golden.case("layer_norm", layer_norm, golden.random(2, 7, channels), *affine())
golden.save()
