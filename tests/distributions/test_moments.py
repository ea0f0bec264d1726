"""Means, variances, entropies and divergences are exact; shapes and values that do not fit are refused."""

from __future__ import annotations

import pyro.distributions as dist
import pytest
import torch
from scipy import integrate
from torch.distributions import kl_divergence

from pyrogen.distributions import (
    MADE,
    Autoregressive,
    BayesianNetwork,
    ContinuousBernoulli,
    DiscretizedLogistic,
    Ensemble,
    Enumerated,
    GridCategorical,
    Variable,
)
from pyrogen.errors import ConfigurationError, DataError
from pyrogen.nets import causal

STATES = torch.tensor([[0.0, 2.0], [1.0, 2.0], [1.0, -1.0]], dtype=torch.float64)
LOGITS = [-40.0, -7.0, -0.26, -0.24, -1e-3, 0.0, 1e-6, 0.1, 0.25, 3.0, 40.0]


def random(*shape, seed=0):
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def lawn(seed=0):
    return BayesianNetwork(
        [
            Variable("wet", random(2, 2, 3, seed=seed), parents=["rain", "sprinkler"]),
            Variable("rain", random(4, 1, 2, seed=seed + 1)),
            Variable("sprinkler", random(2, 2, seed=seed + 2), parents=["rain"]),
        ]
    )


def impossible(*shape):
    """Logits with a probability of zero in each distribution."""
    logits = random(*shape)
    logits[..., 1] = -torch.inf
    return logits


FINITE = {
    "discretized logistic": lambda: DiscretizedLogistic(random(3, 2), random(3, 2, seed=1).exp(), bins=7),
    "discretized logistic, far": lambda: DiscretizedLogistic(random(3).mul(100), torch.full((3,), 1e-3).double(), bins=7),
    "grid categorical": lambda: GridCategorical(random(4, 5)),
    "grid categorical with an impossible value": lambda: GridCategorical(impossible(4, 5)),
    "enumerated": lambda: Enumerated(STATES, random(4, 3)),
    "enumerated with an impossible state": lambda: Enumerated(STATES, impossible(3)),
    "Bayesian network": lawn,
}


def table(distribution):
    """All values (values, ..., *event), and their log probabilities (values, ...)."""
    if isinstance(distribution, Enumerated):
        values = STATES.reshape(3, *(1 for _ in distribution.batch_shape), 2).expand(3, *distribution.batch_shape, 2)
    else:
        values = distribution.enumerate_support()
    return values.double(), distribution.log_prob(values)


@pytest.mark.parametrize("name", FINITE)
def test_moments_and_entropy_are_sums_over_the_support(name):
    distribution = FINITE[name]()
    values, log_prob = table(distribution)
    weight = log_prob.exp().reshape(*log_prob.shape, *(1 for _ in distribution.event_shape))
    mean = (weight * values).sum(0)
    assert distribution.mean.shape == distribution.batch_shape + distribution.event_shape
    torch.testing.assert_close(distribution.mean.double(), mean)
    torch.testing.assert_close(distribution.variance.double(), (weight * (values - mean) ** 2).sum(0))
    entropy = torch.special.entr(log_prob.exp()).sum(0)
    assert distribution.entropy().shape == distribution.batch_shape
    torch.testing.assert_close(distribution.entropy().double(), entropy.expand(distribution.batch_shape))


PAIRS = {
    "discretized logistic": (
        lambda: DiscretizedLogistic(random(3, 2), random(3, 2, seed=1).exp(), bins=7),
        lambda: DiscretizedLogistic(random(2, seed=2), random(2, seed=3).exp(), bins=7),
    ),
    "two classes on one grid": (
        lambda: GridCategorical(impossible(4, 5)),
        lambda: DiscretizedLogistic(random(4, seed=2), random(4, seed=3).exp(), bins=5),
    ),
    "both without a value": (lambda: GridCategorical(impossible(4, 5)), lambda: GridCategorical(impossible(5) / 2)),
    "enumerated": (lambda: Enumerated(STATES, random(4, 3)), lambda: Enumerated(STATES.flip(0), random(3, seed=1))),
}


@pytest.mark.parametrize("name", PAIRS)
def test_divergences_are_sums_over_the_support(name):
    p, q = (make() for make in PAIRS[name])
    values, log_prob = table(p)
    ratio = torch.where(log_prob > -torch.inf, log_prob - q.log_prob(values), 0.0)
    torch.testing.assert_close(kl_divergence(p, q), (log_prob.exp() * ratio).sum(0))
    torch.testing.assert_close(kl_divergence(p, p), torch.zeros(p.batch_shape, dtype=torch.float64), atol=1e-12, rtol=0)


