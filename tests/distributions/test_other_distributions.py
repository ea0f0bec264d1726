"""Distributions against their counterparts in torch, and what they refuse."""

from __future__ import annotations

import pytest
import torch

from pyrogen.distributions import ContinuousBernoulli, Enumerated, GridCategorical
from pyrogen.errors import ConfigurationError


def test_a_grid_categorical_is_a_categorical_with_scaled_values():
    torch.manual_seed(1)
    logits = torch.randn(4, 6, dtype=torch.float64)
    index = torch.randint(6, (3, 4))
    expected = torch.distributions.Categorical(logits=logits).log_prob(index)
    assert torch.allclose(GridCategorical(logits).log_prob(index / 5.0), expected, rtol=0, atol=1e-12)


def test_a_continuous_bernoulli_is_the_one_of_torch_where_that_is_right():
    logits = torch.linspace(-6, 6, 61, dtype=torch.float64)
    value = torch.linspace(0, 1, 61, dtype=torch.float64).flip(0)
    theirs = torch.distributions.ContinuousBernoulli(logits=logits)
    ours = ContinuousBernoulli(logits)
    assert torch.allclose(ours.log_prob(value), theirs.log_prob(value), rtol=0, atol=1e-12)
    assert torch.allclose(ours.mean, theirs.mean, rtol=0, atol=1e-12)


def test_a_continuous_bernoulli_keeps_its_digits_in_float32():
    logits = torch.tensor([-1e6, -300.0, -20.0, -0.26, -0.25, -0.24, -1e-4, 0.0, 1e-20, 1e-3, 0.25, 17.0, 88.0, 1e6])
    value = torch.linspace(0, 1, 11)[:, None]
    single, double = ContinuousBernoulli(logits), ContinuousBernoulli(logits.double())
    assert torch.allclose(single.log_prob(value).double(), double.log_prob(value.double()), rtol=2e-7, atol=2e-6)
    assert torch.allclose(single.mean.double(), double.mean, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_gradient_of_a_continuous_bernoulli_is_value_minus_mean(dtype):
    """True of every exponential family, and where a branch of the formula breaks, it shows here."""
    logits = torch.cat([torch.linspace(-40, 40, 81), torch.tensor([-0.25, 0.25, 0.2, -0.01, 1e-5, 0.0])])
    logits = logits.to(dtype).requires_grad_()
    distribution = ContinuousBernoulli(logits)
    value = torch.tensor(0.3, dtype=dtype)
    (gradient,) = torch.autograd.grad(distribution.log_prob(value).sum(), logits)
    exact = value.double() - ContinuousBernoulli(logits.detach().double()).mean
    assert (gradient.double() - exact).abs().max() < (1e-12 if dtype == torch.float64 else 2e-6)


def test_an_enumerated_vector_off_the_list_has_no_mass():
    states = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    distribution = Enumerated(states, torch.tensor([0.0, 1.0]), validate_args=False)
    assert distribution.log_prob(torch.tensor([1.0, 1.0])) == -torch.inf
    assert torch.allclose(distribution.log_prob(states).exp(), torch.tensor([0.0, 1.0]).softmax(0))


@pytest.mark.parametrize(
    "make",
    [
        lambda: GridCategorical(torch.zeros(())),
        lambda: GridCategorical(torch.zeros(3, 1)),
        lambda: Enumerated(torch.zeros(3), torch.zeros(3)),
        lambda: Enumerated(torch.zeros(3, 2), torch.zeros(4)),
        lambda: Enumerated(torch.zeros(3, 2), torch.zeros(())),
    ],
)
def test_shapes_that_do_not_fit_are_refused(make):
    with pytest.raises(ConfigurationError):
        make()
