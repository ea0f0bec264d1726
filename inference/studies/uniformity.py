"""Tests of ranks that should be uniform: their distribution function with simultaneous bands, location, spread, symmetry.

Axes: simulations, outcomes (the ranks 0 to draws).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bands", "RankTest", "bands", "holm", "rank_test"]

_POINTS = 100
_FAR = 1.0  # standard deviations
_NULL = 9999
"""Simulations of uniform ranks; no p-value made from them is smaller than one over one more."""


@dataclass(frozen=True)
class Bands:
    """Where the distribution function of uniform ranks lies, at all points at once.

    Attributes:
        outcome: (points,), ranks at which the distribution function is looked at.
        share: (points,), its value there where ranks are uniform.
        lower: (points,), least number of ranks up to there within the bands, and `upper`, the greatest.
        null: (`_NULL`,), the statistic of simulated uniform ranks, sorted.
        tails: (points, simulations + 1), two-sided p-value of each number of ranks, at each point by itself.
    """

    outcome: NDArray[np.int64]
    share: NDArray[np.float64]
    lower: NDArray[np.int64]
    upper: NDArray[np.int64]
    null: NDArray[np.float64]
    tails: NDArray[np.float64]

    def statistic(self, counts: NDArray[np.int64]) -> float:
        """The smallest of the p-values of all points, from the numbers of each rank, (outcomes,)."""
        return float(_statistic(self.tails, counts[None].cumsum(1)[:, self.outcome])[0])


@lru_cache(maxsize=16)
def bands(simulations: int, draws: int, level: float = 0.95, seed: int = 0) -> Bands:
    """Bands that the distribution function of uniform ranks leaves anywhere with a probability of one minus `level`.

    At each point the number of ranks up to it is binomial. The bands are the binomial intervals whose coverage at a single
    point is such that all of them together cover uniform ranks at the level; that coverage is found by simulation.

    Reference:
        Säilynoja, Bürkner & Vehtari 2022, Graphical test for discrete uniformity and its applications in goodness-of-fit
        evaluation and multiple sample comparison, https://arxiv.org/abs/2103.10522

    Args:
        simulations: number of ranks.
        draws: the greatest rank.
        level: coverage of all points together.
        seed: seeds the simulation.

    Example:
        >>> found = bands(200, 9)
        >>> int(found.lower[4]) < 100 < int(found.upper[4])
        True
    """
    from scipy.stats import binom

    outcome = np.unique(np.linspace(0, draws - 1, min(draws, _POINTS)).round().astype(np.int64))  # the last is certain
    share = (outcome + 1) / (draws + 1)
    count = np.arange(simulations + 1)
    below = binom.cdf(count, simulations, share[:, None])  # (points, simulations + 1)
    above = binom.sf(count - 1, simulations, share[:, None])
    tails = np.minimum(1.0, 2 * np.minimum(below, above))
    generator = np.random.default_rng(seed)
    uniform = generator.multinomial(simulations, np.full(draws + 1, 1 / (draws + 1)), _NULL)  # (null, outcomes)
    null = np.sort(_statistic(tails, uniform.cumsum(1)[:, outcome]))
    allowed = tails >= null[min(_NULL - 1, math.ceil((1 - level) * (_NULL + 1)) - 1)]
    return Bands(
        outcome=outcome,
        share=share,
        lower=allowed.argmax(1),
        upper=simulations - allowed[:, ::-1].argmax(1),
        null=null,
        tails=tails,
    )


@dataclass(frozen=True)
class RankTest:
    """What the ranks of one dimension say.

    Attributes:
        location: by how many standard errors the mean of the ranks' normal scores lies above zero, and `location_p`.
        spread: by how many standard errors their variance exceeds that of uniform ranks' scores, and `spread_p`.
        shift: the mean of the scores: how far off, in standard deviations, a normal distribution would be.
        ecdf_p: p-value of the distribution function, at all points together.
        symmetry_p: p-value of the ranks' symmetry around the middle.
    """

    shift: float
    location: float
    location_p: float
    spread: float
    spread_p: float
    ecdf_p: float
    symmetry_p: float

    @property
    def p_values(self) -> tuple[float, float, float, float]:
        """Of location, spread, distribution function and symmetry."""
        return self.location_p, self.spread_p, self.ecdf_p, self.symmetry_p

    def verdict(self, rejected: Sequence[bool]) -> str:
        """What is wrong with the distribution that the ranks were taken in, in words; empty where nothing is.

        Args:
            rejected: which of `p_values` are too small.
        """
        location, spread, ecdf, symmetry = rejected
        words = []
        if location:  # high ranks: the truth lies above the draws
            words.append("shifted downwards" if self.location > 0 else "shifted upwards")
        # Where the draws lie far off, ranks are near one end, which says nothing of a width that is too large.
        if spread and (self.spread > 0 or abs(self.shift) < _FAR):
            words.append("too narrow" if self.spread > 0 else "too wide")
        if symmetry and not location:
            words.append("lopsided")
        if ecdf and not words:
            words.append("of another shape")
        return " and ".join(words)


def rank_test(ranks: NDArray[np.int64], draws: int, *, seed: int = 0) -> RankTest:
    """Test ranks, (simulations,), each from 0 to `draws`, for uniformity.

    Location and spread are tested by the mean and the variance of the ranks' normal scores, whose errors are known where
    ranks are uniform, and which a shift and a wrong width of a normal distribution change one each. Symmetry, which holds of
    any distribution with the right location however its spread is off, is tested by exchanging each rank with its mirror
    image at random.

    Reference:
        Talts et al. 2018, Validating Bayesian Inference Algorithms with Simulation-Based Calibration,
        https://arxiv.org/abs/1804.06788

        Yao, Vehtari, Simpson & Gelman 2018, Yes, but Did It Work?: Evaluating Variational Inference,
        https://arxiv.org/abs/1802.02538

    Example:
        >>> found = rank_test((10 * np.random.default_rng(0).beta(0.5, 0.5, 200)).astype(int), draws=9)
        >>> found.verdict([p < 0.001 for p in found.p_values])
        'too narrow'
    """
    from scipy.special import ndtri

    count, outcomes = len(ranks), draws + 1
    possible = ndtri((np.arange(outcomes) + 0.5) / outcomes)  # (outcomes,)
    second, fourth = (possible**2).mean(), (possible**4).mean()  # moments of uniform ranks' scores
    scores = possible[ranks]
    shift = float(scores.mean())
    location = shift / math.sqrt(second / count)
    varies = fourth - second**2
    spread = float((scores.var(ddof=1) - second) / math.sqrt(varies / count)) if varies > 1e-9 * fourth else 0.0
    counts = np.bincount(ranks, minlength=outcomes)
    found = bands(count, draws)
    return RankTest(
        shift=shift,
        location=location,
        location_p=_normal_p(location),
        spread=spread,
        spread_p=_normal_p(spread),
        ecdf_p=float((1 + np.searchsorted(found.null, found.statistic(counts) * (1 + 1e-9), "right")) / (1 + _NULL)),
        symmetry_p=_symmetry_p(counts, seed),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjustment: none of the adjusted p-values is below a level by chance, but with a probability of that level.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(order))
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, np.arange(len(order), 0, -1) * np.asarray(p_values)[order]))
    return [float(value) for value in adjusted]


def _statistic(tails: NDArray[np.float64], cumulated: NDArray[np.int64]) -> NDArray[np.float64]:
    """The smallest p-value over points, (rows,), of numbers of ranks up to each point, (rows, points)."""
    found: NDArray[np.float64] = tails[np.arange(tails.shape[0]), cumulated].min(1)
    return found


def _normal_p(z: float) -> float:
    return math.erfc(abs(z) / math.sqrt(2))


def _symmetry_p(counts: NDArray[np.int64], seed: int) -> float:
    generator = np.random.default_rng(seed)
    half = len(counts) // 2
    low, high = counts[:half], counts[::-1][:half]  # mirror images
    both = low + high
    flipped = generator.binomial(both, 0.5, (_NULL, half))  # (null, pairs)
    null = np.abs((2 * flipped - both).cumsum(1)).max(1)
    seen = np.abs((low - high).cumsum()).max()
    return float((1 + (null >= seen).sum()) / (1 + _NULL))
