"""Simulation-based calibration: the statistics of uniform ranks, and verdicts on guides right or known to be off."""

from __future__ import annotations

import json
import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy.special import ndtr, ndtri
from scipy.stats import binom

from pyrogen import Pair
from pyrogen.errors import ConfigurationError, DataError, NotPerDatum, PairError
from pyrogen.inference import ELBO, ImportanceSampling
from pyrogen.inference.studies.simulation_based_calibration import Calibration, calibration
from pyrogen.inference.studies.uniformity import bands, holm, rank_test
from pyrogen.models import GlobalGaussian, LinearGaussianVAE
from pyrogen.report.calibration import calibration_picture, format_calibration
from pyrogen.report.style import png


def uniform(generator, simulations, draws):
    return generator.integers(0, draws + 1, simulations)


@pytest.mark.parametrize(("simulations", "draws"), [(60, 9), (300, 99), (200, 4), (100, 1)])
def test_bands_hold_uniform_ranks_at_their_level(simulations, draws):
    """All points at once: as often as stated, or oftener where counts are few."""
    generator, found = np.random.default_rng(1), bands(simulations, draws, 0.9)
    repetitions, left = 3000, 0
    for _ in range(repetitions):
        counts = np.bincount(uniform(generator, simulations, draws), minlength=draws + 1).cumsum()[found.outcome]
        left += bool(((counts < found.lower) | (counts > found.upper)).any())
    assert left <= binom.isf(1e-6, repetitions, 0.1) + 5 * (0.1 * 0.9 / 9999) ** 0.5 * repetitions
    assert left >= binom.ppf(1e-6, repetitions, 0.05)


def test_p_values_of_uniform_ranks_reject_at_their_level():
    generator, repetitions = np.random.default_rng(2), 250
    tests = [rank_test(uniform(generator, 200, 19), 19, seed=number) for number in range(repetitions)]
    p_values = np.array([test.p_values for test in tests])  # (repetitions, tests)
    for level in (0.05, 0.2, 0.5):
        rejected = (p_values <= level).sum(0)
        assert (rejected <= binom.isf(1e-6, repetitions, level)).all()
        assert (rejected >= binom.ppf(1e-6, repetitions, 0.7 * level)).all()
    for z in (np.array([test.location for test in tests]), np.array([test.spread for test in tests])):
        assert abs(z.mean()) < 5 / repetitions**0.5
        assert abs((z**2).mean() - 1) < 5 * (2 / repetitions) ** 0.5


@pytest.mark.parametrize("draws", [1, 2, 3, 9, 10, 99])
def test_location_and_spread_are_in_exact_standard_errors(draws):
    """Against the moments of normal scores of ranks that take every value equally often."""
    every = np.repeat(np.arange(draws + 1), 50)
    test = rank_test(every, draws)
    scores = ndtri((every + 0.5) / (draws + 1))
    assert abs(test.location) < 1e-9
    assert abs(test.spread) < 0.2  # the divisor of a variance is one less
    low = rank_test(np.zeros(100, np.int64), draws)
    assert math.isclose(low.location, 10 * scores[0] / scores.std())
    if draws > 1:
        expected = -10 * scores.var() / (scores**2).std()
        assert low.spread == (pytest.approx(expected) if (scores**2).std() > 1e-9 else 0.0)


