"""Scores of small feature arrays by the field's own tools. pytorch-fid 0.3.0, torch-fidelity 0.4.0, prdc 0.2, seed 0.

    real, fake                 [200, 12] and [180, 12]: correlated, the fakes moved and narrower
    wide_real, wide_fake       [40, 64] and [50, 64]: fewer images than features
    fid, wide.fid              pytorch_fid.fid_score.calculate_frechet_distance of np.mean and np.cov
    kid.real, kid.fake         [10, 60], indices of the subsets
    kid                        [10], torch_fidelity.metric_kid.kernel_mmd of each pair of subsets
    logits                     [90, 7]
    is.mean, is.std            torch_fidelity.metric_isc.isc_features_to_metric, 4 splits, no shuffle
    prdc.K                     [4] for K = 3, 5: precision, recall, density, coverage of prdc.compute_prdc

    python metrics.py          writes metrics.safetensors
    python metrics.py normal   prints prdc's scores of N(0, I), 1000 features, 10,000 images on each side

Needs numpy, scipy, scikit-learn, torch, safetensors and the three packages.
"""

import importlib.metadata
import pathlib
import sys
import types

import numpy as np
import torch
from safetensors.numpy import save_file



class Absent(types.ModuleType):
    """The packages import torchvision for their networks and for reading images; neither is wanted here."""

    __path__ = []

    def __getattr__(self, name):
        known = sys.modules.get(f"{self.__name__}.{name}")
        return known or type(name, (), {"BLOCK_INDEX_BY_DIM": {2048: 3}})


ABSENT = "torchvision torchvision.transforms torchvision.transforms.functional torchvision.datasets torchvision.models"
for name in [*ABSENT.split(), "pytorch_fid.inception"]:
    sys.modules.setdefault(name, Absent(name))
from prdc import compute_prdc
from pytorch_fid.fid_score import calculate_frechet_distance
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kernel_mmd

VERSIONS = {"pytorch-fid": "0.3.0", "torch-fidelity": "0.4.0", "prdc": "0.2"}
for package, version in VERSIONS.items():
    assert importlib.metadata.version(package) == version, package


generator = np.random.default_rng(0)


def cloud(num, dim, mix, shift):
    """Normal numbers with the covariance of `mix`, as float32 holds them."""
    return (generator.standard_normal((num, dim)) @ mix + shift).astype(np.float32)


def fid(real, fake):
    real, fake = real.astype(np.float64), fake.astype(np.float64)
    return calculate_frechet_distance(
        real.mean(axis=0), np.cov(real, rowvar=False), fake.mean(axis=0), np.cov(fake, rowvar=False)
    )


def prdc(real, fake, k):
    scores = compute_prdc(real.astype(np.float64), fake.astype(np.float64), nearest_k=k)
    return np.array([scores[name] for name in ("precision", "recall", "density", "coverage")])


def normal():
    """The recipes of the field know these numbers: 0.477, 0.471, 1.056, 0.974."""
    print(prdc(*generator.standard_normal((2, 10_000, 1000)), 5))


def main():
    arrays = {}
    mix = generator.standard_normal((12, 12)) / np.sqrt(12)
    real, fake = cloud(200, 12, mix, 0.0), cloud(180, 12, 0.8 * mix, 0.1)
    arrays |= {"real": real, "fake": fake, "fid": np.array([fid(real, fake)])}

    mix = generator.standard_normal((64, 64)) / 8
    wide_real, wide_fake = cloud(40, 64, mix, 0.0), cloud(50, 64, mix, 0.2)
    arrays |= {"wide_real": wide_real, "wide_fake": wide_fake, "wide.fid": np.array([fid(wide_real, wide_fake)])}

    subsets = [[generator.choice(len(x), 60, replace=False) for _ in range(10)] for x in (real, fake)]
    options = {"kid_kernel": "poly", "kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None, "kid_kernel_poly_coef0": 1}
    kid = [kernel_mmd(real[a].astype(np.float64), fake[b].astype(np.float64), **options) for a, b in zip(*subsets)]
    arrays |= {"kid.real": np.array(subsets[0]), "kid.fake": np.array(subsets[1]), "kid": np.array(kid)}

    logits = (3 * generator.standard_normal((90, 7))).astype(np.float32)
    scores = isc_features_to_metric(torch.from_numpy(logits), splits=4, shuffle=False)
    arrays |= {"logits": logits}
    arrays |= {f"is.{name}": np.array([scores[f"inception_score_{name}"]]) for name in ("mean", "std")}

    for k in (3, 5):
        arrays[f"prdc.{k}"] = prdc(real, fake, k)

    arrays = {
        name: np.ascontiguousarray(x.astype(np.int64 if x.dtype.kind == "i" else np.float32)) for name, x in arrays.items()
    }
    made_by = "metrics.py, " + ", ".join(f"{package} {version}" for package, version in VERSIONS.items()) + ", seed 0"
    path = pathlib.Path(__file__).with_suffix(".safetensors")
    save_file(arrays, path, {"made_by": made_by})
    print(f"{path.name}: {path.stat().st_size} bytes")
    print({name: x.tolist() for name, x in arrays.items() if x.size < 5})


normal() if sys.argv[1:] == ["normal"] else main()
