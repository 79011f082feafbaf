"""Products of matrices, and fully connected layers. PyTorch 2.15.0, seed 0; see golden.py."""

import torch
import torch.nn.functional as F

from golden import Golden

golden = Golden(__file__)
m, k, n = 5, 7, 4
golden.case("plain", lambda a, b: a @ b, golden.random(m, k), golden.random(k, n))
golden.case("transposed_a", lambda a, b: a.T @ b, golden.random(k, m), golden.random(k, n))
golden.case("transposed_b", lambda a, b: a @ b.T, golden.random(m, k), golden.random(n, k))
golden.case("transposed_both", lambda a, b: a.T @ b.T, golden.random(k, m), golden.random(n, k))
golden.case("batch", lambda a, b: a @ b, golden.random(3, m, k), golden.random(3, k, n))
golden.case("batch_transposed_b", lambda a, b: a @ b.mT, golden.random(2, 3, m, k), golden.random(2, 3, n, k))
golden.case("batch_transposed_a", lambda a, b: a.mT @ b, golden.random(3, k, m), golden.random(3, k, n))
golden.case("shared_b", lambda a, b: a @ b, golden.random(3, m, k), golden.random(k, n))
golden.case("wide", lambda a, b: a @ b, golden.random(19, 33), golden.random(33, 35))

ACTIVATIONS = {
    "identity": lambda y: y,
    "relu": torch.relu,
    "leaky_relu": lambda y: F.leaky_relu(y, 0.2),
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}
for name, activation in ACTIVATIONS.items():
    linear = lambda x, w, b: activation(x @ w + b)
    golden.case(f"linear_{name}", linear, golden.random(m, k), golden.random(k, n, scale=0.4), golden.random(n))
golden.case("linear_positions", lambda x, w, b: x @ w + b, golden.random(2, 3, k), golden.random(k, n), golden.random(n))
golden.case("linear_no_bias", lambda x, w: x @ w, golden.random(m, k), golden.random(k, n))
golden.save()
