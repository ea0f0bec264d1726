"""A run of a pair on other tensors in place of its parameters and buffers, so that it is neither copied nor changed."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pyrogen.batch import Batch
from pyrogen.programs.functional import holding
from pyrogen.programs.run import Sites

from .subject import Subject

__all__ = ["log_weight_of", "state_of"]


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
    with holding(subject.pair, state), subject.running(training=True, gradients=gradients):
        return _log_weight(*subject.run(batch=batch))


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
