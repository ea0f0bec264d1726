"""PG403: data at the edge of what is allowed give no finite number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..differentiated import ENLARGED, at_extremes, at_first
from ..examples import RIGHT, changed
from ..finding import Finding
from ..rule import Rule

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["FailsOnExtremeData"]


class FailsOnExtremeData(Rule):
    """Zeros, ones or large data, which the likelihood allows, make a log density or a gradient infinite or NaN."""

    code = "PG403"
    title = "data at the edge of what is allowed give no finite number"
    group = "numbers"
    severity = "warning"
    why = "One such datum in one batch ends the training."
    remedy = "Add a floor to what is divided by or taken a logarithm of, bound what is exponentiated, and scale the data"
    bad = changed(RIGHT, ("encoder(x)", "encoder(x / x.std(-1, keepdim=True))"))
    mended = changed(RIGHT, ("encoder(x)", "encoder(x / (x.var(-1, keepdim=True) + 1e-4).sqrt())"))

    def look(self, subject: Subject) -> Iterator[Finding]:
        """See `Rule.look`."""
        first = at_first(subject)
        if first.not_finite() is not None or first.gradients_not_finite():
            return
        for run in at_extremes(subject):
            severity = "note" if run.batch == ENLARGED else self.severity  # right pairs may need data of their own scale
            lost = run.not_finite()
            if lost is not None:
                role, site, _ = lost
                line = subject.line_of(site.name, guide=role == "guide")
                seen = f"on {run.batch} the log density in the {role} is not finite"
                yield self.found(seen, site=site.name, line=line, severity=severity)
                return
            names = run.gradients_not_finite()
            if names:
                yield self.found(f"on {run.batch} the gradient of '{names[0]}' is not finite", severity=severity)
                return
