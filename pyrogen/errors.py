"""The named errors of pyrogen: each says what was seen and what to do about it."""

from __future__ import annotations

__all__ = [
    "CheckpointError",
    "ConfigurationError",
    "DataError",
    "NonFiniteLoss",
    "NotPerDatum",
    "PairError",
    "PyrogenError",
]


class PyrogenError(Exception):
    """The root of all errors that pyrogen raises on purpose."""


class ConfigurationError(PyrogenError, ValueError):
    """An argument, a name or a configuration file that cannot be used."""


class DataError(PyrogenError, ValueError):
    """A file or an array that cannot serve as data; says file, index and remedy."""


class PairError(PyrogenError, ValueError):
    """A model and a guide that do not fit each other, or the batch; names the site."""


class NotPerDatum(PairError):
    """A pair whose log weight cannot be split by datum; names the site that prevents it."""


class CheckpointError(PyrogenError, RuntimeError):
    """A checkpoint that is missing, damaged or belongs to another run."""


class NonFiniteLoss(PyrogenError, ArithmeticError):
    """Training met a loss that is not finite.

    Attributes:
        step: the step, counted from 0, whose loss was not finite.
        sites: names of the sites whose log probability was not finite at that step.
        checkpoint: path of the last good checkpoint, or ``None`` if no directory was given.
    """

    def __init__(self, message: str, step: int, sites: list[str], checkpoint: str | None) -> None:
        super().__init__(message)
        self.step = step
        self.sites = sites
        self.checkpoint = checkpoint
