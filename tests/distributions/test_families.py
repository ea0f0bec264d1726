"""Every family of conditionals: a density, drawn from it, at the right gradient, at extremes."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from scipy.stats import chi2

from pyrogen.distributions.families import Bernoulli, Categorical, DiscretizedLogisticMixture, GaussianMixture, choose

DRAWS = 50_000
DKW_BAND = math.sqrt(math.log(2 / 1e-6) / (2 * DRAWS))
DISCRETE = {
    "bernoulli": Bernoulli(),
    "bernoulli, two channels": Bernoulli(2, centred=True),
    "categorical": Categorical(5),
    "categorical, two channels of integers": Categorical(3, channels=2, integers=True),
    "logistic mixture": DiscretizedLogisticMixture(3, bins=7),
    "logistic mixture, one component": DiscretizedLogisticMixture(1, bins=2),
    "logistic mixture, colours": DiscretizedLogisticMixture(2, channels=3, bins=4),
}
ALL = {**DISCRETE, "gaussian mixture": GaussianMixture(3), "gaussian mixture, two channels": GaussianMixture(2, channels=2)}
"""Families and the values that each number may take, if they are finitely many."""


def states(family):
    """All values at a position, (values, channels)."""
    count = 2 if isinstance(family, Bernoulli) else getattr(family, "values", None) or family.bins
    scale = 1 if getattr(family, "integers", False) else count - 1
    values = [[number / scale for number in state] for state in itertools.product(range(count), repeat=family.channels)]
    return torch.tensor(values, dtype=torch.float64)


def parameters_of(family, *shape, scale=1.5, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(shape[0], family.outputs, *shape[1:], generator=generator, dtype=torch.float64)).to(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=str)
@pytest.mark.parametrize("scale", [0.0, 1.5, 30.0])
@pytest.mark.parametrize("name", DISCRETE)
def test_masses_add_up_to_one(name, scale, dtype, tolerance):
    family = DISCRETE[name]
    values = states(family).to(dtype)
    parameters = parameters_of(family, 1, 6, scale=scale, dtype=dtype).expand(len(values), -1, -1)
    log_prob = family.log_prob(parameters, values[..., None].expand(-1, -1, 6))
    assert log_prob.shape == (len(values), 6)
    assert (log_prob.double().exp().sum(0) - 1).abs().max() < tolerance


@pytest.mark.parametrize("name", DISCRETE)
def test_draws_follow_the_masses(name):
    family = DISCRETE[name]
    values = states(family)
    parameters = parameters_of(family, 1)
    torch.manual_seed(1)
    drawn = family.draw(parameters.expand(DRAWS, -1), torch.rand(DRAWS, family.noise, dtype=torch.float64))
    assert family.support.check(drawn).all()
    distance = (drawn[:, None] - values[None]).abs().amax(-1)
    assert distance.min(1).values.max() < 1e-12
    counts = torch.bincount(distance.argmin(1), minlength=len(values)).double()
    expected = DRAWS * family.log_prob(parameters.expand(len(values), -1), values).exp()
    rare = expected < 5
    if rare.any():
        counts = torch.cat([counts[~rare], counts[rare].sum()[None]])
        expected = torch.cat([expected[~rare], expected[rare].sum()[None]])
    statistic = ((counts - expected).square() / expected.clamp(min=1e-9)).sum()
    assert statistic < chi2.isf(1e-6, len(counts) - 1)


@pytest.mark.parametrize("name", ["gaussian mixture", "gaussian mixture, two channels"])
def test_gaussian_draws_follow_the_density(name):
    """Along several directions, the distribution function of the draws is within the band around the exact one."""
    family = ALL[name]
    parameters = parameters_of(family, 1, scale=0.7)
    torch.manual_seed(2)
    drawn = family.draw(parameters.expand(DRAWS, -1), torch.rand(DRAWS, family.noise, dtype=torch.float64))
    weights = parameters[0, : family.components].softmax(0)
    means, log_scales = parameters[0, family.components :].reshape(2, family.channels, family.components)
    for direction in torch.randn(5, family.channels, dtype=torch.float64):
        mean, spread = direction @ means, (direction.square() @ (2 * log_scales).exp()).sqrt()
        x = (drawn @ direction).sort().values
        exact = (weights * torch.special.ndtr((x[:, None] - mean) / spread)).sum(1)
        empirical = torch.arange(1, DRAWS + 1) / DRAWS
        assert (exact - empirical).abs().max() < DKW_BAND


def test_the_gaussian_mixture_is_the_density_of_torch():
    family = GaussianMixture(3, channels=2)
    parameters = parameters_of(family, 4, 5)
    x = torch.randn(4, 2, 5, dtype=torch.float64)
    logits, rest = parameters[:, :3], parameters[:, 3:].reshape(4, 2, 2, 3, 5)
    component = torch.distributions.Normal(rest[:, 0].permute(0, 3, 2, 1), rest[:, 1].permute(0, 3, 2, 1).exp())
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=logits.movedim(1, -1)), torch.distributions.Independent(component, 1)
    )
    assert (mixture.log_prob(x.movedim(1, -1)) - family.log_prob(parameters, x)).abs().max() < 1e-12


def test_the_coupling_moves_the_location_of_later_channels_alone():
    family = DiscretizedLogisticMixture(1, channels=3, bins=256)
    parameters = torch.zeros(1, family.outputs, dtype=torch.float64)
    parameters[:, 4:7] = -5.0  # the scales
    parameters[:, 7] = 20.0  # green's location is red's value
    parameters[:, 9] = 20.0  # and blue's is green's
    grid = torch.linspace(0, 1, 256, dtype=torch.float64)

    def best(channel, *others):
        values = torch.tensor([others]).double().repeat(256, 1)
        values[:, channel] = grid
        return grid[family.log_prob(parameters.expand(256, -1), values).argmax()]

    for red, green in ((0.2, 0.7), (0.8, 0.3)):
        assert abs(best(2, red, green, 0.0) - green) < 0.01
    parameters[:, 9] = 0.0
    for red in (0.2, 0.8):
        assert abs(best(1, red, 0.0, 0.5) - red) < 0.01
        assert abs(best(2, red, 0.3, 0.0) - 0.5) < 0.01


@pytest.mark.parametrize("name", ALL)
def test_gradients_are_finite_far_outside_and_right_inside(name):
    family = ALL[name]
    noise = torch.rand(3, family.noise, 2, dtype=torch.float64)
    value = family.draw(parameters_of(family, 3, 2), noise)
    inside = parameters_of(family, 3, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: family.log_prob(p, value), inside)
    outside = (parameters_of(family, 3, 2, scale=30.0, dtype=torch.float32)).requires_grad_()
    log_prob = family.log_prob(outside, value.float())
    (gradient,) = torch.autograd.grad(log_prob.sum(), outside)
    assert gradient.isfinite().all()
    assert log_prob.isfinite().all()


@pytest.mark.parametrize("name", ALL)
def test_any_trailing_dimensions_and_the_ends_of_the_noise(name):
    family = ALL[name]
    for shape in ((), (4,), (4, 3)):
        parameters = parameters_of(family, 2, *shape)
        for noise in (0.0, 1 - 2**-24):
            drawn = family.draw(parameters, torch.full((2, family.noise, *shape), noise, dtype=torch.float64))
            assert drawn.shape == (2, family.channels, *shape)
            assert drawn.isfinite().all()
            assert family.support.check(drawn).all()
            assert family.encode(drawn).shape == (2, family.inputs, *shape)
            assert family.log_prob(parameters, drawn).shape == (2, *shape)


def test_a_choice_without_a_chance_is_not_drawn():
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 1.0, -torch.inf]])
    noise = torch.cat([torch.rand(1000, 1), torch.tensor([[0.0], [1 - 2**-24]])])
    assert set(choose(logits.expand(len(noise), -1), noise, 1).flatten().tolist()) == {1, 3}


def test_families_with_the_same_attributes_are_equal():
    assert Bernoulli() == Bernoulli()
    assert hash(Categorical(3)) == hash(Categorical(3))
    assert Bernoulli() != Bernoulli(centred=True)
    assert Bernoulli() != Categorical(2)
