"""Systematic resampling: counts, expectations, and what it does where weights are missing."""

from __future__ import annotations

import math

import pytest
import torch

from pyrogen.errors import ConfigurationError
from pyrogen.inference.weights.resampling import effective_size, inherit, systematic

INF = math.inf


def counts(ancestors):
    """Offspring of each particle, (particles, data)."""
    particles, data = ancestors.shape
    return torch.stack([torch.bincount(ancestors[:, i], minlength=particles) for i in range(data)], 1)


def wanted(log_weight):
    return log_weight.double().softmax(0) * len(log_weight)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("particles", [1, 2, 7, 1000])
@pytest.mark.parametrize("spread", [0.0, 1.0, 30.0])
def test_counts_are_the_floor_or_the_ceiling_of_what_is_due(particles, spread, dtype):
    generator = torch.Generator().manual_seed(1)
    log_weight = spread * torch.randn(particles, 200, generator=generator, dtype=dtype) - 500.0
    torch.manual_seed(2)
    ancestors = systematic(log_weight)
    assert ancestors.dtype == torch.int64
    assert ancestors.shape == (particles, 200)
    assert (ancestors.diff(dim=0) >= 0).all()
    found, due = counts(ancestors), wanted(log_weight)
    assert (found >= (due - 1e-9).floor()).all()
    assert (found <= (due + 1e-9).ceil()).all()


@pytest.mark.parametrize("uniform", [None, 0.0, 0.5, 1 - 2**-53])
def test_a_million_particles_in_single_precision(uniform):
    """Single precision cumulates to more or less than 1, and points past the end; the last uniform number rounds up."""
    particles = 1_000_000
    generator = torch.Generator().manual_seed(3)
    log_weight = torch.stack(
        [
            torch.randn(particles, generator=generator),
            torch.full((particles,), -1.0),
            8 * torch.randn(particles, generator=generator),
        ],
        1,
    )
    log_weight[-1000:, 0] = -INF
    torch.manual_seed(4)
    given = None if uniform is None else torch.full((3,), uniform, dtype=torch.float64)
    ancestors = systematic(log_weight, given)
    assert ancestors.min() >= 0
    assert ancestors.max() < particles
    assert ancestors[:, 0].max() < particles - 1000
    found, due = counts(ancestors), wanted(log_weight)
    assert (found.sum(0) == particles).all()
    # Sums of a million numbers of size up to a million are right to 1e-4 at the least.
    assert (found >= (due - 1e-4).floor()).all()
    assert (found <= (due + 1e-4).ceil()).all()
    assert torch.equal(ancestors[:, 1], torch.arange(particles))  # equal weights: each is its own ancestor


def test_counts_are_due_on_average():
    """The mean of the counts over many uniform numbers, within five standard errors, and at a grid of them exactly."""
    generator = torch.Generator().manual_seed(5)
    log_weight = torch.randn(6, 1, generator=generator, dtype=torch.float64)
    due = wanted(log_weight)
    repeats = 20_000
    torch.manual_seed(6)
    found = counts(systematic(log_weight.expand(6, repeats))).double()
    fraction = due - due.floor()
    error = (fraction * (1 - fraction) / repeats).sqrt()
    assert ((found.mean(1, keepdim=True) - due).abs() < 5 * error + 1e-12).all()
    grid = (torch.arange(repeats, dtype=torch.float64) + 0.5) / repeats
    found = counts(systematic(log_weight.expand(6, repeats), grid)).double()
    assert ((found.mean(1, keepdim=True) - due).abs() <= 1 / repeats).all()


def test_each_datum_is_resampled_by_its_own_weights():
    generator = torch.Generator().manual_seed(7)
    log_weight = torch.randn(50, 9, generator=generator)
    uniform = torch.rand(9, generator=generator, dtype=torch.float64)
    together = systematic(log_weight, uniform)
    alone = [systematic(log_weight[:, i : i + 1], uniform[i : i + 1]) for i in range(9)]
    assert torch.equal(together, torch.cat(alone, 1))


@pytest.mark.parametrize("uniform", [0.0, 0.3, 1 - 2**-53])
def test_particles_without_a_weight_have_no_offspring(uniform):
    nan = math.nan
    log_weight = torch.tensor(
        [
            [-INF, 0.0, nan, -INF, nan, 0.0],
            [0.0, -INF, 0.0, -INF, -INF, INF],
            [-INF, -INF, -INF, -INF, nan, INF],
            [-INF, 0.0, 0.0, -INF, nan, nan],
        ]
    )
    ancestors = systematic(log_weight, torch.full((6,), uniform, dtype=torch.float64))
    assert ancestors.T.tolist() == [[1, 1, 1, 1], [0, 0, 3, 3], [1, 1, 3, 3], [0, 1, 2, 3], [0, 1, 2, 3], [1, 1, 2, 2]]


def test_effective_size():
    generator = torch.Generator().manual_seed(8)
    log_weight = torch.randn(100, 4, generator=generator, dtype=torch.float64)
    weight = log_weight.exp()
    expected = weight.sum(0) ** 2 / (weight**2).sum(0)
    assert torch.allclose(effective_size(log_weight + 1000), expected, rtol=1e-10, atol=0)
    assert effective_size(torch.zeros(7, 1)).tolist() == [7.0]
    assert effective_size(torch.tensor([[-INF], [-INF]])).tolist() == [0.0]
    assert effective_size(torch.tensor([[math.nan], [3.0], [3.0]])).tolist() == [2.0]


def test_inherit_takes_each_datum_s_own_ancestors():
    value = torch.arange(24.0).reshape(3, 2, 4)
    ancestors = torch.tensor([[0, 2], [0, 2], [1, 0]])
    found = inherit(value, ancestors)
    for k in range(3):
        for i in range(2):
            assert torch.equal(found[k, i], value[ancestors[k, i], i])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: systematic(torch.zeros(3)), "shape \\(particles, data\\)"),
        (lambda: systematic(torch.zeros(0, 3)), "at least one particle"),
        (lambda: systematic(torch.zeros(4, 3), torch.zeros(4)), "one number for each datum"),
        (lambda: effective_size(torch.zeros(2, 2, 2)), "shape \\(particles, data\\)"),
    ],
)
def test_bad_shapes_are_refused(call, said):
    with pytest.raises(ConfigurationError, match=said):
        call()
