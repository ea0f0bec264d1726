"""A run of a pair with other tensors in place of its parameters and buffers, so that it is neither copied nor changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pyrogen.batch import Batch
from pyrogen.programs.run import Sites

if TYPE_CHECKING:
    from .subject import Subject

__all__ = ["state_of", "swapped_run"]


def state_of(pair: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, by name."""
    return {**dict(pair.named_parameters()), **dict(pair.named_buffers())}


def swapped_run(subject: Subject, state: Mapping[str, Tensor], batch: Batch, *, gradients: bool) -> Tensor:
    """The log weight of one run in training mode, in nats, of all data together: a scalar.

    Args:
        subject: the pair.
        state: tensors in place of those of `state_of`.
        batch: a batch on their device.
        gradients: whether to record gradients.
    """
    program = _Program(subject, batch, gradients)
    result: Tensor = torch.func.functional_call(program, {f"pair.{name}": value for name, value in state.items()}, ())
    return result


class _Program(nn.Module):
    """A run of a pair as a module, whose state `torch.func.functional_call` swaps."""

    def __init__(self, subject: Subject, batch: Batch, gradients: bool) -> None:
        super().__init__()
        self.pair, self._run = subject.pair, (subject, batch, gradients)

    def forward(self) -> Tensor:
        subject, batch, gradients = self._run
        with subject.running(training=True, gradients=gradients):
            return _log_weight(*subject.run(batch=batch))


def _log_weight(guide: Sites, model: Sites) -> Tensor:
    """The log weight as estimators and objectives make it: the sites of each datum are added first."""
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
