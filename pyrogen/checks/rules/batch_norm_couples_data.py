"""PG504: batch normalization couples the data of a batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torch.nn.modules.batchnorm import _BatchNorm

from ..draws import watch
from ..examples import RIGHT, changed
from ..finding import Finding
from ..rule import Rule

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["BatchNormCouplesData"]


class BatchNormCouplesData(Rule):
    """A datum is normalized by statistics of the batch that it happens to be in."""

    code = "PG504"
    title = "batch normalization couples the data of a batch"
    group = "randomness"
    severity = "warning"
    why = (
        "The log weight of a datum then depends on the other data, so that no bound is one of each datum. In training "
        "mode alone it adds noise to the gradients; in evaluation it makes every estimate wrong."
    )
    remedy = (
        "Use nn.LayerNorm or nn.GroupNorm, or in evaluation running statistics (track_running_stats=True, "
        "training=self.training)"
    )
    bad = changed(
        RIGHT,
        ("encoder(x)", "norm(encoder(x))"),
        ("encoder, decoder =", "norm = nn.BatchNorm1d(2, track_running_stats=False)\nencoder, decoder ="),
    )
    mended = changed(
        RIGHT, ("encoder(x)", "norm(encoder(x))"), ("encoder, decoder =", "norm = nn.LayerNorm(2)\nencoder, decoder =")
    )

    def look(self, subject: Subject) -> Iterator[Finding]:
        """See `Rule.look`."""
        seen = False
        for draw in watch(subject).draws:
            if draw.kind == "batch norm":
                seen = True
                yield self.found("statistics of the batch are used though the pair is in evaluation mode", line=draw.line)
        names = [name for name, module in subject.pair.named_modules() if isinstance(module, _BatchNorm)]
        if names and not seen:
            yield self.found(
                f"'{names[0]}' normalizes by the batch's statistics in training mode, and by running ones in evaluation",
                severity="note",
            )
