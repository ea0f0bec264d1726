"""PG405: the gradient of a parameter is zero throughout."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..differentiated import without_slope
from ..examples import RIGHT, changed
from ..finding import Finding
from ..rule import Rule

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["GradientIsZero"]


class GradientIsZero(Rule):
    """The log weight changes with a parameter, and its gradient is zero, even where all are moved at random."""

    code = "PG405"
    title = "the gradient of a parameter is zero throughout"
    group = "numbers"
    severity = "warning"
    why = (
        "Rounding, a sign, a comparison, or a clamp beyond its bounds has the derivative zero: nothing behind it is trained."
    )
    remedy = "Let the value reach the loss by a function with a slope, such as a straight-through estimate or a softer bound"
    bad = changed(RIGHT, ("decoder(z)", "decoder(z).round()"))
    mended = RIGHT

    def look(self, subject: Subject) -> Iterator[Finding]:
        """See `Rule.look`."""
        for name in without_slope(subject):
            yield self.found(f"the gradient of '{name}' is zero in all its elements, though the log weight changes with it")
