"""The global Gaussian's closed forms against dense matrices and exact cubature."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pyro import poutine
from scipy import stats

from pyrogen.errors import ConfigurationError
from pyrogen.models import GlobalGaussian

DATA, EVENT = 4, 2
SCALES = {"prior_scale": 1.3, "noise": 0.7}
CASES = {"global": SCALES, "global and local": {**SCALES, "local_scale": 0.5}}
each_case = pytest.mark.parametrize("name", CASES)


def make(name):
    torch.manual_seed(1)
    pair = GlobalGaussian((EVENT,), **CASES[name]).double()
    with torch.no_grad():
        for parameter in pair.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return pair, 2 * torch.randn(DATA, EVENT, dtype=torch.float64)


def log_weight(pair, x, latents):
    def total(program):
        trace = poutine.trace(poutine.condition(program, data=latents)).get_trace(x)
        trace.compute_log_prob()
        return sum(node["log_prob"].sum() for name, node in trace.nodes.items() if name in ("mu", "z", "x"))

    return total(pair.model) - total(pair.guide)


@each_case
def test_the_evidence_is_that_of_one_dense_normal(name):
    pair, x = make(name)
    variance = (2 * pair.log_noise).exp()
    if name == "global and local":
        variance = variance + (2 * pair.log_local_scale).exp()
    prior_variance = pair.prior_scale[0].item() ** 2
    covariance = variance.item() * np.eye(DATA) + prior_variance * np.ones((DATA, DATA))
    normal = stats.multivariate_normal(cov=covariance)
    expected = sum(normal.logpdf(x[:, element].numpy()) for element in range(EVENT))
    assert math.isclose(pair.joint_log_evidence(x).item(), expected, rel_tol=1e-10)


def cubature(pair, x):
    """The mean of the log weight under the guide: exact for a quadratic, which it is, at 2 d points."""
    with_local = pair.has_local
    dimension = EVENT * (1 + DATA * with_local)
    total = 0.0
    for axis in range(dimension):
        for sign in (-1, 1):
            noise = torch.zeros(dimension, dtype=torch.float64)
            noise[axis] = sign * math.sqrt(dimension)
            mu = pair.guide_loc + pair.guide_log_scale.exp() * noise[:EVENT]
            latents = {"mu": mu}
            if with_local:
                conditioned = poutine.condition(pair.guide, data=latents)
                q = poutine.trace(conditioned).get_trace(x).nodes["z"]["fn"]
                latents["z"] = q.mean + q.variance.sqrt() * noise[EVENT:].reshape(DATA, EVENT)
            total = total + log_weight(pair, x, latents) / (2 * dimension)
    return total


@each_case
def test_the_elbo_is_the_mean_log_weight(name):
    pair, x = make(name)
    assert math.isclose(pair.joint_elbo(x).item(), cubature(pair, x).item(), rel_tol=1e-10)
    assert pair.joint_elbo(x) < pair.joint_log_evidence(x)


@each_case
def test_a_guide_set_exact_has_constant_weights(name):
    pair, x = make(name)
    pair.set_exact_guide(x)
    latents = {"mu": torch.randn(EVENT, dtype=torch.float64), "z": torch.randn(DATA, EVENT, dtype=torch.float64)}
    if not pair.has_local:
        del latents["z"]
    evidence = pair.joint_log_evidence(x)
    assert torch.allclose(log_weight(pair, x, latents), evidence, rtol=0, atol=1e-10)
    assert torch.allclose(pair.joint_elbo(x), evidence, rtol=0, atol=1e-10)


@each_case
def test_a_guide_set_off_is_off_by_the_known_divergence(name):
    pair, x = make(name)
    pair.set_exact_guide(x, offset=1.5, scale=0.6)
    divergence = EVENT * ((0.6**2 + 1.5**2 - 1) / 2 - math.log(0.6))
    gap = pair.joint_log_evidence(x) - pair.joint_elbo(x)
    assert math.isclose(gap.item(), divergence, rel_tol=1e-10)


def test_the_posterior_is_that_of_a_guide_set_exact():
    pair, x = make("global and local")
    pair.set_exact_guide(x)
    posterior = pair.joint_posterior(x)
    assert torch.allclose(posterior.mean, pair.guide_loc, rtol=0, atol=1e-12)
    assert torch.allclose(posterior.variance.sqrt(), pair.guide_log_scale.exp(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"shape": (0,)}, "shape"),
        ({"prior_scale": -1.0}, "prior_scale"),
        ({"noise": 0.0}, "noise"),
        ({"local_scale": math.inf}, "local_scale"),
    ],
)
def test_bad_arguments_are_refused(arguments, said):
    with pytest.raises(ConfigurationError, match=said):
        GlobalGaussian(**arguments)
