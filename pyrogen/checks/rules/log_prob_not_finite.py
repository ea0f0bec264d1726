"""PG401: a log density is not finite at the start."""

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

__all__ = ["LogProbNotFinite"]


class LogProbNotFinite(Rule):
    """A site gives an infinite or undefined log density before any training."""

    code = "PG401"
    title = "a log density is not finite at the start"
    group = "numbers"
    severity = "error"
    why = "The loss is infinite or NaN at the first step, and every parameter is NaN after it."
    remedy = "Keep scales away from zero and probabilities away from 0 and 1: pass logits, add a floor to scales"
    bad = changed(RIGHT, ("decoder(z), 1.0", "decoder(z), 1e-30"))
    mended = RIGHT

    def look(self, subject: Subject) -> Iterator[Finding]:
        """See `Rule.look`."""
        seen = at_first(subject).not_finite()
        if seen is not None:
            role, site, log_prob = seen
            values = log_prob[~torch.isfinite(log_prob)]
            yield self.found(
                f"the log density in the {role} is {values[0].item()} for {len(values)} of {log_prob.numel()} values",
                site=site.name,
                shape=tuple(log_prob.shape),
                line=subject.line_of(site.name, guide=role == "guide"),
            )
