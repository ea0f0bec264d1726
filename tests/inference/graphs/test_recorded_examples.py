"""What Pyro's examples showed of recorded graphs: dead batch norms, one-hot draws, structures of a last, shorter batch."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyrogen import Pair
from pyrogen.inference import fit


def _data(rows=40, columns=4):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))


class WithIdleBatchNorm(Pair):
    """Runs a batch norm whose result no site sees, as a classifier whose loss is left out."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder, self.idle = nn.Linear(4, 2), nn.Linear(2, 4), nn.BatchNorm1d(4)

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x):
        self.idle(x)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x), 0.5).to_event(1))


class OneHot(Pair):
    """A label drawn by the guide, with a score-function gradient."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(4, 3), nn.Linear(3, 4)

    def model(self, x):
        with pyro.plate("data", len(x)):
            y = pyro.sample("y", dist.OneHotCategorical(probs=x.new_full((3,), 1 / 3)))
            pyro.sample("x", dist.Normal(self.decoder(y), 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.OneHotCategorical(logits=self.encoder(x)))


class ScaledUp(Pair):
    """A regression whose plate scales a mini-batch up, so that its structure is known for one length only."""

    def __init__(self):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(()))

    def model(self, x):
        slope = pyro.sample("slope", dist.Normal(x.new_zeros(()), 1.0))
        with pyro.plate("data", 40, len(x)):
            pyro.sample("y", dist.Normal(slope * x[:, 0], 1.0), obs=x[:, 1])

    def guide(self, x):
        pyro.sample("slope", dist.Normal(self.loc, 0.1))


@pytest.mark.parametrize("steps_per_call", [1, 2])
@pytest.mark.parametrize("kind", [WithIdleBatchNorm, OneHot, ScaledUp])
def test_a_recorded_run_is_the_pair_s_own(kind, steps_per_call):
    runs = []
    for mode in (False, "graph"):
        with torch.random.fork_rng():
            torch.manual_seed(1)
            pair = kind()
        calls = steps_per_call if mode else 1
        runs.append(
            fit(pair, _data(), steps=6, batch_size=16, compile=mode, steps_per_call=calls, progress=False, device="cpu")
        )
    for (name, own), recorded in zip(runs[0].pair.state_dict().items(), runs[1].pair.state_dict().values(), strict=True):
        torch.testing.assert_close(recorded, own, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
