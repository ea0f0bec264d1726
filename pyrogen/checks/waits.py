"""What the host waits for, told once for each line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .played_device import Read

__all__ = ["by_line"]


def by_line(reads: Iterable[Read]) -> Iterator[tuple[str, str, str]]:
    """Line, call and a phrase such as ``", 3 times a run"`` of each kind of wait that a line of the user's code causes."""
    counts = Counter((read.line, read.call) for read in reads)
    for (line, call), count in counts.items():
        if line is not None:
            yield line, call, f", {count} times a run" if count > 1 else ""
