"""PG506: a program seeds the generator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from ..draws import line_of_change, watch
from ..examples import RIGHT, changed
from ..finding import Finding
from ..rule import Rule

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["SeedsTheGenerator"]


class SeedsTheGenerator(Rule):
    """torch.manual_seed, or the like, inside a model or a guide."""

    code = "PG506"
    title = "a program seeds the generator"
    group = "randomness"
    severity = "error"
    why = "Every run then draws the same numbers: gradients see one noise only, and a thousand particles are one."
    remedy = "Seed once, outside of model and guide"
    bad = changed(RIGHT, ("def guide(x):", "def guide(x):\n    torch.manual_seed(0)"))
    mended = RIGHT

    def look(self, subject: Subject) -> Iterator[Finding]:
        """See `Rule.look`."""
        if watch(subject).reseeds:
            line = line_of_change(subject, lambda: torch.default_generator.initial_seed())
            yield self.found(
                "torch's generator is in one and the same state after a run, whatever its seed before", line=line
            )
