"""The discrete VAE's sums against the model and guide run on every state, one by one."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from pyro import poutine

from pyrogen.errors import ConfigurationError
from pyrogen.models import DiscreteVAE

EVENT = 4
X = torch.tensor(list(itertools.product([0.0, 1.0], repeat=EVENT)), dtype=torch.float64)
"""All data there are."""
CASES = {
    "binary": {"latent": 3, "hidden": (5,)},
    "one binary": {"latent": 1, "hidden": ()},
    "three categories": {"latent": 2, "categories": 3, "hidden": (5,)},
}
each_case = pytest.mark.parametrize("name", CASES)


def make(name):
    torch.manual_seed(1)
    pair = DiscreteVAE((2, 2), **CASES[name]).double()
    with torch.no_grad():
        for parameter in pair.parameters():
            parameter.add_(torch.randn_like(parameter))
    return pair


def states_of(pair):
    values = torch.arange(pair.categories)
    dtype = torch.float64 if pair.categories == 2 else torch.long
    return [torch.tensor(z).to(dtype) for z in itertools.product(values.tolist(), repeat=pair.latent)]


def log_density(program, z):
    """Log densities of all data with one state for every datum, shape (data,)."""
    trace = poutine.trace(poutine.condition(program, data={"z": z.expand(len(X), -1)})).get_trace(X)
    trace.compute_log_prob()
    return sum(node["log_prob"] for name, node in trace.nodes.items() if name in ("z", "x"))


def enumerate_program(program, pair):
    return torch.stack([log_density(program, z) for z in states_of(pair)], dim=-1)  # (data, states)


@each_case
def test_the_evidence_is_the_sum_over_the_models_states(name):
    pair = make(name)
    expected = enumerate_program(pair.model, pair).logsumexp(-1)
    assert torch.allclose(pair.log_evidence(X), expected, rtol=0, atol=1e-12)
    assert abs(pair.log_evidence(X).exp().sum().item() - 1) < 1e-12


@each_case
def test_the_posterior_is_joint_over_evidence(name):
    pair = make(name)
    joint = enumerate_program(pair.model, pair)
    posterior = pair.posterior(X)
    for number, z in enumerate(states_of(pair)):
        expected = joint[:, number] - pair.log_evidence(X)
        assert torch.allclose(posterior.log_prob(z.expand(len(X), -1)), expected, rtol=0, atol=1e-12)
    draw = poutine.trace(pair.guide).get_trace(X).nodes["z"]["value"]
    assert posterior.sample().shape == draw.shape
    assert posterior.sample().dtype == draw.dtype


@each_case
def test_the_elbo_and_its_gradient_are_those_of_the_sum(name):
    pair = make(name)
    joint, guide = (enumerate_program(program, pair) for program in (pair.model, pair.guide))
    assert torch.allclose(guide.logsumexp(-1), torch.zeros(len(X)).double(), atol=1e-12)
    expected = (guide.exp() * (joint - guide)).sum(-1)
    assert torch.allclose(pair.elbo(X), expected, rtol=0, atol=1e-12)
    assert (pair.elbo(X) < pair.log_evidence(X)).all()
    parameters = list(pair.parameters())
    ours = torch.autograd.grad(pair.elbo(X).sum(), parameters)
    theirs = torch.autograd.grad(expected.sum(), parameters)
    for first, second in zip(ours, theirs, strict=True):
        assert torch.allclose(first, second, rtol=0, atol=1e-10)


@each_case
def test_the_gap_of_the_elbo_is_the_divergence_from_the_posterior(name):
    pair = make(name)
    guide = enumerate_program(pair.guide, pair)
    posterior = pair.posterior(X).logits
    divergence = (guide.exp() * (guide - posterior)).sum(-1)
    assert torch.allclose(pair.log_evidence(X) - pair.elbo(X), divergence, rtol=0, atol=1e-12)


def test_data_off_the_support_are_refused():
    pair = make("binary")
    with pytest.raises(ValueError, match="support"):
        pair.initialise(X + 0.5)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"latent": 0}, "latent"),
        ({"categories": 1}, "categories"),
        ({"latent": 15}, "16384"),
        ({"latent": 9, "categories": 3}, "16384"),
        ({"hidden": (0,)}, "hidden"),
        ({"activation": "nope"}, "nope"),
    ],
)
def test_bad_arguments_are_refused(arguments, said):
    with pytest.raises(ConfigurationError, match=said):
        DiscreteVAE(**{"shape": (4,), **arguments})


def test_as_many_states_as_allowed_are_enumerated():
    pair = DiscreteVAE((3,), latent=14, hidden=())
    assert pair.states.shape == (2**14, 14)
    assert math.isclose(pair.log_evidence(torch.zeros(1, 3)).exp().item(), 1 / 8, rel_tol=0.9)
