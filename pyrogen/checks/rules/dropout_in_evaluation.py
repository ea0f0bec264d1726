"""PG503: dropout is at work in evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..draws import watch
from ..examples import RIGHT, changed
from ..finding import Finding
from ..rule import Rule

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["DropoutInEvaluation"]


class DropoutInEvaluation(Rule):
    """A dropout drops in a pair that is in evaluation mode."""

    code = "PG503"
    title = "dropout is at work in evaluation"
    group = "randomness"
    severity = "warning"
    why = "Every estimate is then one of a pair with random parts missing, different at each call."
    remedy = "Use nn.Dropout as a submodule, or pass training=self.training to the function"
    bad = changed(RIGHT, ("encoder(x)", "nn.functional.dropout(encoder(x), 0.2)"))
    mended = changed(
        RIGHT, ("encoder(x)", "dropout(encoder(x))"), ("encoder, decoder =", "dropout = nn.Dropout(0.2)\nencoder, decoder =")
    )

    def look(self, subject: Subject) -> Iterator[Finding]:
        """See `Rule.look`."""
        for draw in watch(subject).draws:
            if draw.kind == "dropout":
                yield self.found(f"{draw.operation}() drops elements though the pair is in evaluation mode", line=draw.line)
