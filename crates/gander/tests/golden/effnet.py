"""EfficientNet-Lite0 as efficientnet-lite-pytorch 0.1.0 has it. PyTorch 2.15.0, seed 0.

    python effnet.py           writes effnet.safetensors: the network with 8 to 16 channels and random weights in half
                               precision, under its own names, with
        in                     [2, 61, 61, 3], -1..1: an odd size, so that its padding is uneven
        features, logits       [2, 1280], [2, 5]
    python effnet.py FILE      writes effnet_real.safetensors: the pretrained weights of FILE on
        images                 [4, 48, 48, 3], 0..255: smooth random shapes
        features, logits       [4, 1280], [4, 8]: of 224x224 images, grown bilinearly, (x - 127) / 128; the first logits

Needs torch, numpy, safetensors and efficientnet-lite-pytorch.
"""

import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F
from efficientnet_lite_pytorch.model import EfficientNet
from efficientnet_lite_pytorch.utils import get_model_params
from safetensors.torch import load_file, save_file

assert torch.__version__.startswith("2.15."), torch.__version__
torch.manual_seed(0)


def run(network, images):
    """Features and logits of [num, 3, height, width] in -1..1."""
    network.eval()
    x = (127.5 * (images.double() + 1) - 127) / 128
    with torch.no_grad():
        features = network.double().extract_features(x).mean(dim=(2, 3))
        return features, network._fc(features)


def save(path, tensors):
    path = pathlib.Path(__file__).with_name(path)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, {"made_by": "effnet.py, seed 0"})
    print(f"{path.name}: {path.stat().st_size} bytes")


def small():
    widths = [32, 8, 8, 8, 12, 16, 16, 20]
    blocks, settings = get_model_params("efficientnet-lite0", {"num_classes": 5, "image_size": 61})
    settings = settings._replace(width_coefficient=None, depth_coefficient=None)
    blocks = [
        block._replace(input_filters=before, output_filters=after, expand_ratio=min(block.expand_ratio, 2))
        for block, before, after in zip(blocks, widths, widths[1:])
    ]
    network = EfficientNet(blocks, settings)
    for name, tensor in network.state_dict().items():
        if name.endswith("running_var"):
            tensor.copy_(torch.rand(tensor.shape) + 0.5)
        elif tensor.dim() == 1:
            tensor.copy_(torch.randn(tensor.shape) * 0.2 + (1.0 if name.endswith("weight") else 0.0))
        elif tensor.dim() == 4:
            tensor.copy_(torch.randn(tensor.shape) * (2.0 / tensor[0].numel()) ** 0.5)
    weights = {name: tensor.half() for name, tensor in network.state_dict().items() if tensor.is_floating_point()}
    network.load_state_dict({**network.state_dict(), **{name: tensor.float() for name, tensor in weights.items()}})
    images = torch.rand(2, 61, 61, 3) * 2 - 1
    features, logits = run(network, images.permute(0, 3, 1, 2))
    save("effnet.safetensors", {**weights, "in": images, "features": features.float(), "logits": logits.float()})


def real(path):
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})
    shapes = F.interpolate(torch.randn(4, 3, 6, 6), size=48, mode="bicubic")
    images = ((shapes * 0.5 + 0.5).clamp(0, 1) * 255).round()
    features, logits = run(network, F.interpolate(images.double() / 127.5 - 1, size=224, mode="bilinear"))
    images = images.permute(0, 2, 3, 1).to(torch.uint8)
    save("effnet_real.safetensors", {"images": images, "features": features.float(), "logits": logits[:, :8].float()})


real(sys.argv[1]) if sys.argv[1:] else small()