def test_a_divergence_is_infinite_where_the_second_cannot_follow():
    assert kl_divergence(Enumerated(STATES, random(3)), Enumerated(STATES[:2], random(2))) == torch.inf
    assert kl_divergence(GridCategorical(random(4)), GridCategorical(impossible(4))) == torch.inf
    with pytest.raises(ConfigurationError, match="grids of 4 and 5 bins"):
        kl_divergence(GridCategorical(random(4)), GridCategorical(random(5)))


@pytest.mark.parametrize("make", [lambda logits: GridCategorical(logits), lambda logits: Enumerated(STATES, logits)])
def test_gradients_are_finite_at_impossible_values(make):
    logits = impossible(3).requires_grad_()
    other = make(impossible(3))
    (make(logits).entropy() + kl_divergence(make(logits), other)).backward()
    assert logits.grad.isfinite().all()


def test_the_continuous_bernoulli_is_integrated():
    p = ContinuousBernoulli(torch.tensor(LOGITS, dtype=torch.float64))
    q = ContinuousBernoulli(random(1))
    for i, logit in enumerate(LOGITS):
        one = ContinuousBernoulli(torch.tensor(logit, dtype=torch.float64))

        def expected(function, one=one):
            def term(x):
                x = torch.tensor(x, dtype=torch.float64)
                return float(one.log_prob(x).exp() * function(x))

            return integrate.quad(term, 0, 1, points=[0.05, 0.95], epsabs=1e-13, epsrel=1e-12)[0]

        mean = expected(lambda x: x)
        assert float(p.variance[i]) == pytest.approx(expected(lambda x, mean=mean: (x - mean) ** 2), rel=1e-9)
        assert float(p.entropy()[i]) == pytest.approx(-expected(one.log_prob), abs=1e-9)
        ratio = expected(lambda x, one=one: one.log_prob(x) - q.log_prob(x))
        assert float(kl_divergence(p, q)[i]) == pytest.approx(ratio, abs=1e-8)


def test_an_ensemble_has_the_moments_of_a_mixture():
    locs, scales = random(3, 2), random(3, 2, seed=1).exp()
    ensemble = Ensemble([dist.Normal(loc, scale) for loc, scale in zip(locs, scales, strict=True)])
    mixture = dist.MixtureSameFamily(dist.Categorical(torch.ones(2, 3).double()), dist.Normal(locs.T, scales.T))
    torch.testing.assert_close(ensemble.mean, mixture.mean)
    torch.testing.assert_close(ensemble.variance, mixture.variance)


def members():
    return [Autoregressive(causal.CausalLinear((2, 3))) for _ in range(2)]


EXPANDED = {
    **FINITE,
    "autoregressive": lambda: Autoregressive(causal.CausalLinear((2, 3))).expand((4, 1)),
    "conditional": lambda: MADE(causal.MADE((2, 3), hidden=(5,), context=2), context=torch.zeros(4, 1, 2)),
    "ensemble": lambda: Ensemble(members()).expand((4, 1)),
}


@pytest.mark.parametrize("name", EXPANDED)
def test_only_what_broadcasts_expands(name):
    distribution = EXPANDED[name]()
    own = distribution.batch_shape
    assert distribution.expand((5, *own)).expand((6, 5, *own)).sample().shape == (6, 5, *own, *distribution.event_shape)
    wrong = [(*own[:-1], own[-1] + 1), own[1:], (*own, 2)] if own and own[-1] > 1 else [own[:-1]] if own else []
    for shape in wrong:
        with pytest.raises(ConfigurationError, match="does not expand to"):
            distribution.expand(shape)


def test_an_ensemble_refuses_values_of_another_shape():
    ensemble = Ensemble([dist.Normal(torch.zeros(3), 1.0).to_event(1) for _ in range(2)])
    with pytest.raises(DataError, match=r"must have shape \(\.\.\., 3\), not \(5, 1\)"):
        ensemble.log_prob(torch.zeros(5, 1))
    with pytest.raises(ConfigurationError, match="does not broadcast with the leading dimensions"):
        Ensemble([dist.Normal(torch.zeros(3), 1.0)] * 2).log_prob(torch.zeros(2))


def test_an_ensemble_of_no_rows():
    ensemble = Ensemble(members())
    assert ensemble.log_prob(torch.zeros(0, *ensemble.event_shape)).shape == (0,)
    assert ensemble.sample((0,)).shape == (0, *ensemble.event_shape)
