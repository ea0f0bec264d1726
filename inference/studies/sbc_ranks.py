"""Ranks of known latents among draws of their posteriors, and what the ranks of a method say.

Axes: simulations, draws, dims.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from pyrogen.batch import Batch, device_of, length
from pyrogen.errors import ConfigurationError, PairError
from pyrogen.pair import Pair

from ..estimators.estimate import Estimator
from ..weights.chunks import chunks
from .uniformity import RankTest, holm, rank_test

__all__ = ["LEAST_SIMULATIONS", "RankedMethod", "Ranks", "judged", "ranks_among"]

LEAST_SIMULATIONS = 50
_LEAST_SHARE = 5  # effective particles for each draw

RankedMethod: TypeAlias = Estimator | Literal["guide"]


@dataclass(frozen=True)
class Ranks:
    """The ranks of one method, and what they say.

    Attributes:
        name: the method.
        ranks: (simulations, dims), from 0 to `draws`; simulations with values that are not finite are left out.
        draws: draws of each posterior.
        tests: of each dimension.
        adjusted: by dimension, the p-values of `RankTest.p_values`, adjusted for their number by Holm's method.
        verdicts: by dimension, what is wrong with the method, or nothing.
        notes: what the reader must know, in sentences.
    """

    name: str
    ranks: Tensor
    draws: int
    tests: list[RankTest]
    adjusted: list[tuple[float, ...]]
    verdicts: list[str]
    notes: tuple[str, ...]

    def coverage(self, level: float) -> tuple[float, Tensor, Tensor]:
        """How often central intervals of the draws hold the truth.

        Returns:
            The coverage that uniform ranks have (the draws allow of no other nearer to `level`), and that seen, (dims,),
            with its standard error.
        """
        outside = round((1 - level) / 2 * (self.draws + 1))
        inside = ((self.ranks >= outside) & (self.ranks <= self.draws - outside)).double()
        nominal = 1 - 2 * outside / (self.draws + 1)
        error = math.sqrt(max(nominal * (1 - nominal), 1e-12) / len(self.ranks))
        return nominal, inside.mean(0), torch.full_like(inside[0], error)


def ranks_among(
    pair: Pair, batch: Batch, latents: Mapping[str, Tensor], method: RankedMethod, draws: int, progress: bool
) -> tuple[Tensor, list[str]]:
    """Ranks of known latents, (simulations, other plates..., event...) by site, among draws of a method for simulated data.

    Returns:
        (simulations, dims), from 0 to `draws`, of those simulations all of whose values are finite; and what must be known
        of them, in sentences.

    Raises:
        ConfigurationError: the method is unknown, or keeps too few draws.
    """
    count = length(batch)
    below, equal = ({name: torch.zeros_like(value, dtype=torch.long) for name, value in latents.items()} for _ in range(2))
    good = torch.ones(count, dtype=torch.bool, device=device_of(batch))
    notes: list[str] = []

    def compare(name: str, drawn: Tensor, rows: slice) -> None:
        truth = latents[name][rows]  # (data, ...)
        below[name][rows] += (drawn < truth).sum(0)
        equal[name][rows] += (drawn == truth).sum(0)
        finite = torch.isfinite(drawn).all(0) & torch.isfinite(truth)
        good[rows] &= finite.reshape(len(truth), -1).all(1)

    if isinstance(method, Estimator):
        estimate = method.estimate(pair, batch, progress=progress)
        kept = 0 if estimate.draws is None else len(estimate.draws.log_likelihood)
        if estimate.draws is None or kept < draws:
            raise ConfigurationError(f"{method.name} keeps {kept} draws of each posterior, and {draws} are needed")
        for name in latents:
            compare(name, estimate.draws.latents[name][:draws], slice(count))
        median = math.inf if estimate.ess is None else float(estimate.ess.median())
        if median < _LEAST_SHARE * draws:
            notes.append(
                f"the median effective number of particles is {median:.0f}, for {draws} draws: take more particles, for "
                f"{method.name} repeats some of them, which alone makes ranks lie too near to the ends"
            )
    elif method == "guide":
        for chunk in chunks(pair, batch, draws, progress=progress):
            for name in latents:
                compare(name, chunk.latents[name], chunk.data)
    else:
        raise ConfigurationError(f"no method {method!r}: give 'guide' or an estimator that keeps draws")
    # A tie is broken at random, so that discrete latents have uniform ranks too.
    ranks = [
        (below[name] + (torch.rand(equal[name].shape, device=good.device) * (equal[name] + 1)).long()).reshape(count, -1)
        for name in latents
    ]
    lost = int((~good).sum())
    if lost:
        notes.append(f"{lost} of {count} simulations gave draws that are not finite, and are left out")
    return torch.cat(ranks, 1)[good].cpu(), notes


def judged(name: str, ranks: Tensor, draws: int, notes: Sequence[str], significance: float) -> Ranks:
    """Test the ranks of a method, all dimensions at once.

    Raises:
        PairError: fewer than `LEAST_SIMULATIONS` simulations are left.
    """
    if len(ranks) < LEAST_SIMULATIONS:
        raise PairError(f"only {len(ranks)} simulations of {name} gave draws that are finite: {'; '.join(notes)}")
    tests = [rank_test(column, draws) for column in ranks.numpy().T]
    adjusted = np.asarray(holm([p for test in tests for p in test.p_values])).reshape(len(tests), -1)
    verdicts = [test.verdict((row <= significance).tolist()) for test, row in zip(tests, adjusted, strict=True)]
    return Ranks(name, ranks, draws, tests, [tuple(row.tolist()) for row in adjusted], verdicts, tuple(notes))
