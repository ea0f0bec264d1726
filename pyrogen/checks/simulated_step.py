"""A training step on a simulated GPU: a pair's run, its gradient and one step of the optimizer, without a GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

from pyrogen.batch import Batch, arguments, index, map_tensors

from .log_weight import log_weight_of, state_of
from .subject import Subject, memoize
from .watchers.device_record import DeviceMix, HostRead, SimulatedCuda
from .watchers.simulated_cuda import simulate

__all__ = ["SimulatedStep", "adam_step", "few_rows", "simulate_step", "uses_given_state", "without_validation"]

_ROWS = 8


@dataclass(frozen=True)
class SimulatedStep:
    """What a simulated step shows, in the order of its run."""

    mixes: tuple[DeviceMix, ...]
    """Tensors on the wrong device, each origin once."""
    reads: tuple[HostRead, ...]
    """What the host waits for in the programs."""
    first_difference: tuple[str, str | None] | None
    """The first operation that differs in another run, with other data and random numbers, and its line."""


@memoize
def simulate_step(subject: Subject) -> SimulatedStep:
    """Run guide, model, gradient and one step of Adam; and guide and model again with other data and random numbers.

    It takes a few rows, where the pair runs on them. A pair that is on another device runs on copies of its tensors.
    """
    first, second = (map_tensors(few_rows(subject, place), _on_cpu) for place in (0, 1))
    state = {name: _on_cpu(tensor) for name, tensor in state_of(subject.pair).items()}
    for name, parameter in subject.pair.named_parameters():
        state[name].requires_grad_(parameter.requires_grad)  # of a copy
    trained = [state[name] for name, parameter in subject.pair.named_parameters() if parameter.requires_grad]
    device = SimulatedCuda()
    device.place([*state.values(), *_tensors(first)])
    with without_validation(), simulate(device):
        log_weight = log_weight_of(subject, state, first, gradients=True)
        operations, reads, found = list(device.operations), list(device.reads), list(device.mixes)
        if log_weight.requires_grad and trained:
            adam_step(trained, log_weight)
    again = SimulatedCuda(expected=operations)
    again.place([*state.values(), *_tensors(second)])
    with without_validation(), simulate(again):
        log_weight_of(subject, state, second, gradients=True)
    difference = again.first_difference
    if difference is None and len(again.operations) < len(operations):
        difference = str(operations[len(again.operations)][0]), None
    mixes: dict[Any, DeviceMix] = {}
    for mix in (*found, *again.mixes) or device.mixes:  # the gradient repeats what was wrong before
        key = mix.origin.line if mix.origin.tensor is None else id(mix.origin.tensor.untyped_storage())
        mixes.setdefault(key or mix.line, mix)
    return SimulatedStep(tuple(mixes.values()), tuple(reads), difference)


@memoize
def uses_given_state(subject: Subject) -> bool:
    """Tell whether a run uses the tensors that replace the pair's own, and none of the pair's own.

    It does use some of these where ``pyro.module`` names a network that the pair does not own. Such a network moves with the
    pair, which has its parameters, but a functional call does not replace them.
    """
    own = state_of(subject.pair)
    state = {name: tensor.detach().cpu().clone() for name, tensor in own.items()}
    batch = map_tensors(few_rows(subject), _on_cpu)
    device = SimulatedCuda()
    device.place([*state.values(), *_tensors(batch)])
    with without_validation(), simulate(device):
        log_weight_of(subject, state, batch, gradients=False)
    storages = {tensor.untyped_storage()._cdata for tensor in own.values()}
    strange = [mix.origin.tensor for mix in device.mixes]
    return not any(tensor is not None and tensor.untyped_storage()._cdata in storages for tensor in strange)


def few_rows(subject: Subject, place: int = 0) -> Batch:
    """Take some rows of the batch, others for another place if there are; all rows if the pair does not run on a part."""
    if not subject.structure.amortized:
        return subject.batch
    start = place * _ROWS if subject.rows >= (place + 1) * _ROWS else 0
    return index(subject.batch, slice(start, start + _ROWS))


@contextmanager
def without_validation() -> Iterator[None]:
    """Keep distributions from validating their arguments, for which the host would have to wait."""
    before = torch.distributions.Distribution._validate_args
    torch.distributions.Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        torch.distributions.Distribution.set_default_validate_args(before)


def adam_step(parameters: Sequence[Tensor], log_weight: Tensor) -> None:
    """Differentiate, and take a step of Adam on copies of the parameters.

    It calls the function below `torch.optim.Adam`, which would load torch's compiler.
    """
    gradients = torch.autograd.grad(-log_weight, parameters, allow_unused=True)
    given = [(p.detach().clone(), g) for p, g in zip(parameters, gradients, strict=True) if g is not None]
    if not given:
        return
    copies, slopes = [copy for copy, _ in given], [gradient for _, gradient in given]
    first, second = ([torch.zeros_like(copy) for copy in copies] for _ in range(2))
    steps = [torch.tensor(0.0) for _ in copies]
    settings: dict[str, Any] = {"beta1": 0.9, "beta2": 0.999, "lr": 1e-3, "eps": 1e-8, "weight_decay": 0.0}
    with torch.no_grad():
        adam(copies, slopes, first, second, [], steps, foreach=True, amsgrad=False, maximize=False, **settings)


def _on_cpu(tensor: Tensor) -> Tensor:
    return tensor if tensor.device.type == "cpu" else tensor.detach().cpu()


def _tensors(batch: Batch) -> list[Tensor]:
    args, kwargs = arguments(batch)
    return [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
