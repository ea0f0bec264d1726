"""PG702: latent units are inactive."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..examples import changed
from ..finding import Finding
from ..fitted import ACTIVE, FITTED, units
from ..rule import Rule

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["InactiveUnits"]


class InactiveUnits(Rule):
    """Elements of a latent whose guide has the same mean for all data."""

    code = "PG702"
    title = "latent units are inactive"
    group = "quality"
    severity = "note"
    why = "An inactive element tells nothing of the datum: the model uses fewer dimensions than it has."
    remedy = "Fewer latent dimensions, a warm-up of the KL term (fit(beta=...)) or free bits"
    trained = True
    bad = changed(FITTED, ("x / 2, 0.7", "x / 2 * x.new_tensor([1.0, 0.0]), 0.7"))
    mended = FITTED

    def look(self, subject: Subject) -> Iterator[Finding]:
        """See `Rule.look`."""
        for unit in units(subject):
            idle = int((unit.activity < ACTIVE).sum())
            if 0 < idle < len(unit.activity):
                seen = f"{idle} of {len(unit.activity)} elements have next to the same mean for all data"
                yield self.found(seen, site=unit.site)
