"""A network at two places of a pair, and a parameter of two networks, are moved by a compiled step as by an eager one."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyrogen.inference import fit
from pyrogen.pair import Pair

X = torch.randn(24, 4, generator=torch.Generator().manual_seed(0))


class Prior(nn.Module):
    """Holds the encoder a second time, as a VampPrior does."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder, self.inputs = encoder, nn.Parameter(torch.ones(4))

    def forward(self):
        return dist.Normal(self.encoder(self.inputs), 1.0).to_event(1)


class Shared(Pair):
    def __init__(self, tied):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
        other = self.encoder if tied == "module" else nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
        if tied == "parameter":
            other[0].weight = self.encoder[0].weight
        self.prior, self.decoder = Prior(other), nn.Linear(2, 4)

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior())
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x), 0.5).to_event(1))


@pytest.mark.parametrize("tied", ["module", "parameter"])
@pytest.mark.parametrize("options", [{"compile": "graph"}, {"compile": "graph", "steps_per_call": 2}, {"compile": "auto"}])
def test_what_two_parts_share_is_trained_once(tied, options):
    results = []
    for how in ({}, options):
        torch.manual_seed(0)
        pair = Shared(tied)
        own = {id(parameter) for parameter in pair.parameters()}
        run = fit(pair, X, steps=6, batch_size=12, lr=0.05, log_every=1, progress=False, **how)
        assert {id(parameter) for parameter in pair.parameters()} == own
        results.append(([row["loss"] for row in run.history], [value.clone() for value in pair.state_dict().values()]))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-5)
    for eager, compiled in zip(results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(eager, compiled, rtol=1e-4, atol=1e-5)
