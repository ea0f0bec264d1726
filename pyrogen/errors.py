"""The named errors of pyrogen: each says what was seen and what to do about it."""

from __future__ import annotations

__all__ = [
    "CheckpointError",
    "ConfigurationError",
    "DataError",
    "GraphMismatch",
    "NonFiniteLoss",
    "NotPerDatum",
    "NotTraceable",
    "PairError",
    "ProcessError",
    "PyrogenError",
    "require_at_least",
]


def joined(seen: str, remedy: str | None) -> str:
    """One message of what was seen and what to do about it."""
    if not remedy:
        return seen
    return f"{seen}{'.' if remedy[0].isupper() else ':'} {remedy}"


class PyrogenError(Exception):
    """The root of all errors that pyrogen raises on purpose."""


class ConfigurationError(PyrogenError, ValueError):
    """An argument, a name or a configuration file that cannot be used."""


class DataError(PyrogenError, ValueError):
    """A file or an array that cannot serve as data; says file, index and remedy."""


class PairError(PyrogenError, ValueError):
    """A model and a guide that do not fit each other, or the batch; names the site.

    Args:
        seen: what was seen; the whole message where there is no `remedy`.
        remedy: what to do; the message joins the two by a colon, or by a full stop before a capital letter.
        code: the code of the pair's fault (`pyrogen.programs.faults`, `pyrogen.checks`), such as ``"PG101"``.
        site: name of the sample site.
        shape: shape of what was seen.
        line: place in the user's own code, such as ``"my_file.py:12"``.

    Example:
        >>> error = PairError("site 'z' has no plate", remedy="enter one", code="PG107", site="z")
        >>> str(error), error.code
        ("site 'z' has no plate: enter one", 'PG107')
    """

    def __init__(
        self,
        seen: str = "",
        *,
        remedy: str | None = None,
        code: str | None = None,
        site: str | None = None,
        shape: tuple[int, ...] | None = None,
        line: str | None = None,
    ) -> None:
        super().__init__(joined(seen, remedy))
        self.seen, self.remedy, self.code = seen, remedy, code
        self.site, self.shape, self.line = site, shape, line


class NotPerDatum(PairError):
    """A pair whose log weight cannot be split by datum; names the site that prevents it."""


class NotTraceable(PairError):
    """A pair whose run cannot be recorded as a graph of tensor operations; names the operation and its line."""


class GraphMismatch(PairError):
    """A recorded graph that no longer computes what the pair computes; names the site or the gradient that differs."""


class ProcessError(PyrogenError, RuntimeError):
    """One of several processes of a run has failed or fallen out of step; says which, as far as it is known."""


class CheckpointError(PyrogenError, RuntimeError):
    """A checkpoint that is missing, damaged or belongs to another run."""


class NonFiniteLoss(PyrogenError, ArithmeticError):
    """Training met a loss that is not finite.

    Attributes:
        step: the step, counted from 0, whose loss was not finite.
        sites: names of the sites whose log probability was not finite at that step.
        checkpoint: path of the last good checkpoint, or ``None`` if no directory was given.
        phase: the phase of the objective; ``"loss"`` where there is one.
    """

    def __init__(self, message: str, step: int, sites: list[str], checkpoint: str | None, phase: str = "loss") -> None:
        super().__init__(message)
        self.step, self.phase = step, phase
        self.sites = sites
        self.checkpoint = checkpoint


def require_at_least(least: int, **arguments: int) -> None:
    """Refuse arguments that are too small.

    Raises:
        ConfigurationError: names the first.

    Example:
        >>> require_at_least(2, chains=4, draws=1)
        Traceback (most recent call last):
        ...
        pyrogen.errors.ConfigurationError: draws must be at least 2, not 1
    """
    for name, value in arguments.items():
        if value < least:
            raise ConfigurationError(f"{name} must be at least {least}, not {value}")
