"""Two-sample tests: a classifier's accuracy and the energy distance, with p-values of permutations, exact at any size.

Axes: draws (of both samples, one below the other), dims, permutations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyrogen.errors import ConfigurationError, require_at_least

__all__ = ["Array", "TwoSample", "classifier_test", "energy_distances", "energy_test", "p_value", "permuted_labels"]

Array = NDArray[np.float64]

_ROWS_PER_FEATURE = 10
_RIDGE = 1e-2  # of a feature's variance


@dataclass(frozen=True)
class TwoSample:
    """What a test of two samples found."""

    statistic: float
    """The accuracy of the classifier, or the energy distance."""
    error: float
    """Standard error of the statistic; NaN where the test gives none."""
    p_value: float
    """Probability of so large a statistic, or a larger one, where both samples come from one distribution."""
    draws: int
    """Draws of each sample."""


def classifier_test(
    first: Array,
    second: Array,
    *,
    classifier: Any = None,
    groups: NDArray[np.int64] | None = None,
    folds: int = 5,
    permutations: int = 199,
    seed: int = 0,
) -> TwoSample:
    """The classifier two-sample test: the accuracy with which draws of two samples are told apart, 1/2 where they agree.

    Without a classifier given, it is a ridge regression on the coordinates, their squares and, where there are draws
    enough, their products, so that means, scales and correlations count. It is cross-validated, and its p-value is that
    of a permutation test of the whole procedure, exact at any size. (Accuracies of the folds depend on each other, so that a
    binomial p-value of the cross-validated accuracy would reject too often.) A classifier given is fitted to one half of the
    draws; the p-value of its accuracy on the other half is that of a permutation of the labels there, exact too.

    Reference:
        Lopez-Paz & Oquab 2017, Revisiting Classifier Two-Sample Tests, https://arxiv.org/abs/1610.06545

    Args:
        first: draws, (draws, dims).
        second: as many draws, (draws, dims).
        classifier: a classifier of scikit-learn, such as ``RandomForestClassifier(100)``.
        groups: (draws,), the datum that each row of both samples belongs to: labels are permuted within these alone.
        folds: folds of the cross-validation.
        permutations: permutations of the labels; no p-value is smaller than one over one more.
        seed: seeds folds and permutations.

    Raises:
        ConfigurationError: the samples differ in shape or are too small, or there are no permutations or folds.

    Example:
        >>> generator = np.random.default_rng(0)
        >>> found = classifier_test(generator.normal(0, 1, (100, 2)), generator.normal(2, 1, (100, 2)))
        >>> found.statistic > 0.8, found.p_value
        (True, 0.005)
    """
    _require_samples(first, second, permutations)
    require_at_least(2, folds=folds)
    generator = np.random.default_rng(seed)
    rows = _standardized(first, second, groups)  # (2 draws, dims)
    if classifier is not None:
        return _held_out(rows, len(first), classifier, generator)
    features = _features(rows)
    labels = permuted_labels(len(first), permutations, generator, groups)  # (2 draws, 1 + permutations)
    predicted = np.empty_like(labels)
    fold = generator.permutation(len(rows)) % folds  # blind to the labels, or the test were not exact
    for number in range(folds):
        held = fold == number
        known = features[~held]
        gram = known.T @ known + _RIDGE * len(known) * np.eye(features.shape[1])
        predicted[held] = features[held] @ np.linalg.solve(gram, known.T @ labels[~held])
    accuracy = (predicted * labels > 0).mean(0)  # (1 + permutations,)
    return TwoSample(
        statistic=float(accuracy[0]),
        error=_binomial_error(float(accuracy[0]), len(rows)),
        p_value=p_value(accuracy),
        draws=len(first),
    )


def energy_test(first: Array, second: Array, *, permutations: int = 199, seed: int = 0) -> TwoSample:
    """The energy distance of two samples, and whether it is larger than chance makes it.

    ``2 E|X - Y| - E|X - X'| - E|Y - Y'|``, zero where both distributions are one, and only there. The dimensions are
    scaled to unit variance over both samples first. The p-value is that of a permutation test, exact at any size.

    Reference:
        Szekely & Rizzo 2013, Energy statistics: A class of statistics based on distances,
        https://doi.org/10.1016/j.jspi.2013.03.018

    Args:
        first: draws, (draws, dims).
        second: as many draws, (draws, dims).
        permutations: permutations of the labels; no p-value is smaller than one over one more.
        seed: seeds the permutations.

    Raises:
        ConfigurationError: the samples differ in shape or are too small, or there are no permutations.

    Example:
        >>> generator = np.random.default_rng(0)
        >>> found = energy_test(generator.normal(0, 1, (100, 2)), generator.normal(0, 3, (100, 2)))
        >>> found.statistic > 0.1, found.p_value
        (True, 0.005)
    """
    found = energy_distances(first, second, permutations=permutations, seed=seed)  # (1 + permutations,)
    # What draws of one distribution differ by at this size is no distance.
    above = float(found[0] - found[1:].mean())
    return TwoSample(above, math.nan, p_value(found), len(first))


def energy_distances(first: Array, second: Array, *, permutations: int, seed: int) -> Array:
    """Energy distances of the samples and of permuted ones, (1 + permutations,), the true one first.

    They are V-statistics: the distance of a draw to itself counts as well.
    """
    from scipy.spatial.distance import cdist

    _require_samples(first, second, permutations)
    rows = _standardized(first, second)
    labels = permuted_labels(len(first), permutations, np.random.default_rng(seed))  # (2 draws, 1 + permutations)
    found: Array = -(labels * (cdist(rows, rows) @ labels)).sum(0) / len(first) ** 2
    return found


def p_value(statistics: Array) -> float:
    """The share of statistics, (1 + permutations,), that are as large as the first, which is the one seen."""
    return float((statistics >= statistics[0] - 1e-12).mean())


def _require_samples(first: Array, second: Array, permutations: int) -> None:
    if first.ndim != 2 or first.shape != second.shape or len(first) < 4:
        raise ConfigurationError(
            f"samples of one shape (draws, dims), with 4 draws or more, are needed, not {first.shape} and {second.shape}"
        )
    require_at_least(1, permutations=permutations)


def _standardized(first: Array, second: Array, groups: NDArray[np.int64] | None = None) -> Array:
    """Both samples as one, (2 draws, dims), each dimension with mean zero and variance one over both (of each group)."""
    rows = np.concatenate([first, second])  # (2 draws, dims)
    if groups is None:
        return _scaled(rows)
    both = np.concatenate([groups, groups])
    result = np.empty_like(rows)
    for group in np.unique(groups):
        result[both == group] = _scaled(rows[both == group])
    return result


def permuted_labels(
    draws: int, permutations: int, generator: np.random.Generator, groups: NDArray[np.int64] | None = None
) -> Array:
    """Labels 1 and -1 of both samples, and permutations of them: (2 draws, 1 + permutations), the true ones first."""
    true = np.repeat([1.0, -1.0], draws)
    labels = np.repeat(true[:, None], 1 + permutations, 1)
    both = np.zeros(2 * draws, np.int64) if groups is None else np.concatenate([groups, groups])
    for group in np.unique(both):
        rows = np.flatnonzero(both == group)
        order = generator.random((len(rows), permutations)).argsort(0)
        labels[rows[:, None], np.arange(1, 1 + permutations)] = true[rows][order]
    return labels


def _scaled(rows: Array) -> Array:
    spread = rows.std(0)
    scaled: Array = (rows - rows.mean(0)) / np.where(spread > 0, spread, 1.0)
    return scaled


def _features(rows: Array) -> Array:
    """Coordinates, squares and, where there are rows enough, products."""
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    dims = rows.shape[1]
    if len(rows) >= _ROWS_PER_FEATURE * dims * (dims + 3) // 2:
        found = PolynomialFeatures(2, include_bias=False).fit_transform(rows)
    else:
        found = np.concatenate([rows, rows**2], 1)
    scaled: Array = StandardScaler().fit_transform(found)
    return scaled


def _held_out(rows: Array, draws: int, classifier: Any, generator: np.random.Generator) -> TwoSample:
    """The accuracy of a classifier on draws that it has not seen."""
    from scipy.stats import hypergeom
    from sklearn.base import clone

    labels = np.repeat([1, 0], draws)
    half = draws // 2
    order = np.concatenate([generator.permutation(draws), draws + generator.permutation(draws)]).reshape(2, draws)
    fitted = clone(classifier).fit(rows[order[:, :half].ravel()], labels[order[:, :half].ravel()])
    held = order[:, half:].ravel()
    predicted = np.asarray(fitted.predict(rows[held]))
    count, ones = len(held) // 2, int(predicted.sum())
    both = int(predicted[labels[held] == 1].sum())  # right ones among those predicted to be of the first sample
    accuracy = float((predicted == labels[held]).mean())
    chance = float(hypergeom.sf(both - 1, 2 * count, count, ones))
    return TwoSample(accuracy, _binomial_error(accuracy, 2 * count), chance, draws)


def _binomial_error(share: float, count: int) -> float:
    return math.sqrt(max(share * (1 - share), 0.25 / count) / count)
