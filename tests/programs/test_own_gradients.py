"""Guides that call `torch.autograd.grad` themselves, such as one with a step of Langevin dynamics."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyrogen.checks import check
from pyrogen.inference import ELBO, ImportanceSampling, compare, encode, fit
from pyrogen.pair import Pair

X = torch.randn(24, 3, generator=torch.Generator().manual_seed(0))
STEP = 0.1


def means(z):
    return z.sum(-1, keepdim=True).expand(*z.shape[:-1], 3)


def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(means(z), 1.0).to_event(1), obs=x)


def energy(x, z):
    return (z**2).sum() / 2 + ((x - means(z)) ** 2).sum() / 2


def exact():
    """log p(x) of each row: x is normal, its covariance the identity plus two."""
    return dist.MultivariateNormal(torch.zeros(3), torch.eye(3) + 2).log_prob(X)


class Refined(Pair):
    """An encoder whose mean takes one step up the log density; `asks` says where the gradient is asked for."""

    def __init__(self, asks):
        super().__init__()
        self.encoder, self.asks = nn.Linear(3, 2), asks

    def model(self, x):
        model(x)

    def guide(self, x):
        mean = self.encoder(x)
        if self.asks == "as it comes":  # which needs gradients on in evaluation, too
            (slope,) = torch.autograd.grad(energy(x, mean), mean)
        else:
            with torch.enable_grad():
                start = mean.detach().requires_grad_()
                (slope,) = torch.autograd.grad(energy(x, start), start)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(mean - STEP * slope, 0.6).to_event(1))


@pytest.fixture(params=["as it comes", "with gradients on"])
def pair(request):
    torch.manual_seed(1)
    return Refined(request.param)


@pytest.mark.parametrize("compile", [False, "graph"])
def test_it_is_trained_and_its_evidence_is_right(pair, compile):
    before = ELBO(64).loss(pair, X).item()
    fit(pair, X, epochs=60, batch_size=8, lr=0.01, seed=0, progress=False, compile=compile)
    assert ELBO(64).loss(pair, X).item() < before - 0.1
    (found,) = compare(pair, X, [ImportanceSampling(2000, defensive=0.2)], seed=3, compile=compile).estimates
    assert ((found.log_prob - exact()).abs() < 5 * found.standard_error).all()


def test_what_evaluation_returns_needs_no_gradients(pair):
    assert not encode(pair, X)["z"].requires_grad
    assert pair.differentiates == (pair.asks == "as it comes")


def test_check_runs_all_its_rules(pair):
    report = check(pair, X)
    assert not [reason for reason in report.skipped.values() if "could not run" in reason]
    assert report.codes() == set()
