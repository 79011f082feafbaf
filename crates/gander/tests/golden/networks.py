"""What the scripts of networks share: weights that come from an integer hash of their name and index."""

import numpy as np
import torch
import torch.nn.functional as F


def hashed(name, shape, bound):
    """Values in -bound..bound from a hash of the name and the index."""
    seed = 0
    for byte in name.encode():
        seed = (seed * 31 + byte) % 2**32
    x = (np.arange(int(np.prod(shape)), dtype=np.uint64) + seed) % 2**32
    for _ in range(2):
        x ^= x >> np.uint64(16)
        x = x * np.uint64(0x45D9F3B) % 2**32
    x ^= x >> np.uint64(16)
    values = (x.astype(np.float64) / 2**31 - 1.0) * bound
    return torch.from_numpy(values.astype(np.float32)).double().reshape(shape)


class Network:
    """Weights by name, made when first asked for, in the layout that the name has in Gander."""

    def __init__(self, name):
        self.name, self.weights = name, {}

    def weight(self, name, shape):
        if name not in self.weights:
            # Of unit variance after a layer; biases and shifts small, scales around one.
            if len(shape) == 1:
                bound, middle = 0.1, 1.0 if name.endswith("norm.weight") else 0.0
            else:
                bound, middle = (3.0 / np.prod(shape[:-1])) ** 0.5, 0.0
            values = hashed(f"{self.name}.{name}", shape, bound) + middle
            self.weights[name] = values.requires_grad_()
        return self.weights[name]

    def bias(self, name, channels, has_bias):
        return self.weight(f"{name}.bias", [channels]) if has_bias else None

    def conv(self, name, x, out, k, stride=1, padding=0, groups=1, bias=True):
        w = self.weight(f"{name}.weight", [k, k, x.shape[1] // groups, out]).permute(3, 2, 0, 1).contiguous()
        return F.conv2d(x, w, self.bias(name, out, bias), stride, padding, groups=groups)

    def conv_transpose(self, name, x, out, k, stride, padding, output_padding=0):
        w = self.weight(f"{name}.weight", [k, k, out, x.shape[1]]).permute(3, 2, 0, 1)
        return F.conv_transpose2d(x, w, None, stride, padding, output_padding)

    def linear(self, name, x, out, bias=True):
        return F.linear(x, self.weight(f"{name}.weight", [x.shape[1], out]).t(), self.bias(name, out, bias))

    def batch_norm(self, name, x):
        scale, shift = self.weight(f"{name}.weight", [x.shape[1]]), self.weight(f"{name}.bias", [x.shape[1]])
        return F.batch_norm(x, None, None, scale, shift, True)

    def instance_norm(self, name, x):
        scale, shift = self.weight(f"{name}.weight", [x.shape[1]]), self.weight(f"{name}.bias", [x.shape[1]])
        return F.instance_norm(x, weight=scale, bias=shift)


def pixels_last(x):
    return x.permute(0, 2, 3, 1)


def pixels_first(x):
    return x.permute(0, 3, 1, 2)
