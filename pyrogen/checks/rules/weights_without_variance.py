"""PG701: the importance weights have a heavy tail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..examples import changed
from ..finding import Finding
from ..fitted import FITTED, khats
from ..rule import Rule

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["WeightsWithoutVariance"]

_LIMIT = 0.7


class WeightsWithoutVariance(Rule):
    """Pareto k-hat above 0.7 for many data."""

    code = "PG701"
    title = "the importance weights have a heavy tail"
    group = "quality"
    severity = "warning"
    why = (
        "The guide misses where the posterior has mass: importance sampling from it fails, IWAE is dominated by "
        "single draws, and the ELBO may lie far below the evidence."
    )
    remedy = "Train longer, give the guide a richer family or a larger scale, or train with IWAE; report PSIS with its k-hat"
    trained = True
    bad = changed(FITTED, ("x / 2, 0.7", "x / 2, 0.1"))
    mended = FITTED

    def look(self, subject: Subject) -> Iterator[Finding]:
        """See `Rule.look`."""
        khat = khats(subject)
        if khat is None:
            return
        high = int((khat > _LIMIT).sum())
        if high:
            yield self.found(
                f"k-hat is above 0.7 for {high} of {len(khat)} data, {float(khat.median()):.2f} in the median",
                severity="warning" if 2 * high > len(khat) else "note",
            )