SHAPES = {
    "": lambda u: u,
    "shifted downwards": lambda u: ndtr(ndtri(u) + 0.4),
    "shifted upwards": lambda u: ndtr(ndtri(u) - 0.4),
    "shifted downwards, far": lambda u: ndtr(ndtri(u) + 2),
    "shifted upwards and too narrow": lambda u: ndtr(1.5 * ndtri(u) - 0.4),
    "too narrow": lambda u: ndtr(1.4 * ndtri(u)),
    "too wide": lambda u: ndtr(0.7 * ndtri(u)),
    # All mass at one standard deviation to either side: found by the whole function alone.
    "of another shape": lambda u: ndtr(0.98 * np.sign(u - 0.5)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_what_is_wrong_is_named(name):
    u = SHAPES[name]((np.arange(2000) + 0.5) / 2000)
    test = rank_test((u * 100).astype(np.int64).clip(0, 99), 99)
    assert test.verdict([p < 0.01 for p in test.p_values]) == name.removesuffix(", far")


def test_asymmetry_is_told_from_location():
    """Ranks of the right mean and mean square that are not symmetric."""
    ranks = np.repeat([0, 2, 3, 5, 7, 9], [50, 0, 150, 0, 75, 25])
    mirrored = rank_test(np.concatenate([ranks, 9 - ranks]), 9)
    assert mirrored.symmetry_p > 0.5
    assert rank_test(ranks, 9).symmetry_p < 0.001


def test_holm_controls_all_at_once():
    generator, wrong = np.random.default_rng(3), 0
    for _ in range(2000):
        wrong += min(holm(generator.random(8).tolist())) <= 0.05
    assert wrong <= binom.isf(1e-6, 2000, 0.05)
    assert wrong >= binom.ppf(1e-6, 2000, 0.04)
    assert holm([0.5, 0.001, 0.02]) == pytest.approx([0.5, 0.003, 0.04])


def linear(offset=0.0, scale=1.0):
    torch.manual_seed(0)
    pair = LinearGaussianVAE((5,), latent=2, guide="full").double()
    pair.set_exact_guide(offset, scale)
    return pair


X = torch.zeros(2, 5, dtype=torch.float64)


def test_the_exact_guide_passes_at_its_rate():
    pair, runs, alarms, ranks = linear(), 60, 0, []
    for seed in range(runs):
        found = calibration(pair, X, simulations=100, draws=19, seed=seed)
        alarms += any(found["guide"].verdicts)
        ranks.append(found["guide"].ranks)
    assert alarms <= binom.isf(1e-6, runs, 0.05)
    together = torch.cat(ranks).numpy()
    for column in together.T:
        test = rank_test(column, 19)
        assert max(abs(test.location), abs(test.spread)) < 5
        assert min(test.ecdf_p, test.symmetry_p) > 1e-3


@pytest.mark.parametrize(
    ("offset", "scale", "verdict"),
    [
        (0.5, 1.0, "shifted upwards"),
        (-0.5, 1.0, "shifted downwards"),
        (0.0, 0.7, "too narrow"),
        (0.0, 1.5, "too wide"),
        (-0.7, 0.6, "shifted downwards and too narrow"),
    ],
)
def test_guides_that_are_off_are_named_and_corrected_by_weights(offset, scale, verdict):
    found = calibration(linear(offset, scale), X, simulations=600)
    assert found["guide"].verdicts == [verdict] * 2
    if (offset, scale) in ((0.5, 1.0), (0.0, 1.5)):
        methods = [ImportanceSampling(2000, draws=49)]
        corrected = calibration(linear(offset, scale), X, methods, simulations=400, draws=49)
        assert corrected["IS(2000)"].verdicts == ["", ""]


def test_coverage_of_intervals_is_that_of_the_ranks():
    narrow = calibration(linear(0.0, 0.7), X, simulations=600)["guide"]
    nominal, seen, error = narrow.coverage(0.5)
    assert nominal == pytest.approx(0.5)
    # Central intervals that are 0.7 times as wide as they ought to be.
    expected = math.erf(0.7 * 0.6745 / 2**0.5)
    assert bool(((seen - expected).abs() < 5 * error + 0.01).all())
    right = calibration(linear(), X, simulations=600)["guide"]
    for level in (0.5, 0.8, 0.95):
        nominal, seen, error = right.coverage(level)
        assert bool(((seen - nominal).abs() < 5 * error).all())


class _Coin(Pair):
    """``z ~ Bernoulli(0.3), x ~ N(2 z y, 1)`` given `y`, and the exact guide."""

    def model(self, x, y):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(x.new_tensor(0.3)))
            pyro.sample("x", dist.Normal(2 * z * y, 1.0), obs=x)

    def guide(self, x, y):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(logits=math.log(0.3 / 0.7) + 2 * x * y - 2 * y**2))


def test_discrete_latents_have_uniform_ranks_and_inputs_are_kept():
    batch = {"x": torch.zeros(4), "y": torch.tensor([0.0, 1.0, 2.0, -1.0])}
    found = calibration(_Coin(), batch, simulations=2000, draws=19)
    assert found.dimensions == ["z"]
    assert found["guide"].verdicts == [""]
    test = found["guide"].tests[0]
    assert min(test.p_values) > 1e-4


