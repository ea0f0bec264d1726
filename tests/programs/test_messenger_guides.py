"""Pyro's messenger guides run the model: what it observes is no part of the guide."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import autoguide as auto

from pyrogen.inference import ImportanceSampling, fit
from pyrogen.pair import Pair

X = torch.randn(6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
GUIDES = [auto.AutoNormalMessenger, auto.AutoHierarchicalNormalMessenger, auto.AutoRegressiveMessenger]


def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
        pyro.factor("tilt", -(z**2) / 2)  # z ~ N(0, 1/2) but for the constant
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


@pytest.mark.parametrize("guide", GUIDES)
@pytest.mark.parametrize("compile", [False, "graph"])
def test_they_train_and_their_evidence_is_exact(guide, compile):
    pyro.set_rng_seed(0)
    pair = Pair.of(model, guide(model))
    run = fit(pair, X, steps=150, batch_size=6, lr=0.05, log_every=1, progress=False, compile=compile)
    losses = [row["loss"] for row in run.history]
    assert sum(losses[-20:]) < sum(losses[:20])
    assert pair.structure(X).observed == ("tilt", "x")
    torch.manual_seed(1)
    found = ImportanceSampling(5000).estimate(pair, X)
    exact = dist.Normal(0.0, 1.5**0.5).log_prob(X) - torch.log(torch.tensor(2.0)) / 2
    assert ((found.log_prob - exact).abs() <= 5 * found.standard_error).all()
