"""A rehearsal of training on a GPU: a pair's run, its gradient and one optimizer step on a device that is played."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim.adam import adam

from pyrogen.batch import Batch, arguments, index, map_tensors

from .once import once
from .played_device import Meeting, PlayedDevice, Read
from .swapped import state_of, swapped_run

if TYPE_CHECKING:
    from .subject import Subject

__all__ = ["Rehearsal", "adam_step", "can_be_swapped", "few_rows", "rehearse", "without_validation"]

_ROWS = 8


@dataclass(frozen=True)
class Rehearsal:
    """What a rehearsal showed, in the order in which it was met."""

    meetings: tuple[Meeting, ...]
    """Tensors on the wrong device, each origin once."""
    reads: tuple[Read, ...]
    """What the host waits for in the programs."""
    departure: tuple[str, str | None] | None
    """The first operation that another run with other data and random numbers did not have, and its line."""


@once
def rehearse(subject: Subject) -> Rehearsal:
    """Run guide, model, gradient and one step of Adam, and guide and model again with other data and random numbers.

    A few rows do, where the pair runs on them. A pair that is on another device already runs on copies of its tensors.
    """
    first, second = (map_tensors(few_rows(subject, place), _on_cpu) for place in (0, 1))
    state = {name: _on_cpu(tensor) for name, tensor in state_of(subject.pair).items()}
    for name, parameter in subject.pair.named_parameters():
        state[name].requires_grad_(parameter.requires_grad)  # of a copy
    trained = [state[name] for name, parameter in subject.pair.named_parameters() if parameter.requires_grad]
    device = PlayedDevice()
    device.hold([*state.values(), *_tensors(first)])
    with without_validation(), device.playing():
        log_weight = swapped_run(subject, state, first, gradients=True)
        operations, reads, found = list(device.operations), list(device.reads), list(device.meetings)
        if log_weight.requires_grad and trained:
            adam_step(trained, log_weight)
    again = PlayedDevice(expected=operations)
    again.hold([*state.values(), *_tensors(second)])
    with without_validation(), again.playing():
        swapped_run(subject, state, second, gradients=True)
    departure = again.departure
    if departure is None and len(again.operations) < len(operations):
        departure = str(operations[len(again.operations)][0]), None
    meetings: dict[Any, Meeting] = {}
    for meeting in (*found, *again.meetings) or device.meetings:  # the gradient repeats what was wrong before
        key = meeting.origin.line if meeting.origin.tensor is None else id(meeting.origin.tensor.untyped_storage())
        meetings.setdefault(key or meeting.line, meeting)
    return Rehearsal(tuple(meetings.values()), tuple(reads), departure)


@once
def can_be_swapped(subject: Subject) -> bool:
    """Whether a run sees all tensors that stand in for the pair's own.

    It does not where ``pyro.module`` names a network that the pair does not hold: that one moves with the pair, for the pair
    has its parameters, but goes on using its own ones when others are swapped in.
    """
    own = state_of(subject.pair)
    state = {name: tensor.detach().cpu().clone() for name, tensor in own.items()}
    batch = map_tensors(few_rows(subject), _on_cpu)
    device = PlayedDevice()
    device.hold([*state.values(), *_tensors(batch)])
    with without_validation(), device.playing():
        swapped_run(subject, state, batch, gradients=False)
    places = {tensor.untyped_storage()._cdata for tensor in own.values()}
    strange = [meeting.origin.tensor for meeting in device.meetings]
    return not any(tensor is not None and tensor.untyped_storage()._cdata in places for tensor in strange)


def few_rows(subject: Subject, place: int = 0) -> Batch:
    """Some rows of the batch, if the pair runs on a part of it, or else all; other rows for another place, if there are."""
    if not subject.structure.amortized:
        return subject.batch
    start = place * _ROWS if subject.rows >= (place + 1) * _ROWS else 0
    return index(subject.batch, slice(start, start + _ROWS))


@contextmanager
def without_validation() -> Iterator[None]:
    """Distributions do not look at their arguments, for which the host would have to wait."""
    before = torch.distributions.Distribution._validate_args
    torch.distributions.Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        torch.distributions.Distribution.set_default_validate_args(before)


def adam_step(parameters: Sequence[Tensor], log_weight: Tensor) -> None:
    """The gradient, and a step of Adam on copies of the parameters.

    By the function below `torch.optim.Adam`, which would load torch's compiler.
    """
    gradients = torch.autograd.grad(-log_weight, parameters, allow_unused=True)
    given = [(p.detach().clone(), g) for p, g in zip(parameters, gradients, strict=True) if g is not None]
    if not given:
        return
    copies, slopes = [copy for copy, _ in given], [gradient for _, gradient in given]
    first, second = ([torch.zeros_like(copy) for copy in copies] for _ in range(2))
    steps = [torch.tensor(0.0) for _ in copies]
    with torch.no_grad():
        adam(
            copies,
            slopes,
            first,
            second,
            [],
            steps,
            foreach=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=1e-3,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )


def _on_cpu(tensor: Tensor) -> Tensor:
    return tensor if tensor.device.type == "cpu" else tensor.detach().cpu()


def _tensors(batch: Batch) -> list[Tensor]:
    args, kwargs = arguments(batch)
    return [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
