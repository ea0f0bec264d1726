"""A run of a pair on other tensors in place of its parameters and buffers, so that it is neither copied nor changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from pyrogen.batch import Batch
from pyrogen.programs.run import Sites

from .subject import Subject

__all__ = ["log_weight_of", "state_of"]

Value = TypeVar("Value")


def state_of(pair: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, by name."""
    return {**dict(pair.named_parameters()), **dict(pair.named_buffers())}


def log_weight_of(subject: Subject, state: Mapping[str, Tensor], batch: Batch, *, gradients: bool) -> Tensor:
    """Run the pair once in training mode and return the log weight of all data together, in nats: a scalar.

    Args:
        subject: the pair.
        state: tensors in place of those of `state_of`.
        batch: a batch on their device.
        gradients: whether to record gradients.
    """

    def run() -> Tensor:
        with subject.running(training=True, gradients=gradients):
            return _log_weight(*subject.run(batch=batch))

    return _call_with(subject.pair, state, run)


def _call_with(pair: nn.Module, state: Mapping[str, Tensor], function: Callable[[], Value]) -> Value:
    """Call a function while the pair holds other tensors, by `torch.func.functional_call`."""
    named = {f"pair.{name}": value for name, value in state.items()}
    result: Value = torch.func.functional_call(_Caller(pair, function), named, ())
    return result


class _Caller(nn.Module):
    """A function that runs a pair, as a module with the pair as its part."""

    def __init__(self, pair: nn.Module, function: Callable[[], object]) -> None:
        super().__init__()
        self.pair, self._function = pair, function

    def forward(self) -> object:
        return self._function()


def _log_weight(guide: Sites, model: Sites) -> Tensor:
    """The log weight as estimators and objectives compute it: the sites of each datum are added first."""
    local: Tensor | float = 0.0
    shared: Tensor | float = 0.0
    for sign, sites in ((1.0, model), (-1.0, guide)):
        for site in sites.visited.values():
            value = sign * site.log_prob()  # (plates...)
            if site.dim is None:
                shared = shared + value.sum()
            else:
                rest = [dim for dim in range(-value.dim(), 0) if dim != site.dim]
                local = local + (value.sum(rest) if rest else value)  # (data,)
    total = shared + (local.sum() if isinstance(local, Tensor) else local)
    return torch.as_tensor(total)
