"""The zoo and the examples are clean under all rules, those of the meta device and of fake CUDA included."""

from __future__ import annotations

import runpy

import pytest
import torch

from pyrogen.checks import check
from pyrogen.models import VAE, ZOO, GlobalGaussian, LinearGaussianVAE, PixelVAE

SMALL = {
    "vae": {"hidden": (8,)},
    "made": {"hidden": (8,)},
    "pixelcnn": {"features": 4, "layers": 2},
    "pixelrnn": {"hidden": 4, "layers": 1},
    "wavenet": {"features": 4, "layers": 2},
    "transformer": {"width": 8, "layers": 1, "heads": 2},
    "pixelvae": {"hidden": (8,), "features": 4, "layers": 1},
}
VARIANTS = {
    "convolutional vae": lambda: VAE((1, 4, 4), 2, (), architecture="conv", channels=(3, 4)),
    "grey vae": lambda: VAE((1, 4, 4), 2, (8,), likelihood="discretized-logistic"),
    "gaussian vae": lambda: VAE((1, 4, 4), 2, (8,), likelihood="gaussian"),
    "full guide": lambda: LinearGaussianVAE((16,), guide="full"),
    "global and local": lambda: GlobalGaussian((16,), local_scale=0.5),
    "convolutional pixelvae": lambda: PixelVAE((1, 4, 4), 2, (), architecture="conv", channels=(3,), features=4, layers=1),
}


def clean(pair, x):
    report = check(pair, x, device="cuda")
    assert all(finding.severity == "note" for finding in report.findings), str(report)
    assert set(report.skipped.values()) <= {"looks at fitted pairs only"}, dict(report.skipped)
    assert {"PG601", "PG602", "PG603", "PG604"} <= set(report.ran)


@pytest.mark.parametrize("name", [*ZOO, *VARIANTS])
def test_the_zoo_is_clean(name):
    torch.manual_seed(0)
    pair = VARIANTS[name]() if name in VARIANTS else ZOO[name](shape=(1, 4, 4), **SMALL.get(name, {}))
    clean(pair, torch.rand(9, 16).round())


def test_the_example_of_an_own_pair_is_clean(request):
    space = runpy.run_path(str(request.config.rootpath / "examples" / "own_pair.py"), run_name="example")
    torch.manual_seed(0)
    clean(space["MyVAE"]((16,), latent=2, hidden=8), torch.rand(9, 16).round())
