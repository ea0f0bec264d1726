"""How far the posteriors of one method lie from those of another: moments, a classifier, the energy distance.

Axes: draws, data, dims.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyrogen.errors import ConfigurationError

from ..saved_result import plain, restored
from .posterior_draws import PosteriorDraws
from .two_sample import Array, TwoSample, classifier_test, energy_distances, p_value

__all__ = ["Agreement", "agree"]

LEAST_DRAWS = 20
"""Fewer independent draws are not tested."""


@dataclass(frozen=True)
class Agreement:
    """How the posteriors of a method differ from the reference, datum by datum and over all data.

    Attributes:
        name: the method.
        reference: what it is compared with.
        mean_error: (data, dims), difference of the means, in the reference's standard deviations.
        mean_z: (data, dims), the same in Monte Carlo standard errors: standard normal where the posteriors agree.
        scale_error: (data, dims), logarithm of the ratio of standard deviations; below zero where the method's is smaller.
        scale_z: (data, dims), the same in Monte Carlo standard errors.
        draws: (data,), draws of each with which the tests were made; 0 where there were too few independent ones.
        accuracy: (data,), with which a classifier tells the draws from the reference's; `accuracy_error`, `accuracy_p`.
        energy: (data,), energy distance above what chance gives; `energy_p`, its p-value.
        each: the mean of the accuracies over the data tested, and Fisher's p-value of all of them; None where no datum had
            draws enough.
        pooled: one classifier for all data, each standardised: it sees a small difference that all data share.
        energy_all: the energy test of the sum over all data.
    """

    name: str
    reference: str
    mean_error: Tensor
    mean_z: Tensor
    scale_error: Tensor
    scale_z: Tensor
    draws: Tensor
    accuracy: Tensor
    accuracy_error: Tensor
    accuracy_p: Tensor
    energy: Tensor
    energy_p: Tensor
    each: TwoSample | None
    pooled: TwoSample | None
    energy_all: TwoSample | None

    def sentence(self) -> str:
        """What was found, in words."""
        off, narrow = _root_mean_square(self.mean_error), math.exp(float(_finite(self.scale_error).mean()))
        said = (
            f"{self.name} against {self.reference}: means are {off:.2g} posterior standard deviations apart "
            f"({_root_mean_square(self.mean_z):.2g} Monte Carlo errors; 1 where they agree), standard deviations are "
            f"{narrow:.2g} times as large ({_root_mean_square(self.scale_z):.2g} errors)"
        )
        if self.each is None or self.pooled is None or self.energy_all is None:
            return said + "; there are too few independent draws to test"
        return (
            f"{said}; a classifier tells a datum's draws apart with accuracy {self.each.statistic:.3f} ± "
            f"{self.each.error:.3f} (p = {self.each.p_value:.2g}), one for all data has p = {self.pooled.p_value:.2g}, the "
            f"energy distance p = {self.energy_all.p_value:.2g}"
        )

    def record(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {**plain(self), "sentence": self.sentence()}

    @staticmethod
    def of(record: dict[str, Any]) -> Agreement:
        """What `record` was made of."""
        tests = {name: TwoSample(**value) for name, value in record.items() if isinstance(value, dict)}
        return restored(Agreement, record, **tests)


def agree(
    found: PosteriorDraws,
    reference: PosteriorDraws,
    *,
    classifier: Any = None,
    permutations: int = 199,
    seed: int = 0,
) -> Agreement:
    """Compare the draws of one method with those of another.

    Args:
        found: of the method.
        reference: of the reference.
        classifier: see `classifier_test`.
        permutations: of each permutation test.
        seed: seeds folds and permutations.

    Raises:
        ConfigurationError: the draws are not of the same latents and data.
    """
    if found.dimensions() != reference.dimensions() or len(found.effective) != len(reference.effective):
        raise ConfigurationError(f"the draws of {found.name} and {reference.name} are not of the same latents and data")
    ours, theirs = found.matrix(), reference.matrix()
    columns = torch.full((5, ours.shape[1]), math.nan, dtype=torch.float64, device="cpu")
    counts = torch.minimum(found.independent, reference.independent).long()
    counts[(counts < LEAST_DRAWS) | ~(torch.isfinite(ours).all(0) & torch.isfinite(theirs).all(0)).all(1)] = 0
    samples: list[tuple[Array, Array]] = []
    energies = np.zeros(1 + permutations)
    for row in counts.nonzero()[:, 0].tolist():
        count = int(counts[row])
        first, second = (_spread(draws[:, row], count) for draws in (ours, theirs))
        samples.append((first, second))
        seen = classifier_test(first, second, classifier=classifier, permutations=permutations, seed=seed + row)
        distances = energy_distances(first, second, permutations=permutations, seed=seed + row)
        energies += distances  # permuted independently, datum by datum
        energy = float(distances[0] - distances[1:].mean())
        values = [seen.statistic, seen.error, seen.p_value, energy, p_value(distances)]
        columns[:, row] = torch.tensor(values, dtype=torch.float64, device="cpu")
    each = pooled = energy_all = None
    if samples:
        total = int(counts.sum())
        each = _fisher(columns[:3, counts > 0], total)
        groups = np.repeat(np.arange(len(samples)), [len(first) for first, _ in samples])
        both = [np.concatenate(side) for side in zip(*samples, strict=True)]
        pooled = classifier_test(*both, groups=groups, permutations=permutations, seed=seed)
        distance = float(energies[0] - energies[1:].mean()) / len(samples)
        energy_all = TwoSample(distance, math.nan, p_value(energies), total)
    moments = _moments(ours, theirs, found.effective, reference.effective)
    accuracy, accuracy_error, accuracy_p, distance_each, energy_p = columns
    of_each_datum = (*moments, counts.double(), accuracy, accuracy_error, accuracy_p, distance_each, energy_p)
    return Agreement(found.name, reference.name, *of_each_datum, each, pooled, energy_all)


def _moments(ours: Tensor, theirs: Tensor, count: Tensor, other: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Errors of mean and standard deviation, in the reference's units and in Monte Carlo standard errors, (data, dims)."""
    mean, scale, log_error = _moments_of(ours, count)
    mean_there, scale_there, log_error_there = _moments_of(theirs, other)
    mean_error = (scale.square() / count[:, None] + scale_there.square() / other[:, None]).sqrt()
    log_ratio = scale.log() - scale_there.log()
    return (
        _ratio(mean - mean_there, scale_there),
        _ratio(mean - mean_there, mean_error),
        torch.where((scale == 0) & (scale_there == 0), 0.0, log_ratio),
        _ratio(log_ratio, (log_error.square() + log_error_there.square()).sqrt()),
    )


