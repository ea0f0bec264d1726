"""PG406: numbers become float64 on the way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from ..differentiated import at_first
from ..examples import RIGHT, changed
from ..finding import Finding
from ..rule import Rule

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["PromotedToDouble"]


class PromotedToDouble(Rule):
    """Parameters and data are float32, and a site's value or log density is float64."""

    code = "PG406"
    title = "numbers become float64 on the way"
    group = "numbers"
    severity = "warning"
    why = (
        "Everything that meets it is computed in float64 from there on, at half the speed on a CPU and a small "
        "fraction of it on a GPU; some devices lack it."
    )
    remedy = "Make constants in the dtype of what they meet (x.new_tensor, .to(x.dtype)); NumPy's floats are float64"
    bad = changed(RIGHT, ("x.new_zeros(2)", "x.new_zeros(2, dtype=torch.float64)"))
    mended = RIGHT

    def look(self, subject: Subject) -> Iterator[Finding]:
        """See `Rule.look`."""
        run = at_first(subject)
        given = [*subject.pair.parameters(), *subject.args, *subject.kwargs.values()]
        if any(isinstance(value, torch.Tensor) and value.dtype == torch.float64 for value in given):
            return
        for role, site in run.sites():
            what = next(
                (w for w, t in (("value", site.value), ("log density", site.log_prob())) if t.dtype == torch.float64), None
            )
            if what is not None:
                line = subject.line_of(site.name, guide=role == "guide")
                yield self.found(
                    f"the {what} in the {role} is float64, from float32 parameters and data", site=site.name, line=line
                )
