"""Samplers: what draws but has no density is fitted, checked, saved and sampled from, and has one behind an observation."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyrogen import Pair, check
from pyrogen.errors import ConfigurationError, NotPerDatum, PairError
from pyrogen.inference import (
    ELBO,
    AnnealedImportance,
    ImportanceSampling,
    Loss,
    Objective,
    compare,
    fit,
    reconstruct,
    restore,
    sample,
)
from pyrogen.models import GaussianLikelihood, Observed, elementwise

NOISE = 0.5


class Generator(Pair):
    """A linear map of noise, whose law is a Gaussian: ``x = W z + b``."""

    def __init__(self, latent=2, event=3):
        super().__init__()
        self.net = nn.Linear(latent, event)

    def draw(self, count):
        with pyro.plate(self.data_plate, count, dim=-1):
            z = pyro.sample("z", elementwise(dist.Normal(self.net.weight.new_zeros(self.net.in_features), 1.0)))
        return self.net(z)

    def law(self, noise=0.0):
        covariance = self.net.weight @ self.net.weight.mT + noise**2 * torch.eye(len(self.net.bias)).to(self.net.bias)
        return self.net.bias, covariance


class Chain(Pair):
    """A Markov chain of some steps, each of which shrinks the state and adds noise."""

    def __init__(self, steps=3, event=2):
        super().__init__()
        self.steps, self.event = steps, event
        self.shrink = nn.Parameter(torch.tensor(0.7))

    def draw(self, count):
        with pyro.plate(self.data_plate, count, dim=-1):
            x = self.shrink.new_zeros(self.event)
            for step in range(self.steps):
                x = self.shrink * x + pyro.sample(f"u_{step}", elementwise(dist.Normal(torch.zeros_like(x[..., :2]), 1.0)))
        return x

    def law(self, noise=0.0):
        variance = sum(self.shrink ** (2 * step) for step in range(self.steps)) + noise**2
        return self.shrink.new_zeros(self.event), variance * torch.eye(self.event).to(self.shrink)


class Moments(Objective):
    """The squared distance of the draws' first two moments from the batch's."""

    name, needs, divides_by = "moments", "draws", "batch"

    def __init__(self, draws=500):
        super().__init__()
        self.draws = draws

    def compute(self, pair, batch, state, *, beta=1.0):
        with pair.scope():
            drawn = pair.draw(self.draws)
        return Loss((drawn.mean(0) - batch.mean(0)).square().sum() + (drawn.T.cov() - batch.T.cov()).square().sum(), state)


SAMPLERS = {"generator": Generator, "chain": Chain}
every_sampler = pytest.mark.parametrize("name", SAMPLERS)


def make(name):
    torch.manual_seed(1)
    sampler = SAMPLERS[name]().double()
    loc, covariance = (tensor.detach() for tensor in sampler.law(NOISE))
    return sampler, dist.MultivariateNormal(loc, covariance).sample((6,))


@every_sampler
def test_it_has_no_density_and_says_so(name):
    sampler, x = make(name)
    assert not sampler.has_density
    structure = sampler.structure(x)
    assert structure.observed == ()
    assert structure.latents
    for attempt in (
        lambda: ELBO().estimate(sampler, x),
        lambda: compare(sampler, x, [ImportanceSampling(10)], device="cpu"),
        lambda: fit(sampler, x, steps=1, device="cpu", progress=False),
    ):
        with pytest.raises(NotPerDatum, match=r"draws data and has no density of its own: give it an observation part"):
            attempt()
    with pytest.raises(PairError, match="one observed site"):
        reconstruct(sampler, x)


@every_sampler
def test_check_notes_it_and_finds_no_fault(name):
    sampler, x = make(name)
    report = check(sampler, x, trained=True)
    assert report.codes() == {"PG131"}, str(report)
    assert set(report.skipped.values()) == {"looks at the density of the data, and a sampler has none"}


@every_sampler
def test_samples_are_its_draws(name):
    sampler, x = make(name)
    loc, covariance = (tensor.detach() for tensor in sampler.law())
    torch.manual_seed(2)
    drawn = sample(sampler, x, 4000)
    assert drawn.shape == (4000, len(loc))
    assert ((drawn.mean(0) - loc) / (covariance.diagonal() / 4000).sqrt()).abs().max() < 5
    assert ((drawn.var(0) / covariance.diagonal() - 1) / (2 / 4000) ** 0.5).abs().max() < 5
    torch.manual_seed(2)
    assert torch.equal(sampler.draw(4000), drawn)


@every_sampler
def test_behind_an_observation_its_evidence_is_estimated(name):
    sampler, x = make(name)
    pair = Observed(sampler, GaussianLikelihood(nn.Identity(), scale=NOISE)).double()
    assert pair.has_density
    loc, covariance = sampler.law(NOISE)
    exact = dist.MultivariateNormal(loc, covariance).log_prob(x).detach()
    torch.manual_seed(3)
    for estimator in (ImportanceSampling(20_000, draws=0, smoothing=False), AnnealedImportance(60, chains=16)):
        estimate = estimator.estimate(pair, x)
        assert ((estimate.log_prob - exact).abs() <= 5 * estimate.standard_error).all(), estimator.name
    assert (ELBO().estimate(pair, x).log_prob < exact).all()


def test_a_generator_learns_moments_and_is_saved(tmp_path):
    torch.manual_seed(4)
    truth = Generator()
    with torch.no_grad():
        x = sample(truth, torch.zeros(1, 3), 2000)
    run = {"objective": Moments(), "device": "cpu", "progress": False, "batch_size": 2000, "lr": 0.02, "scheduler": "cosine"}
    fitted = fit(Generator(), x, validation=x[:50], steps=400, directory=tmp_path, **run)
    assert all(row["validation"] is None for row in fitted.history)
    torch.manual_seed(5)
    drawn, (loc, covariance) = sample(fitted.pair, x, 4000), truth.law()
    error = (covariance.diagonal() * (1 / 2000 + 1 / 4000)).sqrt()
    assert ((drawn.mean(0) - loc) / error).abs().max() < 5
    relative = drawn.var(0) / covariance.diagonal() - 1
    assert (relative / (2 * (1 / 2000 + 1 / 4000)) ** 0.5).abs().max() < 5
    again = restore(Generator(), tmp_path, x[:2])
    assert all(torch.equal(one, two) for one, two in zip(again.parameters(), fitted.pair.parameters(), strict=True))
    with pytest.raises(ConfigurationError, match="patience needs validation data"):
        fit(Generator(), x, validation=x[:50], patience=2, steps=1, **run)


def test_what_cannot_draw_is_no_sampler():
    with pytest.raises(ConfigurationError, match=r"a Linear is no sampler: it needs a method draw\(count\)"):
        Observed(nn.Linear(2, 2), GaussianLikelihood(nn.Identity()))
    with pytest.raises(PairError, match="must define model"):
        Pair().initialise(torch.zeros(2, 3))