def _moments_of(draws: Tensor, count: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, standard deviation and the standard error of the latter's logarithm, each (data, dims)."""
    mean, scale = draws.mean(0), draws.std(0)
    kurtosis = _ratio((draws - mean).pow(4).mean(0), scale.pow(4)).clamp(min=1.0)
    return mean, scale, ((kurtosis - 1).clamp(min=1e-3) / (4 * count[:, None])).sqrt()


def _ratio(value: Tensor, unit: Tensor) -> Tensor:
    """Their quotient, with 0/0 = 0."""
    return torch.where((value == 0) & (unit == 0), 0.0, value / unit)


def _spread(draws: Tensor, count: int) -> Array:
    """So many draws, spread evenly: (count, dims)."""
    found: Array = draws[torch.linspace(0, len(draws) - 1, count, device="cpu").round().long()].numpy()
    return found


def _fisher(tests: Tensor, draws: int) -> TwoSample:
    """The tests of single data, which are independent, as one: from their accuracies, errors and p-values, (3, data)."""
    from scipy.stats import combine_pvalues

    accuracy, error, p_values = tests
    combined = float(combine_pvalues(p_values.clamp(min=1e-300).numpy()).pvalue)
    return TwoSample(float(accuracy.mean()), float(error.square().sum().sqrt()) / len(accuracy), combined, draws)


def _finite(values: Tensor) -> Tensor:
    known = values[torch.isfinite(values)]
    return known if len(known) else values.new_full((1,), math.nan)


def _root_mean_square(values: Tensor) -> float:
    return float(_finite(values).square().mean().sqrt())
