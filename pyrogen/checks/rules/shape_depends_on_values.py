"""PG605: the shape of a tensor depends on values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..examples import RIGHT, changed
from ..finding import Finding
from ..rehearsal import rehearse
from ..rule import Rule
from ..waits import by_line

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["ShapeDependsOnValues"]


class ShapeDependsOnValues(Rule):
    """Boolean-mask indexing, ``nonzero``, ``unique`` and the like inside a program."""

    code = "PG605"
    title = "the shape of a tensor depends on values"
    group = "devices"
    severity = "warning"
    why = (
        "The host must wait for the values to know the size of the result, in every step, and a CUDA graph or a "
        "compiled step, whose shapes are fixed, cannot contain it."
    )
    remedy = "Keep the shape: torch.where(mask, value, 0.0), sums weighted by the mask, or poutine.mask around the site"
    bad = changed(RIGHT, ("decoder(z)", "decoder(z) + z[z > 0].sum()"))
    mended = changed(RIGHT, ("decoder(z)", "decoder(z) + torch.where(z > 0, z, 0.0).sum(-1, keepdim=True)"))

    def look(self, subject: Subject) -> Iterator[Finding]:
        """See `Rule.look`."""
        for line, call, times in by_line(read for read in rehearse(subject).reads if read.shapes):
            yield self.found(f"{call} gives a result whose shape depends on values{times}", line=line)
