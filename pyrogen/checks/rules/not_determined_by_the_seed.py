"""PG505: a run is not determined by the seed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..draws import watch
from ..examples import RIGHT, changed
from ..finding import Finding
from ..rule import Rule

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["NotDeterminedByTheSeed"]


class NotDeterminedByTheSeed(Rule):
    """A generator of its own, or two runs that differ though all generators were seeded alike."""

    code = "PG505"
    title = "a run is not determined by the seed"
    group = "randomness"
    severity = "warning"
    why = (
        "Neither torch.manual_seed nor a checkpoint reaches a generator that the program keeps for itself: runs "
        "cannot be repeated, and estimators cannot hold random numbers fixed. A counter or a clock in a program has "
        "the same effect."
    )
    remedy = "Draw from torch's own generator, by pyro.sample; put what changes with time into a buffer or into the batch"
    bad = changed(
        RIGHT,
        ("encoder(x)", "encoder(x) + rng.normal()"),
        ("def model", "import numpy\n\nrng = numpy.random.default_rng(0)\n\ndef model"),
    )
    mended = RIGHT

    def look(self, subject: Subject) -> Iterator[Finding]:
        """See `Rule.look`."""
        seen = watch(subject)
        own = [draw for draw in seen.draws if draw.kind == "generator"]
        for draw in own:
            yield self.found(f"{draw.operation}() draws from a generator of its own", line=draw.line)
        if seen.differs is not None and not own:
            yield self.found(
                "two runs with all generators seeded alike give different numbers",
                site=seen.differs,
                line=subject.line_of(seen.differs, guide=True),
            )
