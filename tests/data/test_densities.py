"""Synthetic data: a density is a density, and samples come from it.

Nothing is compared with loose tolerances. Sums and integrals are exact to rounding; samples are held against them by
bands of five standard errors, and by the Dvoretzky-Kiefer-Wolfowitz bound: the greatest distance between an empirical
and a true distribution function exceeds sqrt(log(2 / a) / 2n) with probability a at most.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pyrogen.data import from_arrays, load
from pyrogen.data.densities import ProbabilisticPCA, Rings, SphericalGaussianMixture
from pyrogen.data.streams import Stream, generator
from pyrogen.data.synthetic import DISTRIBUTIONS, read
from pyrogen.errors import DataError

ROWS = 20_000
DKW = math.sqrt(math.log(2 / 1e-6) / (2 * ROWS))

# Each with a box that holds all but 1e-9 of its mass, (low, high) for both axes, and a step that resolves it.
PLANE = {
    "gaussian-mixture": ("gaussian-mixture", (-22, 22), 0.1),
    "gaussian-mixture, one": ("gaussian-mixture?k=1,spread=0", (-7, 7), 0.1),
    "gaussian-mixture, another": ("gaussian-mixture?k=3,spread=2,instance=5", (-14, 14), 0.1),
    "linear-gaussian": ("linear-gaussian?d=2", (-20, 20), 0.08),
    "linear-gaussian, narrow": ("linear-gaussian?d=2,latent=1,noise=0.2", (-20, 20), 0.05),
    "rings": ("rings", (-4, 4), 0.02),
    "rings, wide": ("rings?k=2,noise=1.5", (-13, 13), 0.1),
    "rings, one": ("rings?k=1,noise=0.05", (-1.6, 1.6), 0.01),
}

BITS = ["bernoulli-mixture", "bernoulli-mixture?d=1,k=1", "bernoulli-mixture?d=6,k=9,instance=3"]


def drawn(options, seed=0):
    """The density and draws from it, float64 (rows, event), in the order drawn."""
    source = read(f"{options}{',' if '?' in options else '?'}n={ROWS}", labels=True, seed=seed)
    return source.density, source.train.values, source.train.labels


def grid(box, step):
    axis = torch.arange(box[0], box[1] + step / 2, step, dtype=torch.float64)
    return axis, torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)


def every(d):
    return torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * d).reshape(-1, d)


@pytest.mark.parametrize(("options", "box", "step"), PLANE.values(), ids=PLANE.keys())
def test_a_density_in_the_plane_integrates_to_one_and_is_that_of_its_samples(options, box, step):
    density, values, _ = drawn(options)
    assert not density.binary
    axis, points = grid(box, step)
    log_prob = density.log_prob(points)
    # For a smooth density that vanishes at the border the trapezoidal rule is exact to rounding.
    mass = log_prob.exp() * step**2
    assert abs(mass.sum().item() - 1) < 1e-8

    cells = mass.reshape(len(axis), len(axis))
    for marginal, sample in ((cells.sum(1), values[:, 0]), (cells.sum(0), values[:, 1])):
        # The distribution function at the middles between grid points, where midpoint sums are exact to second order.
        fraction = np.searchsorted(np.sort(sample), (axis + step / 2).numpy(), side="right") / ROWS
        assert np.abs(fraction - marginal.cumsum(0).numpy()).max() < DKW + step**2

    # Mean log density: entropy; and a moment that ties the axes together.
    own = density.log_prob(torch.from_numpy(values))
    both = points.prod(-1)
    for true, sample in (((mass * log_prob).sum(), own), ((mass * both).sum(), torch.from_numpy(values).prod(-1))):
        assert abs(sample.mean() - true) < 5 * sample.std() / math.sqrt(ROWS)


@pytest.mark.parametrize("options", BITS)
def test_a_density_of_bits_sums_to_one_and_is_that_of_its_samples(options):
    density, values, _ = drawn(options)
    assert density.binary
    points = every(density.d)
    mass = density.log_prob(points).exp()
    assert abs(mass.sum().item() - 1) < 1e-12
    cell = torch.from_numpy(values) @ (2.0 ** torch.arange(density.d - 1, -1, -1, dtype=torch.float64))
    counts = torch.bincount(cell.long(), minlength=2**density.d) / ROWS
    assert (counts.cumsum(0) - mass.cumsum(0)).abs().max() < DKW


@pytest.mark.parametrize("options", ["gaussian-mixture?d=3", "bernoulli-mixture", "rings"])
def test_labels_are_the_components(options):
    density, values, labels = drawn(options)
    parameters = density.parameters() if hasattr(density, "parameters") else (np.full(density.k, 1 / density.k),)
    frequency = np.bincount(labels, minlength=density.k) / ROWS
    error = np.sqrt(parameters[0] * (1 - parameters[0]) / ROWS)
    assert (np.abs(frequency - parameters[0]) < 5 * error).all()
    for component in range(density.k):
        rows = values[labels == component]
        if isinstance(density, Rings):
            # E |x|² = radius² + 2 noise²
            rows = (rows**2).sum(1, keepdims=True)
            mean = (component + 1) ** 2 + 2 * density.noise**2
        else:
            mean = parameters[1][component]
        assert (np.abs(rows.mean(0) - mean) < 5 * rows.std(0) / math.sqrt(len(rows))).all()


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_data_set_knows_its_density(name):
    data = load(f"synthetic:{name}?n=50")
    x = data.test.fixed()
    log_prob = data.log_density(x)
    assert log_prob.shape == (5,)
    assert log_prob.dtype == torch.float64
    assert torch.equal(log_prob, data.density.log_prob(x))
    assert log_prob.isfinite().all()
    assert data.log_density(x.to("meta")).device.type == "meta"
    for wrong in (x[0], x[:, :-1], x[None]):
        with pytest.raises(DataError, match=rf"synthetic:{name}: log_density of an x of shape"):
            data.log_density(wrong)


def test_the_options_make_the_distribution_and_the_seed_the_rows():
    same = [load("synthetic:gaussian-mixture?n=50", seed=seed) for seed in (0, 1)]
    x = torch.zeros(1, 2)
    assert same[0].log_density(x) == same[1].log_density(x)
    rows = [set(torch.cat([data.train.values, data.test.values]).flatten().tolist()) for data in same]
    assert not rows[0] & rows[1]
    assert load("synthetic:gaussian-mixture?n=50,instance=1").log_density(x) != same[0].log_density(x)
    assert torch.equal(load("synthetic:gaussian-mixture?n=50").train.values, same[0].train.values)


def test_no_density_without_knowledge():
    data = from_arrays(np.zeros((10, 2)), name="zeros")
    assert data.density is None
    with pytest.raises(DataError, match="zeros: its true density isn't known: only synthetic data have one"):
        data.log_density(torch.zeros(1, 2))


@pytest.mark.parametrize("binarize", ["threshold", "static", "dynamic"])
def test_binarizing_bits_changes_nothing(binarize):
    plain, binary = (load("synthetic:bernoulli-mixture?n=200", binarize=how) for how in ("none", binarize))
    assert torch.equal(plain.train.values, binary.train.draw())
    assert torch.equal(plain.test.values, binary.test.fixed())


def test_bits_that_are_none_have_no_probability():
    data = load("synthetic:bernoulli-mixture?n=10,d=2")
    assert data.log_density(torch.tensor([[0.5, 0.0], [2.0, 1.0]])).tolist() == [-math.inf, -math.inf]


def test_far_away_is_improbable_and_not_undefined():
    far = torch.tensor([[1e4, -1e4], [0.0, 0.0]])
    for density in (Rings(noise=0.001), SphericalGaussianMixture(), ProbabilisticPCA(d=2)):
        assert density.log_prob(far).isfinite().all()


def test_streams_are_independent():
    first = [generator(seed, stream).random(1000) for seed in (0, 1, 2**40) for stream in Stream]
    correlation = np.corrcoef(first)[np.triu_indices(len(first), 1)]
    assert np.abs(correlation).max() < 5 / math.sqrt(1000)
