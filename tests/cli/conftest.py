"""A small fitted run, and a user's own file of pairs."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path

import pytest

from pyrogen.cli import main

FIT = ["--data", "digits", "--binarize", "dynamic", "--device", "cpu", "--no-progress"]

OWN = """
    import pyro
    import pyro.distributions as dist
    import torch
    from torch import nn
    from torch.distributions import constraints

    from pyrogen import Pair
    from pyrogen.inference import ELBO, Loss, Objective
    from pyrogen.models import Part


    class Own(Pair):
        def __init__(self, shape: tuple[int, ...], latent: int = 2):
            super().__init__()
            assert isinstance(shape, tuple), shape
            self.latent, self.net = latent, nn.Linear(latent, 64)
            self.encoder = nn.Linear(64, latent)

        def model(self, x):
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(x.new_zeros(self.latent), 1.0).to_event(1))
                pyro.sample("x", dist.Bernoulli(logits=self.net(z)).to_event(1), obs=x)

        def guide(self, x):
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(self.encoder(x), 1.0).to_event(1))


    class Plain(nn.Module):
        # Not a Pair: the shape of the classes in Pyro's tutorials.
        def __init__(self, latent=3):
            super().__init__()
            self.net = nn.Linear(latent, 64)
            self.latent = latent

        def model(self, x):
            pyro.module("decoder", self.net)
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(x.new_zeros(self.latent), 1.0).to_event(1))
                pyro.sample("x", dist.Bernoulli(logits=self.net(z)).to_event(1), obs=x)

        def guide(self, x):
            loc = pyro.param("loc", lambda: torch.zeros(self.latent))
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(loc, 1.0).to_event(1))


    def model(x):
        p = pyro.param("p", torch.full((64,), 0.5), constraint=constraints.unit_interval)
        scale = pyro.param("scale", torch.tensor(1.0), constraint=constraints.positive)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), scale))
            pyro.sample("x", dist.Bernoulli(logits=z.unsqueeze(-1) + p).to_event(1), obs=x)


    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.mean(-1), 1.0))


    def visible(x):
        p = pyro.param("p", torch.full((64,), 0.5), constraint=constraints.unit_interval)
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Bernoulli(p).to_event(1), obs=x)


    def labelled(x, y):
        p = pyro.param("p", torch.full((10, 64), 0.5), constraint=constraints.unit_interval)
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Bernoulli(p[y]).to_event(1), obs=x)


    def half(x):
        p = pyro.param("p", torch.full((32,), 0.5), constraint=constraints.unit_interval)
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Bernoulli(p).to_event(1), obs=x[:, :32])


    class Wide(Part):
        def __init__(self, latent: int, scale: float = 2.0):
            super().__init__()
            self.log_scale = nn.Parameter(torch.full((latent,), scale).log())

        def forward(self, *context):
            return dist.Normal(torch.zeros_like(self.log_scale), self.log_scale.exp()).to_event(1)


    class Generator(Pair):
        def __init__(self, shape: tuple[int, ...], latent: int = 2):
            super().__init__()
            self.net = nn.Linear(latent, 64)

        def draw(self, count):
            with pyro.plate("data", count, dim=-1):
                z = pyro.sample("z", dist.Normal(self.net.weight.new_zeros(self.net.in_features), 1.0).to_event(1))
            return self.net(z)


    class Means(Objective):
        name, needs = "means", "draws"

        def compute(self, pair, batch, state, *, beta=1.0):
            with pair.scope():
                return Loss((pair.draw(100).mean(0) - batch.mean(0)).square().sum(), state)


    class Twice(ELBO):
        def __init__(self, draws: int = 4):
            super().__init__(draws=2 * draws)
            self.name = f"Twice({draws})"


    NUMBER = 3
"""


@pytest.fixture(scope="session")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's file."""
    path = tmp_path_factory.mktemp("user") / "own.py"
    path.write_text(textwrap.dedent(OWN))
    return path


@pytest.fixture(scope="session")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run of 24 steps, two epochs."""
    directory = tmp_path_factory.mktemp("runs") / "small"
    small = ["--args.latent", "3", "--args.hidden=[16]", "--directory", str(directory)]
    assert main(["fit", "vae", *FIT, *small, "--epochs", "2", "--log-every", "5"]) == 0
    return directory


@pytest.fixture
def run(fitted: Path, tmp_path: Path) -> Path:
    """A copy of that directory, to be changed."""
    return shutil.copytree(fitted, tmp_path / "run")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
