"""PG502: a program draws from Python's or NumPy's generator."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..draws import line_of_change, numpy_state, watch
from ..examples import RIGHT, changed
from ..finding import Finding
from ..rule import Rule

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["DrawByPython"]


class DrawByPython(Rule):
    """A run moves the state of Python's random or of numpy.random."""

    code = "PG502"
    title = "a program draws from Python's or NumPy's generator"
    group = "randomness"
    severity = "warning"
    why = (
        "Such numbers follow neither torch.manual_seed nor a checkpoint, are frozen in a compiled step, and belong to "
        "no site."
    )
    remedy = "Draw by pyro.sample, or from torch's generator"
    bad = changed(
        RIGHT, ("encoder(x)", "encoder(x) * random.uniform(0.9, 1.1)"), ("def model", "import random\n\ndef model")
    )
    mended = RIGHT

    def look(self, subject: Subject) -> Iterator[Finding]:
        """See `Rule.look`."""
        for name in watch(subject).foreign:
            state = random.getstate if name.startswith("Python") else numpy_state
            yield self.found(f"a run of the pair draws from {name}", line=line_of_change(subject, state))
