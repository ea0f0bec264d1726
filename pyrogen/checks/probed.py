"""Rules whose fault the probe of a pair sees: `Pair.structure` refuses it, or keeps it as an objection, under their code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .finding import Finding
from .rule import Rule

if TYPE_CHECKING:
    from .subject import Subject

__all__ = ["Probed"]


class Probed(Rule):
    """A fault that `Pair.structure` sees; whoever runs the rules turns its words into findings of the rule."""

    cheap = True
    always = True

    def look(self, subject: Subject) -> Iterator[Finding]:
        """Nothing beyond what the probe says."""
        return iter(())
