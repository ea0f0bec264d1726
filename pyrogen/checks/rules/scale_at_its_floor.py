"""PG704: the guide's scale lies at its floor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..examples import changed
from ..finding import Finding
from ..fitted import FITTED, units
from ..rule import Rule

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["ScaleAtItsFloor"]

_FLOOR = 1e-3


class ScaleAtItsFloor(Rule):
    """A guide that is next to certain of an element of its latent."""

    code = "PG704"
    title = "the guide's scale lies at its floor"
    group = "quality"
    severity = "warning"
    why = (
        "A scale that has shrunk to its floor makes of the guide a point: entropy and bound are those of the floor, "
        "not of the data, and gradients vanish there."
    )
    remedy = (
        "Look for a likelihood that is too sharp (a scale that shrinks to 0), leaks of the datum into the latent, or "
        "a floor that is reached by a wrong sign"
    )
    trained = True
    bad = changed(FITTED, ("x / 2, 0.7", "x / 2, 1e-4"))
    mended = FITTED

    def look(self, subject: Subject) -> Iterator[Finding]:
        """See `Rule.look`."""
        for unit in units(subject):
            low = (unit.scale < _FLOOR).double().mean(0)  # (latent,)
            count = int((low > 0.5).sum())
            if count and unit.continuous:
                least = float(unit.scale.min())
                seen = f"{count} of {len(low)} elements have a scale below {_FLOOR} of the prior's, down to {least:.2g}"
                yield self.found(seen, site=unit.site)
