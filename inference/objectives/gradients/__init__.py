"""Estimators of a bound's gradient, by name."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pyrogen.errors import ConfigurationError

from .estimator import BoundTask, GradientEstimator, Surrogate
from .pathwise import DoublyReparameterized, Pathwise, StickingTheLanding
from .score_function import Baseline, LeaveOneOut, NoBaseline, RunningAverage, ScoreFunction

__all__ = [
    "GRADIENTS",
    "Baseline",
    "BoundTask",
    "DoublyReparameterized",
    "Gradient",
    "GradientEstimator",
    "LeaveOneOut",
    "NoBaseline",
    "Pathwise",
    "RunningAverage",
    "ScoreFunction",
    "StickingTheLanding",
    "Surrogate",
    "gradient_named",
]

GRADIENTS: dict[str, type[GradientEstimator]] = {
    kind.name: kind for kind in (Pathwise, StickingTheLanding, DoublyReparameterized, ScoreFunction)
}
"""Gradient estimators by their short names."""

Gradient: TypeAlias = (
    Literal["pathwise", "sticking-the-landing", "doubly-reparameterized", "score-function"] | GradientEstimator
)
"""A gradient estimator, or the short name of one."""


def gradient_named(gradient: Gradient) -> GradientEstimator:
    """The gradient estimator of a short name, or the one that was given.

    Raises:
        ConfigurationError: the name is unknown.

    Example:
        >>> gradient_named("pathwise")
        pathwise
    """
    if isinstance(gradient, GradientEstimator):
        return gradient
    if gradient not in GRADIENTS:
        raise ConfigurationError(f"unknown gradient estimator {gradient!r}: use {', '.join(map(repr, GRADIENTS))}")
    return GRADIENTS[gradient]()
