"""The Inception network of 2015-12-05 as pytorch-fid 0.3.0 has it, made narrow. PyTorch 2.15.0, seed 0.

Its own classes, built on torchvision's, with every width divided by 32 and random weights in half precision:

    NAME.conv.weight, NAME.bn.{weight, bias, running_mean, running_var}, fc.{weight, bias}
    in                     [2, 107, 107, 3], -1..1: all grids are odd, and the last one is 1x1 or more
    features, logits       [2, 64], [2, 7]

Needs torch, torchvision, safetensors and pytorch-fid.
"""

import importlib.metadata
import pathlib

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import save_file
from torchvision.models import inception as tv
from pytorch_fid import inception as fid

assert torch.__version__.startswith("2.15."), torch.__version__
assert importlib.metadata.version("pytorch-fid") == "0.3.0"
torch.manual_seed(0)
DIVIDE = 32
original = tv.BasicConv2d.__init__


def narrow(self, in_channels, out_channels, **options):
    channels = in_channels if in_channels == 3 else in_channels // DIVIDE
    original(self, channels, out_channels // DIVIDE, **options)


tv.BasicConv2d.__init__ = narrow
network = tv.Inception3(num_classes=7, aux_logits=False, init_weights=False)
A, C, E1, E2 = fid.FIDInceptionA, fid.FIDInceptionC, fid.FIDInceptionE_1, fid.FIDInceptionE_2
network.Mixed_5b = A(192, pool_features=32)
network.Mixed_5c = A(256, pool_features=64)
network.Mixed_5d = A(288, pool_features=64)
for name, width in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
    setattr(network, f"Mixed_{name}", C(768, channels_7x7=width))
network.Mixed_7b = E1(1280)
network.Mixed_7c = E2(2048)
network.fc = nn.Linear(2048 // DIVIDE, 7)

for name, tensor in network.state_dict().items():
    if name.endswith("running_var"):
        tensor.copy_(torch.rand(tensor.shape) + 0.5)
    elif tensor.dim() == 1:
        tensor.copy_(torch.randn(tensor.shape) * 0.2 + (1.0 if name.endswith("bn.weight") else 0.0))
    elif tensor.dim() > 1:
        tensor.copy_(torch.randn(tensor.shape) * (2.0 / tensor[0].numel()) ** 0.5)
weights = {name: tensor.half() for name, tensor in network.state_dict().items() if tensor.is_floating_point()}
network.load_state_dict({**network.state_dict(), **{name: tensor.float() for name, tensor in weights.items()}})
network = network.double().eval()

images = torch.rand(2, 107, 107, 3) * 2 - 1
x = images.double().permute(0, 3, 1, 2)
with torch.no_grad():
    for name in ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3"):
        x = getattr(network, name)(x)
    x = F.max_pool2d(x, kernel_size=3, stride=2)
    for name in ("Conv2d_3b_1x1", "Conv2d_4a_3x3"):
        x = getattr(network, name)(x)
    x = F.max_pool2d(x, kernel_size=3, stride=2)
    for name in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"):
        x = getattr(network, f"Mixed_{name}")(x)
    features = x.mean(dim=(2, 3))
    logits = network.fc(features)

path = pathlib.Path(__file__).with_suffix(".safetensors")
stored = {**weights, "in": images, "features": features.float(), "logits": logits.float()}
save_file({name: tensor.contiguous() for name, tensor in stored.items()}, path, {"made_by": "inception.py, seed 0"})
print(f"{path.name}: {path.stat().st_size} bytes")
