"""PG603: a program turns a tensor into a NumPy array."""

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

__all__ = ["NumpyOfADeviceTensor"]


class NumpyOfADeviceTensor(Rule):
    """``x.numpy()``, ``np.asarray(x)`` and the like."""

    code = "PG603"
    title = "a program turns a tensor into a NumPy array"
    group = "devices"
    severity = "error"
    why = (
        "NumPy cannot read the memory of a GPU: torch raises a TypeError there. What NumPy computes has no gradient either."
    )
    remedy = "Compute with torch"
    bad = changed(RIGHT, ("encoder(x)", "encoder(x - x.new_tensor(x.numpy().mean(-1, keepdims=True)))"))
    mended = changed(RIGHT, ("encoder(x)", "encoder(x - x.mean(-1, keepdim=True))"))

    def look(self, subject: Subject) -> Iterator[Finding]:
        """See `Rule.look`."""
        for line, call, times in by_line(read for read in rehearse(subject).reads if read.dies):
            yield self.found(f"{call} on a tensor that would lie on a GPU{times}", line=line)
