"""PG501: random numbers are drawn outside sample statements."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..draws import watch
from ..examples import RIGHT, changed
from ..finding import Finding
from ..rule import Rule

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["DrawOutsideSites"]


class DrawOutsideSites(Rule):
    """A program calls torch.randn, torch.bernoulli, rsample and the like by itself."""

    code = "PG501"
    title = "random numbers are drawn outside sample statements"
    group = "randomness"
    severity = "warning"
    why = (
        "Pyro does not know of the draw: its density is missing from every bound, and no estimator can repeat it or "
        "draw it for several particles."
    )
    remedy = (
        "Draw it by pyro.sample (in the guide with infer={'is_auxiliary': True} if the model lacks it), or draw it "
        "before, as part of the batch"
    )
    bad = changed(RIGHT, ("encoder(x)", "encoder(x) + torch.randn_like(x[:, :2])"))
    mended = RIGHT

    def look(self, subject: Subject) -> Iterator[Finding]:
        """See `Rule.look`."""
        seen = watch(subject)
        for draw in seen.draws:
            if draw.kind != "draw":
                continue
            if seen.harmless:
                yield self.found(
                    f"{draw.operation}() draws random numbers in each run, which no log density depends on",
                    line=draw.line,
                    severity="note",
                    remedy="Draw initial values once: pyro.param('name', lambda: torch.randn(...))",
                )
            else:
                yield self.found(f"{draw.operation}() draws random numbers that belong to no site", line=draw.line)
