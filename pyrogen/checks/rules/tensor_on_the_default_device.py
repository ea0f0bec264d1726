"""PG601: a tensor that a program makes on the default device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..examples import RIGHT, changed
from ..fake_runs import on_fake_cuda, on_meta
from ..finding import Finding
from ..foreign import name_of
from ..played_device import Meeting
from ..rehearsal import can_be_swapped, rehearse
from ..rule import Rule

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["TensorOnTheDefaultDevice"]


class TensorOnTheDefaultDevice(Rule):
    """A tensor made without a device meets tensors of the pair or the batch."""

    code = "PG601"
    title = "a tensor is made on the default device"
    group = "devices"
    severity = "error"
    why = (
        "Once pair and batch are on a GPU, the tensor is still made on the CPU, and the first operation that takes both "
        "raises. A number in a distribution's place, as in Normal(0.0, 1.0), becomes such a tensor when a plate expands it."
    )
    remedy = (
        "Make the tensor from what the program is given: x.new_zeros(...), torch.arange(..., device=x.device), or a buffer"
    )
    bad = changed(RIGHT, ("x.new_zeros(2)", "torch.zeros(2)"))
    mended = RIGHT

    def look(self, subject: Subject) -> Iterator[Finding]:
        """See `Rule.look`."""
        known = rehearse(subject).meetings
        for meeting in known:
            if meeting.origin.tensor is not None and name_of(meeting.origin.tensor, subject) is not None:
                continue  # told by PG602
            origin = meeting.origin.line or meeting.origin.used
            yield self.found(
                f"a tensor made on the CPU meets tensors of a GPU in {_name(meeting)}, with shape {meeting.shape}"
                + (f" at {meeting.line}" if meeting.line and meeting.line != origin else ""),
                shape=meeting.shape,
                line=origin or meeting.line,
            )
        if known:
            return
        for where, verdict in (
            ("with fake tensors on cuda:0", on_fake_cuda(subject)),
            ("on the meta device", on_meta(subject)),
        ):
            if verdict.mixed and can_be_swapped(subject):
                yield self.found(f"run {where}, the pair raises {verdict.error}", line=verdict.line)
                return


def _name(meeting: Meeting) -> str:
    operation = meeting.operation.strip("_")
    return "the gradient" if operation in ("grad", "backward") else operation
