"""The sequence models' closed forms against dense matrices, enumeration and the guide's own weights."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from pyro import poutine
from scipy import stats

from pyrogen.errors import ConfigurationError
from pyrogen.inference import log_weights
from pyrogen.models import HiddenMarkov, LinearGaussianSSM

DATA, STEPS, FEATURES, LATENT, STATES = 4, 4, 3, 2, 3
LENGTHS = torch.tensor([1, 2, 3, 4])
F64 = torch.float64


def linear():
    torch.manual_seed(1)
    pair = LinearGaussianSSM((STEPS, FEATURES), latent=LATENT, noise=0.6, drift=0.8).double()
    with torch.no_grad():
        for parameter in pair.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return pair, torch.randn(DATA, STEPS * FEATURES, dtype=F64)


def hidden():
    torch.manual_seed(2)
    pair = HiddenMarkov((STEPS, FEATURES), states=STATES).double()
    with torch.no_grad():
        for parameter in pair.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return pair, torch.rand(DATA, STEPS * FEATURES, dtype=F64).round()


each_model = pytest.mark.parametrize("make", [linear, hidden])


def dense(pair):
    """Mean and covariance of all of x."""
    transition, weight = pair.transition.detach().numpy(), pair.weight.detach().numpy()
    drift = np.diag((2 * pair.log_drift).exp().detach().numpy())
    noise = np.diag((2 * pair.log_noise).exp().detach().numpy())
    covariances = [np.eye(LATENT)]
    for _ in range(STEPS - 1):
        covariances.append(transition @ covariances[-1] @ transition.T + drift)
    joint = np.zeros((STEPS, FEATURES, STEPS, FEATURES))
    for first, later in itertools.product(range(STEPS), repeat=2):
        if later >= first:
            cross = np.linalg.matrix_power(transition, later - first) @ covariances[first]
            joint[later, :, first] = weight @ cross @ weight.T
            joint[first, :, later] = joint[later, :, first].T
    for step in range(STEPS):
        joint[step, :, step] += noise
    return np.tile(pair.bias.detach().numpy(), STEPS), joint.reshape(STEPS * FEATURES, -1)


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_the_kalman_filter_s_evidence_is_that_of_one_dense_normal(lengths):
    pair, x = linear()
    mean, covariance = dense(pair)
    found = pair.log_evidence(x, lengths)
    for datum in range(DATA):
        count = FEATURES * (STEPS if lengths is None else int(lengths[datum]))
        normal = stats.multivariate_normal(mean[:count], covariance[:count, :count])
        assert math.isclose(found[datum].item(), normal.logpdf(x[datum, :count].numpy()), rel_tol=1e-10)


def paths(pair, x):
    """All sequences of states, and the log joint probability of each with the data, (paths, steps), (paths, data)."""
    every = torch.tensor(list(itertools.product(range(STATES), repeat=STEPS)))
    initial, transition = pair.initial.log_softmax(-1), pair.transition.log_softmax(-1)
    seen = torch.distributions.Bernoulli(logits=pair.emission[every].unsqueeze(1))  # (paths, 1, steps, features)
    joint = seen.log_prob(x.reshape(DATA, STEPS, FEATURES)).sum((-2, -1))
    prior = initial[every[:, 0]] + transition[every[:, :-1], every[:, 1:]].sum(-1)
    return every, joint + prior.unsqueeze(-1)


def test_the_forward_recursion_s_evidence_is_the_sum_over_all_paths():
    pair, x = hidden()
    assert torch.allclose(pair.log_evidence(x), paths(pair, x)[1].logsumexp(0), rtol=0, atol=1e-10)
    for datum in range(DATA):
        length = int(LENGTHS[datum])
        short = HiddenMarkov((length, FEATURES), states=STATES).double()
        short.load_state_dict(pair.state_dict())
        alone = short.log_evidence(x[datum : datum + 1, : length * FEATURES])
        assert torch.allclose(pair.log_evidence(x, LENGTHS)[datum], alone, rtol=0, atol=1e-10)


def test_the_forward_and_backward_recursions_posterior_is_that_of_all_paths():
    pair, x = hidden()
    every, joint = paths(pair, x)
    weight = joint.softmax(0)  # (paths, data)
    expected = torch.einsum("pn,pts->nts", weight, torch.nn.functional.one_hot(every, STATES).double())
    assert torch.allclose(pair.posterior(x).probs, expected, rtol=0, atol=1e-10)


@each_model
def test_the_elbo_is_the_mean_log_weight(make):
    pair, x = make()
    torch.manual_seed(3)
    weight = log_weights(pair, x, 20_000)  # (particles, data)
    error = weight.std(0) / math.sqrt(len(weight))
    assert ((weight.mean(0) - pair.elbo(x)).abs() < 5 * error).all()
    assert (pair.elbo(x) < pair.log_evidence(x)).all()


def test_a_guide_set_exact_has_constant_weights():
    pair, x = linear()
    pair.set_exact_guide()
    weight = log_weights(pair, x, 10)
    assert torch.allclose(weight, pair.log_evidence(x).expand_as(weight), rtol=0, atol=1e-9)
    assert torch.allclose(pair.elbo(x), pair.log_evidence(x), rtol=0, atol=1e-9)


def test_a_guide_set_off_is_off_by_the_known_divergence():
    pair, x = linear()
    pair.set_exact_guide()
    divergence = 0.0
    for factor in pair._scale_tril().detach():
        right = (factor @ factor.T).diagonal().sqrt().unsqueeze(-1)
        shift = torch.linalg.solve_triangular(factor, 1.5 * right, upper=False).square().sum()
        divergence += shift / 2 + LATENT * ((0.6**2 - 1) / 2 - math.log(0.6))
    pair.set_exact_guide(offset=1.5, scale=0.6)
    assert torch.allclose(pair.log_evidence(x) - pair.elbo(x), divergence.expand(DATA), rtol=1e-10, atol=0)


@each_model
def test_the_optimal_filter_s_weight_does_not_depend_on_what_it_draws_last(make):
    """Its weight at a step is p(x_t | z_{t-1}): the same for every z_t; and at the first step it is p(x_0)."""
    pair, x = make()
    pair.set_optimal_filter()

    def weight(draws):
        found = []
        for program in (pair.model, pair.guide):
            trace = poutine.trace(poutine.condition(program, data=draws)).get_trace(x)
            trace.compute_log_prob()
            nodes = [node for name, node in trace.nodes.items() if name.startswith(("x_", "z_"))]
            found.append(sum(node["log_prob"] for node in nodes))
        return found[0] - found[1]

    torch.manual_seed(4)
    runs = [poutine.trace(pair.guide).get_trace(x) for _ in range(2)]
    first, second = ({f"z_{t}": run.nodes[f"z_{t}"]["value"] for t in range(STEPS)} for run in runs)
    changed = {**first, f"z_{STEPS - 1}": second[f"z_{STEPS - 1}"]}
    earlier = {**first, "z_0": second["z_0"]}
    assert torch.allclose(weight(first), weight(changed), rtol=0, atol=1e-10)
    assert not torch.allclose(weight(first), weight(earlier), rtol=0, atol=1e-3)
    short = type(pair)((1, FEATURES), LATENT if make is linear else STATES).double()
    with torch.no_grad():
        for name, value in short.named_parameters():
            if not name.startswith("guide"):
                value.copy_(pair.get_parameter(name))
    short.set_optimal_filter()
    x = x[:, :FEATURES]
    assert torch.allclose(log_weights(short, x, 5), short.log_evidence(x).expand(5, DATA), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: LinearGaussianSSM((0, 2)), "shape"),
        (lambda: LinearGaussianSSM(()), "shape"),
        (lambda: LinearGaussianSSM((3, 2), latent=0), "latent"),
        (lambda: LinearGaussianSSM((3, 2), noise=0.0), "noise"),
        (lambda: LinearGaussianSSM((3, 2), drift=math.inf), "drift"),
        (lambda: HiddenMarkov((3, -1)), "shape"),
        (lambda: HiddenMarkov((3,), states=0), "states"),
    ],
)
def test_bad_arguments_are_refused(call, said):
    with pytest.raises(ConfigurationError, match=said):
        call()
