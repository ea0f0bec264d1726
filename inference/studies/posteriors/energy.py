"""The energy distance between two samples, with a permutation test.

Axes: draws (of both samples, one below the other), dims, permutations.
"""

from __future__ import annotations

import math

import numpy as np

from .two_sample import Array, TwoSample, permuted_labels, require_samples, standardized

__all__ = ["energy_distances", "energy_test"]


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
    return TwoSample(above, math.nan, float((found >= found[0] - 1e-12).mean()), len(first))


def energy_distances(first: Array, second: Array, *, permutations: int, seed: int) -> Array:
    """Energy distances of the samples and of permuted ones, (1 + permutations,), the true one first.

    They are V-statistics: the distance of a draw to itself counts as well.
    """
    from scipy.spatial.distance import cdist

    require_samples(first, second, permutations)
    rows = standardized(first, second)
    labels = permuted_labels(len(first), permutations, np.random.default_rng(seed))  # (2 draws, 1 + permutations)
    found: Array = -(labels * (cdist(rows, rows) @ labels)).sum(0) / len(first) ** 2
    return found
