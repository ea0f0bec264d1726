"""A small but complete run: a comparison with every kind of estimate, a history, pictures, a configuration."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from pyrogen.inference import calibration, gaps, posterior, sandwich
from pyrogen.models import LinearGaussianVAE

PARTICLES = [1, 2, 5, 10]


def make_row(name="ELBO", kind="lower", nats=-31.234, error=0.021, **others):
    return {
        "name": name,
        "kind": kind,
        "nats": nats,
        "error": error,
        "spread": 0.61,
        "bits_per_dimension": 0.704,
        "worst_khat": None,
        "share_khat_above": None,
        "median_ess": None,
        "worst_ess": None,
        "evaluations": 18000,
        "seconds": 0.412,
        "warnings": [],
        **others,
    }


def make_estimate(row, khat=None, curve=None, data=6):
    return {
        "name": row["name"],
        "kind": row["kind"],
        "log_prob": [row["nats"]] * data,
        "standard_error": [0.1] * data,
        "khat": khat,
        "ess": None if khat is None else [3.0] * data,
        "evaluations": row["evaluations"],
        "seconds": row["seconds"],
        "particles": 10,
        "curve": curve,
    }


def make_record():
    rows = [
        make_row(),
        make_row("IWAE", nats=-30.4, error=0.0097, median_ess=337.0, worst_ess=1.24),
        make_row(
            "PSIS",
            "consistent",
            -30.1,
            0.002,
            worst_khat=0.93,
            share_khat_above=0.333,
            median_ess=812.0,
            worst_ess=1.2,
            evaluations=1_800_000,
            seconds=1234.5,
        ),
        make_row("EUBO", "upper", -29.0, 0.4),
        make_row("quadrature", "exact", -30.05, 0.0),
    ]
    curve = {"particles": PARTICLES, "bound": [-31.2, -30.9, -30.6, -30.4], "error": [0.2, 0.1, 0.05, 0.02]}
    khat = [0.2, 0.71, float("nan"), None, 0.93, 0.6]
    estimates = [
        make_estimate(row, khat if row["name"] == "PSIS" else None, curve if row["name"] == "IWAE" else None) for row in rows
    ]
    return {
        "version": 1,
        "data": {"name": "digits/test", "rows": 6, "dimensions": 64, "binarize": "dynamic", "seed": 3},
        "sentences": ["The ELBO lies 1.1 ± 0.1 nats below the truth."],
        "rows": rows,
        "estimates": estimates,
    }


HISTORY = """step,epoch,seconds,loss,validation,beta,steps_per_second
100,1,1.0,50.0,,0.5,99.0
200,2,2.0,40.0,-42.0,1.0,100.0
300,3,3.0,35.0,-43.5,1.0,101.0
"""


@pytest.fixture
def record():
    return make_record()


@pytest.fixture
def row():
    return make_row


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory, looks):
    """A run directory with every file that the report reads: to be looked at, not changed."""
    directory = tmp_path_factory.mktemp("whole") / "run"
    directory.mkdir()
    (directory / "comparison.json").write_text(json.dumps(make_record()), encoding="utf-8")
    (directory / "history.csv").write_text(HISTORY, encoding="utf-8")
    (directory / "config.yaml").write_text("seed: 3\nfit:\n  steps: 300\n", encoding="utf-8")
    generator = np.random.default_rng(0)
    images = generator.random((4, 1, 8, 8))
    walk = generator.random((2, 5, 1, 8, 8))
    arrays = {"inputs": images, "reconstructions": 1 - images, "samples": images, "traversal": walk}
    arrays |= {"completed": images, "known": np.eye(8)[None], "completions": generator.random((4, 3, 1, 8, 8))}
    arrays |= {"order": np.arange(64).reshape(8, 8), "receptive": np.triu(np.ones((1, 8, 8)), 1), "receptive_at": [[4, 4]]}
    np.savez(directory / "pictures.npz", **arrays)
    usage = [{"site": "z", "rates": [2.5, 0.0], "error": 0.1, "variances": [0.8, 0.001]}]
    (directory / "usage.json").write_text(json.dumps(usage), encoding="utf-8")
    for path in looks.glob("*.json"):
        (directory / path.name).write_bytes(path.read_bytes())
    return directory


@pytest.fixture
def run_directory(tmp_path, whole_run):
    """The same, to be changed."""
    return Path(shutil.copytree(whole_run, tmp_path / "run"))


@pytest.fixture(scope="session")
def looks(tmp_path_factory):
    """A directory with what closer looks at a small pair have left."""
    directory = tmp_path_factory.mktemp("looks")
    torch.manual_seed(0)
    pair, x = LinearGaussianVAE((3,), latent=1), torch.randn(5, 3)
    sandwich(pair, x, 5, temperatures=(2, 4), chains=2, device="cpu").save(directory)
    gaps(pair, x, refine_steps=2, draws=10).save(directory)
    posterior(pair, x, ["guide", "exact"], draws=20, permutations=9).save(directory)
    calibration(pair, x, simulations=50, draws=9).save(directory)
    return directory
