"""Tests of two samples: their level where the samples agree, their power where they do not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from pyrogen.errors import ConfigurationError
from pyrogen.inference.studies.posteriors import classifier_test, energy_test
from pyrogen.inference.studies.posteriors.two_sample import permuted_labels

REPETITIONS = 250
PERMUTATIONS = 39
DKW = math.sqrt(math.log(2 / 1e-6) / (2 * REPETITIONS))


def correlated(generator, size, correlation):
    covariance = np.eye(2) * (1 - correlation) + correlation
    return generator.multivariate_normal(np.zeros(2), covariance, size)


def held_out(first, second, **arguments):
    from sklearn.linear_model import LogisticRegression

    del arguments["permutations"]
    return classifier_test(first, second, classifier=LogisticRegression(), **arguments)


def pooled(first, second, **arguments):
    """Four data of means far apart, of which each sample holds draws."""
    groups = np.arange(len(first)) % 4
    return classifier_test(first + 50.0 * groups[:, None], second + 50.0 * groups[:, None], groups=groups, **arguments)


TESTS = {"ridge": classifier_test, "energy": energy_test, "held out": held_out, "pooled": pooled}


@pytest.mark.parametrize("name", TESTS)
def test_equal_distributions_are_rejected_at_the_level(name):
    """No level is exceeded: the p-value is, in distribution, at least uniform; and not idle either."""
    generator = np.random.default_rng(1)
    p_values = []
    for number in range(REPETITIONS):
        first, second = generator.standard_t(3, (2, 32, 2)) ** 2  # skewed, with a heavy tail
        p_values.append(TESTS[name](first, second, permutations=PERMUTATIONS, seed=number).p_value)
    p_values = np.array(p_values)
    for level in (0.05, 0.1, 0.25, 0.5):
        rejected = int((p_values <= level + 1e-9).sum())
        assert rejected <= binom.isf(1e-6, REPETITIONS, level), level
        assert rejected >= binom.ppf(1e-6, REPETITIONS, 0.4 * level), level
    if name == "energy":  # which has no ties: uniform exactly
        steps = np.arange(1, PERMUTATIONS + 2) / (PERMUTATIONS + 1)
        assert np.abs((p_values[:, None] <= steps + 1e-9).mean(0) - steps).max() < DKW


DIFFERENCES = {
    "shift": lambda generator, size: generator.normal(0.7, 1, (size, 2)),
    "scale": lambda generator, size: generator.normal(0, 1.8, (size, 2)),
    "correlation": lambda generator, size: correlated(generator, size, 0.8),
}


@pytest.mark.parametrize("difference", DIFFERENCES)
@pytest.mark.parametrize("name", ["ridge", "energy"])
def test_known_differences_are_found(name, difference):
    generator = np.random.default_rng(2)
    found = 0
    for number in range(40):
        first, second = generator.normal(0, 1, (100, 2)), DIFFERENCES[difference](generator, 100)
        found += TESTS[name](first, second, permutations=PERMUTATIONS, seed=number).p_value <= 0.05
    # At least 80 of 100 would be found (an energy distance sees correlation less well).
    assert found >= binom.ppf(1e-6, 40, 0.5 if (name, difference) == ("energy", "correlation") else 0.8)


def test_all_data_together_see_what_no_single_one_does():
    generator = np.random.default_rng(3)
    groups = np.repeat(np.arange(20), 40)
    first, second = generator.normal(0, 1, (800, 1)), generator.normal(0.25, 1, (800, 1))
    offset = 50.0 * groups[:, None]
    assert classifier_test(first + offset, second + offset, groups=groups).p_value == 1 / 200
    alone = [classifier_test(first[groups == g], second[groups == g], seed=g).p_value for g in range(20)]
    assert np.mean(np.array(alone) <= 0.05) < 0.6


def test_a_forest_sees_what_moments_do_not():
    """Two rings of the same mean and covariance as a Gaussian."""
    from sklearn.ensemble import RandomForestClassifier

    generator = np.random.default_rng(4)
    angle = generator.uniform(0, 2 * np.pi, 300)
    ring = 2**0.5 * np.stack([np.cos(angle), np.sin(angle)], 1)
    found = classifier_test(ring, generator.normal(0, 1, (300, 2)), classifier=RandomForestClassifier(30, random_state=0))
    assert found.p_value < 1e-6
    assert found.statistic > 0.7


def test_the_energy_distance_is_that_of_the_formula():
    """Two normals on a line: 2 E|X - Y| - E|X - X'| - E|Y - Y'| in units of the pooled standard deviation."""
    generator = np.random.default_rng(5)
    first, second = generator.normal(0, 1, (1000, 1)), generator.normal(2, 1, (1000, 1))

    def mean_absolute(mean, sd):
        return sd * (2 / np.pi) ** 0.5 * np.exp(-(mean**2) / (2 * sd**2)) + mean * math.erf(mean / (sd * 2**0.5))

    expected = (2 * mean_absolute(2, 2**0.5) - 2 * mean_absolute(0, 2**0.5)) / 2**0.5
    repeated = [
        energy_test(generator.normal(0, 1, (500, 1)), generator.normal(2, 1, (500, 1)), permutations=19).statistic
        for _ in range(20)
    ]
    assert abs(np.mean(repeated) - expected) < 5 * np.std(repeated, ddof=1) / 20**0.5
    assert energy_test(first, second).p_value == 1 / 200


def test_labels_are_permuted_within_their_group():
    groups = np.repeat([0, 1, 2], [4, 6, 2])
    labels = permuted_labels(12, 50, np.random.default_rng(0), groups)
    both = np.concatenate([groups, groups])
    assert (labels[:, 0] == np.repeat([1, -1], 12)).all()
    for group in range(3):
        assert (labels[both == group].sum(0) == 0).all()
    assert len(np.unique(labels, axis=1).T) > 45


def test_dimensions_that_do_not_vary_do_no_harm():
    first = np.random.default_rng(0).normal(0, 1, (50, 2))
    first[:, 1] = 3.0
    for test in (classifier_test, energy_test):
        found = test(first, first[::-1].copy())
        assert math.isfinite(found.statistic)
        assert found.p_value > 0.05


@pytest.mark.parametrize(
    ("first", "second", "arguments", "message"),
    [
        (np.zeros((9, 2)), np.zeros((9, 3)), {}, r"\(9, 2\) and \(9, 3\)"),
        (np.zeros((3, 2)), np.zeros((3, 2)), {}, "4 draws or more"),
        (np.zeros(9), np.zeros(9), {}, "draws, dims"),
        (np.zeros((9, 2)), np.zeros((9, 2)), {"permutations": 0}, "permutations must be at least 1"),
        (np.zeros((9, 2)), np.zeros((9, 2)), {"folds": 1}, "folds must be at least 2"),
    ],
)
def test_bad_input_is_named(first, second, arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        classifier_test(first, second, **arguments)
