"""PG402: a gradient is not finite at the start."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..differentiated import at_first
from ..examples import RIGHT, changed
from ..finding import Finding
from ..rule import Rule

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["GradientNotFinite"]


class GradientNotFinite(Rule):
    """The log weight is finite, and its gradient is not."""

    code = "PG402"
    title = "a gradient is not finite at the start"
    group = "numbers"
    severity = "error"
    why = (
        "One step makes the parameters NaN. torch.where does not stop a gradient of the branch that is not taken: the "
        "square root of a negative number there gives NaN times 0, which is NaN."
    )
    remedy = "Give the function an argument at which it is smooth, before it is called: torch.where(z > 0, z, 1.0).sqrt()"
    bad = changed(RIGHT, ("decoder(z)", "decoder(torch.where(z > 0, z.sqrt(), 0.0))"))
    mended = changed(RIGHT, ("decoder(z)", "decoder(torch.where(z > 0, torch.where(z > 0, z, 1.0).sqrt(), 0.0))"))

    def look(self, subject: Subject) -> Iterator[Finding]:
        """See `Rule.look`."""
        run = at_first(subject)
        names = run.gradients_not_finite()
        if names and run.not_finite() is None:
            yield self.found(f"the gradient is not finite for {_listed(names)}")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(f"'{name}'" for name in names[:3]) + more