def test_draws_that_are_not_finite_are_left_out_and_counted():
    class Broken(LinearGaussianVAE):
        def guide(self, x):
            with pyro.plate(self.data_plate, len(x), dim=-1):
                loc = torch.where(x[:, :1] > 1, math.nan, 0.0)
                pyro.sample("z", dist.Normal(loc, x.new_ones(2)).to_event(1))

    found = calibration(Broken((5,), latent=2).double(), X, simulations=400)["guide"]
    assert len(found.ranks) < 400
    assert f"{400 - len(found.ranks)} of 400 simulations" in found.notes[0]


class _Single(Pair):
    def __init__(self):
        super().__init__()
        self.loc = torch.nn.Parameter(torch.zeros(2))

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0).expand([len(x)]), obs=x)

    def guide(self, x):
        with pyro.plate("data", 2):
            pyro.sample("z", dist.Normal(self.loc, 1.0))


@pytest.mark.parametrize(
    ("build", "batch", "arguments", "error", "message"),
    [
        (linear, X, {"simulations": 10}, ConfigurationError, "simulations must be at least 50"),
        (linear, X, {"draws": 1}, ConfigurationError, "draws must be at least 2"),
        (linear, X, {"levels": (1.2,)}, ConfigurationError, "between 0 and 1"),
        (linear, X, {"significance": 0.0}, ConfigurationError, "between 0 and 1"),
        (linear, X, {"methods": []}, ConfigurationError, "one method or more"),
        (linear, X, {"methods": ["guide", "guide"]}, ConfigurationError, "each of another name"),
        (linear, X, {"methods": ["prior"]}, ConfigurationError, "no method 'prior'"),
        (linear, X, {"methods": [ELBO()]}, ConfigurationError, "ELBO keeps 0 draws"),
        (linear, X, {"methods": [ImportanceSampling(100, draws=50)]}, ConfigurationError, "keeps 50 draws"),
        (lambda: GlobalGaussian((5,)).double(), X, {}, NotPerDatum, "'mu'"),
        (_Single, torch.zeros(2), {}, PairError, "the guide has parameters for each datum"),
    ],
)
def test_bad_input_is_named(build, batch, arguments, error, message):
    with pytest.raises(error, match=message):
        calibration(build(), batch, **arguments)


def test_saved_and_read_again_with_words_and_picture(tmp_path):
    found = calibration(linear(0.5), X, ["guide", ImportanceSampling(500, draws=19)], simulations=100, draws=19)
    again = Calibration.load(found.save(tmp_path))
    assert json.dumps(again.record()) == json.dumps(found.record())
    text = format_calibration(found.record())
    assert "shifted upwards" in text
    assert "Calibration of IS(500)" in text
    assert str(again) == text
    assert png(calibration_picture(found.record())).startswith(b"\x89PNG")
    few = calibration(linear(), X, simulations=60, draws=3)
    assert png(few.plot()).startswith(b"\x89PNG")
    with pytest.raises(DataError, match="damaged"):
        format_calibration({**found.record(), "methods": [{"name": "guide"}]})
    (tmp_path / "calibration.json").write_text('{"version": 1}')
    with pytest.raises(DataError, match="damaged"):
        Calibration.load(tmp_path)


def test_seeded_and_outside_randomness_left_alone():
    torch.manual_seed(7)
    first, second = (calibration(linear(), X, simulations=60, draws=5, seed=4)["guide"].ranks for _ in range(2))
    torch.manual_seed(8)
    pair = linear()
    torch.manual_seed(7)
    drawn = torch.rand(())
    torch.manual_seed(7)
    calibration(pair, X, simulations=60, draws=5)
    assert torch.equal(drawn, torch.rand(()))
    assert torch.equal(first, second)


def test_ranks_as_arviz_holds_them():
    found = calibration(LinearGaussianVAE((4,), latent=2), torch.zeros(1, 4), simulations=60, draws=9)
    ranks = found.to_arviz().ranks
    assert list(ranks.dimension.values) == list(found.dimensions)
    assert (ranks["guide"].values == found["guide"].ranks.numpy()).all()
