"""What the scripts of this folder share: cases of a function with its gradients of first and second order.

PyTorch 2.15.0 on the processor, seed 0 for every script. Inputs are random float32 numbers; everything is computed
from them in float64 and stored as float32, so that the fixtures are right to the last bit or so.

A function takes and returns channels-last tensors with weights as [kernel..., in / groups, out], and permutes them for
PyTorch itself: its gradients then have our layout as well. For a case `name` with inputs `x_i` the file holds

    name.in.i        x_i
    name.out         y = f(x_0, x_1, ...)
    name.upstream    u, random, of the shape of y
    name.grad.i      d_i = the gradient of sum(u * y) for x_i
    name.grad2.i     the gradient of sum(d_0 ** 2) + sum(d_1 ** 2) + ... for x_i; absent where it is zero
    name.grad2.upstream    the same for u

Run all with `python make.py`; needs torch and safetensors.
"""

import pathlib

import torch
from safetensors.torch import save_file

SEED = 0


class Golden:
    def __init__(self, script):
        torch.manual_seed(SEED)
        assert torch.__version__.startswith("2.15."), torch.__version__
        self.path = pathlib.Path(script).with_suffix(".safetensors")
        self.tensors = {}

    def random(self, *shape, scale=1.0):
        """Normal numbers that float32 can hold, as float64."""
        return (torch.randn(shape) * scale).double()

    def positive(self, *shape):
        """Uniform numbers in 0.5..2 that float32 can hold, as float64."""
        return (torch.rand(shape) * 1.5 + 0.5).double()

    def store(self, name, tensor):
        assert name not in self.tensors, name
        dtype = torch.float32 if tensor.is_floating_point() else torch.uint32
        self.tensors[name] = tensor.detach().to(dtype).contiguous().clone()

    def case(self, name, function, *inputs):
        inputs = [x.clone().requires_grad_() for x in inputs]
        out = function(*inputs)
        upstream = self.random(*out.shape).requires_grad_()
        first = torch.autograd.grad((out * upstream).sum(), inputs, create_graph=True)
        penalty = sum(d.square().sum() for d in first)
        sources = [*inputs, upstream]
        second = torch.autograd.grad(penalty, sources, allow_unused=True)
        self.store(f"{name}.out", out)
        self.store(f"{name}.upstream", upstream)
        for i, (x, d) in enumerate(zip(inputs, first)):
            self.store(f"{name}.in.{i}", x)
            self.store(f"{name}.grad.{i}", d)
        for key, d in zip([*range(len(inputs)), "upstream"], second):
            if d is not None and d.abs().max() > 0:
                self.store(f"{name}.grad2.{key}", d)

    def save(self):
        made_by = f"{self.path.stem}.py, PyTorch {torch.__version__.split('+')[0]}, seed {SEED}"
        save_file(self.tensors, self.path, {"made_by": made_by})
        print(f"{self.path.name}: {self.path.stat().st_size} bytes")


def channels_first(x):
    """[batch, spatial..., channels] to [batch, channels, spatial...]."""
    return x.movedim(-1, 1)


def channels_last(x):
    return x.movedim(1, -1)


def torch_weight(w):
    """[kernel..., in / groups, out] to [out, in / groups, kernel...], also of the transposed convolution."""
    return w.movedim(-1, 0).movedim(-1, 1)
