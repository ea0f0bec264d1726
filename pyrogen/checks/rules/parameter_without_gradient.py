"""PG404: a parameter receives no gradient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..differentiated import at_first, trained_by_baselines
from ..examples import RIGHT, changed
from ..finding import Finding
from ..rule import Rule

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["ParameterWithoutGradient"]


class ParameterWithoutGradient(Rule):
    """The log weight does not depend on a parameter that the optimizer would be given."""

    code = "PG404"
    title = "a parameter receives no gradient"
    group = "numbers"
    severity = "warning"
    why = (
        "The parameter keeps its initial value however long one trains: it is used nowhere, or its way to the loss is "
        "cut by detach(), torch.no_grad(), argmax or NumPy."
    )
    remedy = "Use it, connect it (no detach), freeze it with requires_grad_(False), or remove it"
    bad = changed(RIGHT, ("decoder(z)", "decoder(z).detach()"))
    mended = RIGHT

    def look(self, subject: Subject) -> Iterator[Finding]:
        """See `Rule.look`."""
        gradients = at_first(subject).gradients
        missing = [name for name, gradient in gradients.items() if gradient is None]
        if missing:
            missing = sorted(set(missing) - trained_by_baselines(subject), key=list(gradients).index)
        if missing:
            some = ", ".join(f"'{name}'" for name in missing[:4]) + (", ..." if len(missing) > 4 else "")
            yield self.found(f"{len(missing)} of {len(gradients)} parameters have no gradient: {some}")
