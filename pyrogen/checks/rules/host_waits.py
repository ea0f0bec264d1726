"""PG604: the host waits for a value of the device."""

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

__all__ = ["HostWaits"]


class HostWaits(Rule):
    """``.item()``, ``float(tensor)``, ``if tensor:``, ``.cpu()`` and the like inside a program."""

    code = "PG604"
    title = "the host waits for a value of the device"
    group = "devices"
    severity = "warning"
    why = (
        "Kernels are queued ahead of the GPU. Reading a value empties that queue in every step, and the GPU then "
        "idles while Python catches up; neither CUDA graphs nor compilation can get past it."
    )
    remedy = (
        "Keep the value a tensor: torch.where in place of `if`, tensor arithmetic in place of float(); log after the step"
    )
    bad = changed(RIGHT, ("encoder(x)", "encoder(x / (1.0 + x.abs().max().item()))"))
    mended = changed(RIGHT, ("encoder(x)", "encoder(x / (1.0 + x.abs().amax(-1, keepdim=True)))"))

    def look(self, subject: Subject) -> Iterator[Finding]:
        """See `Rule.look`."""
        for line, call, times in by_line(read for read in rehearse(subject).reads if not (read.dies or read.shapes)):
            yield self.found(f"{call} waits for the device{times}", line=line)
