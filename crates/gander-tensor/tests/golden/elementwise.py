"""Functions of one or two values. PyTorch 2.15.0, seed 0; see golden.py."""

import torch
import torch.nn.functional as F

from golden import Golden

golden = Golden(__file__)
ANY = {
    "neg": lambda x: -x,
    "abs": torch.abs,
    "exp": torch.exp,
    "square": torch.square,
    "sin": torch.sin,
    "cos": torch.cos,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": F.softplus,
    "relu": torch.relu,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2),
    "add_scalar": lambda x: x + 0.75,
    "mul_scalar": lambda x: x * -1.5,
    "clamp": lambda x: x.clamp(-0.5, 0.75),
}
POSITIVE = {"log": torch.log, "sqrt": torch.sqrt, "recip": torch.reciprocal, "powf": lambda x: x**1.75}
for name, function in ANY.items():
    golden.case(name, function, golden.random(3, 37, scale=2.0))
for name, function in POSITIVE.items():
    golden.case(name, function, golden.positive(3, 37))
golden.case("glu", lambda x: F.glu(x, -1), golden.random(2, 3, 10))

# Far from zero, where a careless formula overflows or cancels.
far = torch.tensor([-80.0, -30.0, -15.0, 15.0, 30.0, 80.0]).double()
for name in ("tanh", "sigmoid", "softplus"):
    golden.case(f"{name}_far", ANY[name], far)

BINARY = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
}
SHAPES = {
    "same": ([2, 3, 5], [2, 3, 5]),
    "channels": ([2, 3, 4, 5], [5]),
    "batch": ([3, 2, 4, 5], [3, 1, 1, 1]),
    "styles": ([2, 3, 4, 5], [2, 1, 1, 5]),
    "one_value": ([4, 5], []),
    "outer": ([4, 1], [1, 5]),
    "left": ([7], [3, 2, 7]),
}
for name, function in BINARY.items():
    for shapes, (a, b) in SHAPES.items():
        other = golden.positive(*b) if name == "div" else golden.random(*b)
        golden.case(f"{name}_{shapes}", function, golden.random(*a), other)
golden.save()
