"""Every distribution is a density, draws from it, expands, and knows its support."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate
from torch.distributions import Distribution, constraints

from pyrogen import distributions
from pyrogen.distributions import ContinuousBernoulli, DiscretizedLogistic, Enumerated, GridCategorical

DRAWS = 100_000
DKW_BAND = math.sqrt(math.log(2 / 1e-6) / (2 * DRAWS))
"""The Dvoretzky-Kiefer-Wolfowitz band: an honest sampler leaves it with probability 1e-6."""
EXTREMES = [
    (loc, scale)
    for loc in (-1e3, -0.2, 0.0, 0.37, 94.5 / 255, 200.5 / 255, 1.0, 40.0)
    for scale in (1e-4, 1e-2, 0.3, 10.0, 1e3)
]


def discretized_logistic(bins):
    return lambda dtype: DiscretizedLogistic(
        torch.tensor([loc for loc, _ in EXTREMES], dtype=dtype),
        torch.tensor([scale for _, scale in EXTREMES], dtype=dtype),
        bins=bins,
    )


def grid_categorical(dtype):
    generator = torch.Generator().manual_seed(1)
    return GridCategorical(4 * torch.randn(3, 2, 256, generator=generator).to(dtype))


def enumerated(dtype):
    states = torch.cartesian_prod(*[torch.arange(3)] * 2).to(dtype)
    generator = torch.Generator().manual_seed(2)
    return Enumerated(states[:-1], 3 * torch.randn(4, 8, generator=generator).to(dtype))


def continuous_bernoulli(dtype):
    logits = [-100.0, -30.0, -5.0, -0.3, -0.2, -1e-3, 0.0, 1e-6, 0.24, 0.26, 3.0, 17.0, 30.0, 100.0]
    return ContinuousBernoulli(torch.tensor(logits, dtype=dtype))


DISCRETE = {
    "discretized logistic, 256 bins": discretized_logistic(256),
    "discretized logistic, 2 bins": discretized_logistic(2),
    "discretized logistic, 5 bins": discretized_logistic(5),
    "grid categorical": grid_categorical,
    "enumerated": enumerated,
}
ALL = {**DISCRETE, "continuous bernoulli": continuous_bernoulli}
NETWORKS = {"Autoregressive", "MADE", "PixelCNN", "PixelRNN", "WaveNet", "CausalTransformer"}  # in test_causal_networks.py
ELSEWHERE = {"BayesianNetwork", "Ensemble"}  # each has a file in tests/distributions


def values_of(distribution):
    """All values of a finite support, leftmost."""
    if isinstance(distribution, Enumerated):
        size = (-1, *[1] * len(distribution.batch_shape), *distribution.event_shape)
        return distribution.states.reshape(size).expand(-1, *distribution.batch_shape, -1)
    return distribution.enumerate_support()


def test_every_distribution_is_a_case():
    public = {cls for name in distributions.__all__ if issubclass(cls := getattr(distributions, name), Distribution)}
    made = {type(make(torch.float64)) for make in ALL.values()}
    assert {cls.__name__ for cls in public - made} == NETWORKS | ELSEWHERE


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=str)
@pytest.mark.parametrize("name", DISCRETE)
def test_masses_add_up_to_one(name, dtype, tolerance):
    distribution = DISCRETE[name](dtype)
    masses = distribution.log_prob(values_of(distribution)).double().exp()
    assert (masses.sum(0) - 1).abs().max() < tolerance
    assert masses.min() >= 0


@pytest.mark.parametrize("logit", continuous_bernoulli(torch.float64).logits.tolist())
def test_the_continuous_bernoulli_integrates_to_one(logit):
    distribution = ContinuousBernoulli(torch.tensor(logit, dtype=torch.float64))

    def density(x):
        return distribution.log_prob(torch.tensor(x, dtype=torch.float64)).exp().item()

    total, _ = integrate.quad(density, 0, 1, epsabs=1e-13, epsrel=1e-13, limit=200)
    first, _ = integrate.quad(lambda x: x * density(x), 0, 1, epsabs=1e-13, epsrel=1e-13, limit=200)
    assert abs(total - 1) < 1e-10
    assert abs(first - distribution.mean.item()) < 1e-10


@pytest.mark.parametrize("name", DISCRETE)
def test_the_sampler_draws_from_the_density(name):
    torch.manual_seed(3)
    distribution = DISCRETE[name](torch.float64)
    values = values_of(distribution)
    draws = distribution.sample((DRAWS,))
    probabilities = distribution.log_prob(values).exp()
    if isinstance(distribution, Enumerated):  # one number for each state, for there to be an order
        values, draws = (v @ torch.tensor([3.0, 1.0]).to(v.dtype) for v in (values, draws))
    order = values[(slice(None), *[0] * (values.dim() - 1))].contiguous()
    rank = torch.searchsorted(order, draws.contiguous())
    assert torch.equal(order[rank], draws), "a draw is off the support"
    counts = torch.zeros(len(order), draws[0].numel(), dtype=torch.float64)
    counts.scatter_add_(0, rank.flatten(1), torch.ones_like(rank.flatten(1), dtype=torch.float64))
    empirical = (counts / DRAWS).cumsum(0)
    distance = (empirical - probabilities.flatten(1).cumsum(0)).abs()
    assert distance.max() < DKW_BAND


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_the_continuous_bernoulli_draws_from_its_density(dtype):
    torch.manual_seed(4)
    distribution = continuous_bernoulli(dtype)
    draws = distribution.sample((DRAWS,)).sort(0).values.double()
    assert distribution.support.check(draws).all()
    logits = distribution.logits.double()
    for column, logit in enumerate(logits.tolist()):
        x = draws[:, column].numpy()
        # The distribution function, scaled so that the exponent is never positive.
        if abs(logit) < 1e-5:
            exact = x
        elif logit > 0:
            exact = (np.exp(logit * (x - 1)) - np.exp(-logit)) / -np.expm1(-logit)
        else:
            exact = np.expm1(logit * x) / np.expm1(logit)
        below, above = np.arange(DRAWS) / DRAWS, np.arange(1, DRAWS + 1) / DRAWS
        assert max(np.abs(exact - below).max(), np.abs(exact - above).max()) < DKW_BAND, logit


@pytest.mark.parametrize("name", ALL)
def test_moments_are_those_of_the_draws(name):
    torch.manual_seed(5)
    distribution = ALL[name](torch.float64)
    draws = distribution.sample((DRAWS,))
    error = draws.std(0) / math.sqrt(DRAWS)
    # The second term is for values so rare that no draw, and so no empirical error, has seen one.
    assert ((draws.mean(0) - distribution.mean).abs() <= 5 * error + 1e-4).all()


@pytest.mark.parametrize("name", [name for name in DISCRETE if name != "enumerated"])
def test_moments_are_the_sums_over_the_support(name):
    distribution = DISCRETE[name](torch.float64)
    values = values_of(distribution)
    masses = distribution.log_prob(values).exp()
    mean = (masses * values).sum(0)
    variance = (masses * (values - mean).square()).sum(0)
    assert (distribution.mean - mean).abs().max() < 1e-12
    assert (distribution.variance - variance).abs().max() < 1e-12


@pytest.mark.parametrize("name", ALL)
def test_expansion_keeps_the_density(name):
    torch.manual_seed(6)
    distribution = ALL[name](torch.float64)
    wide = distribution.expand((3, *distribution.batch_shape))
    assert type(wide) is type(distribution)
    assert wide.batch_shape == (3, *distribution.batch_shape)
    assert wide.event_shape == distribution.event_shape
    draws = wide.sample((2,))
    assert draws.shape == (2, 3, *distribution.batch_shape, *distribution.event_shape)
    assert torch.equal(wide.log_prob(draws), distribution.log_prob(draws))
    assert torch.allclose(wide.mean[0], distribution.mean, rtol=0, atol=1e-14)
    # A value with fewer dimensions than the parameters is shared, one with more is a batch of its own.
    shared = distribution.sample()
    assert torch.equal(wide.log_prob(shared)[1], distribution.log_prob(shared))


@pytest.mark.parametrize("name", ALL)
def test_a_value_off_the_support_is_refused(name):
    distribution = ALL[name](torch.float64)
    inside = distribution.sample()
    distribution.log_prob(inside)
    for wrong in (inside + 0.3, inside - 2.0, inside + 5.0, torch.full_like(inside, torch.nan)):
        if not distribution.support.check(wrong).all():
            with pytest.raises(ValueError, match="support"):
                distribution.log_prob(wrong)
        else:  # 0.3 more may still lie inside the unit interval
            assert distribution.support is constraints.unit_interval


@pytest.mark.parametrize("name", ALL)
def test_no_sample_carries_a_gradient_it_does_not_have(name):
    distribution = ALL[name](torch.float64)
    assert not distribution.has_rsample
    assert not distribution.sample().requires_grad
