"""The Beta-Bernoulli's closed forms against enumeration of the data, quadrature and identities."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from pyro import poutine

from pyrogen.errors import ConfigurationError
from pyrogen.models import BetaBernoulli

EVENT = 5
X = torch.tensor(list(itertools.product([0.0, 1.0], repeat=EVENT)), dtype=torch.float64)
"""All data there are."""


def make(seed=1):
    torch.manual_seed(seed)
    pair = BetaBernoulli((EVENT,), concentration1=1.7, concentration0=0.9).double()
    with torch.no_grad():
        for parameter in pair.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return pair


def log_density(program, x, theta):
    trace = poutine.trace(poutine.condition(program, data={"theta": theta})).get_trace(x)
    trace.compute_log_prob()
    return sum(node["log_prob"] for name, node in trace.nodes.items() if name in ("theta", "x"))


def test_the_evidence_of_all_data_adds_up_to_one():
    assert abs(make().log_evidence(X).exp().sum().item() - 1) < 1e-12


@torch.no_grad()
def test_the_evidence_is_the_integral_of_the_model():
    """By the trapezoidal rule in the logit, where the integrand and all of its derivatives vanish at both ends."""
    pair = make()
    logit = torch.linspace(-32, 32, 1281, dtype=torch.float64)
    theta, step = torch.sigmoid(logit), logit[1] - logit[0]
    for row in (0, 5, 14, 31):
        joint = log_density(pair.model, X[row].expand(len(theta), -1), theta).exp()
        total = (joint * theta * torch.sigmoid(-logit)).sum() * step
        assert math.isclose(total.log().item(), pair.log_evidence(X)[row].item(), abs_tol=1e-9)


def test_joint_over_posterior_is_the_evidence_wherever_the_latent_is():
    pair = make()
    theta = torch.rand(len(X), dtype=torch.float64)
    evidence = log_density(pair.model, X, theta) - pair.posterior(X).log_prob(theta)
    assert torch.allclose(evidence, pair.log_evidence(X), rtol=0, atol=1e-10)


def test_the_elbo_is_the_evidence_less_the_divergence():
    pair = make()
    guide = poutine.trace(pair.guide).get_trace(X).nodes["theta"]["fn"]
    divergence = torch.distributions.kl_divergence(guide, pair.posterior(X))
    assert (divergence > 1e-3).all()
    assert torch.allclose(pair.elbo(X), pair.log_evidence(X) - divergence, rtol=0, atol=1e-10)


def test_a_guide_set_exact_has_constant_weights():
    pair = make()
    pair.set_exact_guide()
    theta = torch.rand(len(X), dtype=torch.float64)
    weight = log_density(pair.model, X, theta) - log_density(pair.guide, X, theta)
    assert torch.allclose(weight, pair.log_evidence(X), rtol=0, atol=1e-10)
    assert torch.allclose(pair.elbo(X), pair.log_evidence(X), rtol=0, atol=1e-10)


def test_a_guide_set_off_is_off_as_asked():
    pair = make()
    pair.set_exact_guide(offset=0.5, scale=0.7)
    guide = poutine.trace(pair.guide).get_trace(X).nodes["theta"]["fn"]
    posterior = pair.posterior(X)
    assert torch.allclose(guide.concentration1, 0.7 * (posterior.concentration1 + 0.5), rtol=1e-12)
    assert torch.allclose(guide.concentration0, 0.7 * posterior.concentration0, rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"shape": (-1,)}, "shape"),
        ({"concentration1": 0.0}, "concentration"),
        ({"concentration0": math.nan}, "concentration"),
    ],
)
def test_bad_arguments_are_refused(arguments, said):
    with pytest.raises(ConfigurationError, match=said):
        BetaBernoulli(**{"shape": (4,), **arguments})
