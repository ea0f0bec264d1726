"""How the distributions of this package implement `torch.distributions.Distribution.expand`."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from pyro.distributions import TorchDistribution

__all__ = ["expanded"]

D = TypeVar("D", bound=TorchDistribution)


def expanded(old: D, kind: type[D], batch_shape: Any, instance: Any, **attributes: Any) -> D:
    """A distribution of another batch shape, with attributes that are expanded already.

    `kind` is the class that defines `expand`, of which `old` may be a subclass; `instance` is the ``_instance`` of `expand`.
    """
    new: D = old._get_checked_instance(kind, instance)  # type: ignore[no-untyped-call]
    for name, value in attributes.items():
        setattr(new, name, value)
    super(kind, new).__init__(torch.Size(batch_shape), old.event_shape, validate_args=False)
    new._validate_args = old._validate_args
    return new
