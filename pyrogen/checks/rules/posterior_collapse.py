"""PG703: the posterior has collapsed to the prior."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..examples import changed
from ..finding import Finding
from ..fitted import ACTIVE, FITTED, units
from ..rule import Rule

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["PosteriorCollapse"]


class PosteriorCollapse(Rule):
    """No element of a latent tells one datum from another."""

    code = "PG703"
    title = "the posterior has collapsed to the prior"
    group = "quality"
    severity = "warning"
    why = "The model explains the data without the latent, and the guide gives the prior back: the representation is empty."
    remedy = "A warm-up of the KL term (fit(beta=...)), free bits, a weaker decoder, or a better initialisation"
    trained = True
    bad = changed(FITTED, ("x / 2, 0.7", "0.0 * x, 1.0"))
    mended = FITTED

    def look(self, subject: Subject) -> Iterator[Finding]:
        """See `Rule.look`."""
        for unit in units(subject):
            if bool((unit.activity < ACTIVE).all()):
                seen = f"none of the {len(unit.activity)} elements has a mean that differs from datum to datum"
                yield self.found(seen, site=unit.site)
