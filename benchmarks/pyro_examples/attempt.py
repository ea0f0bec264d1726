"""What is tried with an example: its model and guide as a pair, with or without a change that is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from pyrogen.batch import Batch
from pyrogen.pair import Pair

__all__ = ["Attempt", "Example", "Refusal"]


@dataclass(frozen=True)
class Refusal:
    """A refusal that is right."""

    words: str
    """A regular expression that its message must match."""
    why: str
    """Why it is right, in a sentence."""


@dataclass(frozen=True)
class Attempt:
    """One way to hand an example to pyrogen."""

    pair: Pair
    batch: Batch
    change: str = ""
    """What was changed, in a few words; empty where the example runs as it stands."""
    variant: str = ""
    """Which of the example's own ways this is, where it has several."""
    code: str = ""
    """The change, as lines of Python."""
    elbo: Any = None
    """Pyro's objective that the example uses, where it is not ``Trace_ELBO()``; `fit` then takes ``PyroLoss(elbo)``."""
    programs: tuple[Callable[..., Any], Callable[..., Any]] | None = None
    """The example's own model and guide, for Pyro's own loss; the pair's programs if not given."""
    batch_size: int = 32
    plate_size: int | None = None
    """Size of the data plate, where it is not the number of data in the batch."""
    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    """By stage (``structure``, ``fit``, ``graph``, ``compare``), the refusals that are right."""
    findings: Mapping[str, str] = field(default_factory=dict)
    """By code, why an error or a warning of ``check`` is right, if it comes."""

    @property
    def title(self) -> str:
        """What the page calls it."""
        return ", ".join(part for part in (self.change or "as it stands", self.variant) if part)


@dataclass(frozen=True)
class Example:
    """An example of Pyro's: where it is and how it is handed over."""

    path: str
    attempts: Callable[[ModuleType], list[Attempt]]
    """From the example's module."""
    stand_ins: tuple[str, ...] = ()
    """Modules that it imports, that are not installed, and that its model and guide do not use."""
    note: str = ""
