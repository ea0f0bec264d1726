"""PG606: runs differ in their operations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..examples import RIGHT, changed
from ..finding import Finding
from ..rehearsal import rehearse
from ..rule import Rule

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["RunChanges"]


class RunChanges(Rule):
    """Another batch of the same shape, or other random numbers, lead to other operations."""

    code = "PG606"
    title = "runs differ in their operations"
    group = "devices"
    severity = "note"
    why = (
        "A recorded graph, be it of CUDA, of torch.compile or of pyrogen's compile=True, repeats the operations of "
        "one run. What Python decides anew from values, counters or random numbers is frozen in it."
    )
    remedy = "Decide by tensors (torch.where), or train without compile and CUDA graphs"
    bad = changed(
        RIGHT,
        ("encoder(x)", "encoder(x.tanh() if x[0, 0] > 0 else x.sin())"),
        ("torch.randn(8, 3)", "torch.linspace(1.0, -1.0, 48).reshape(16, 3)"),
    )
    mended = changed(bad, ("x.tanh() if x[0, 0] > 0 else x.sin()", "torch.where(x > 0, x.tanh(), x.sin())"))

    def look(self, subject: Subject) -> Iterator[Finding]:
        """See `Rule.look`."""
        departure = rehearse(subject).departure
        if departure is not None:
            operation, line = departure
            yield self.found(f"two runs on batches of one shape go apart at operation {operation}", line=line)
