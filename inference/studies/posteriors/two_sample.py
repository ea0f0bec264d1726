"""Whether a classifier can tell two samples apart, with a p-value that holds whatever the classifier.

Axes: draws (of both samples, one below the other), dims, permutations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyrogen.errors import ConfigurationError

__all__ = ["Array", "TwoSample", "classifier_test", "permuted_labels", "require_samples", "standardized"]

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
    require_samples(first, second, permutations)
    if folds < 2:
        raise ConfigurationError(f"folds must be at least 2, not {folds}")
    generator = np.random.default_rng(seed)
    rows = standardized(first, second, groups)  # (2 draws, dims)
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
        p_value=float((accuracy >= accuracy[0] - 1e-12).mean()),
        draws=len(first),
    )


def require_samples(first: Array, second: Array, permutations: int) -> None:
    """Refuse samples that no test can be made of.

    Raises:
        ConfigurationError: says what was seen.
    """
    if first.ndim != 2 or first.shape != second.shape or len(first) < 4:
        raise ConfigurationError(
            f"samples of one shape (draws, dims), with 4 draws or more, are needed, not {first.shape} and {second.shape}"
        )
    if permutations < 1:
        raise ConfigurationError(f"permutations must be at least 1, not {permutations}")


def standardized(first: Array, second: Array, groups: NDArray[np.int64] | None = None) -> Array:
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
    p_value = float(hypergeom.sf(both - 1, 2 * count, count, ones))
    return TwoSample(accuracy, _binomial_error(accuracy, 2 * count), p_value, draws)


def _binomial_error(share: float, count: int) -> float:
    return math.sqrt(max(share * (1 - share), 0.25 / count) / count)
