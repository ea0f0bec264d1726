"""A module that holds other tensors for a while, so that it is neither copied nor changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

__all__ = ["holding"]


@contextmanager
def holding(module: nn.Module, tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """Have a module hold other tensors in place of its parameters and buffers.

    `torch.func.functional_call` does not put back those of a part that is found at two places of the module.

    Args:
        module: the module.
        tensors: by the names of ``named_parameters()`` and ``named_buffers()``.

    Example:
        >>> import torch
        >>> layer = nn.Linear(2, 1)
        >>> shared = nn.ModuleDict({"encoder": layer, "prior": nn.Sequential(layer)})
        >>> before = layer.weight
        >>> with holding(shared, {"encoder.weight": torch.ones(1, 2), "encoder.bias": torch.zeros(1)}):
        ...     shared["prior"](torch.ones(2))
        tensor([2.])
        >>> layer.weight is before
        True
    """
    own = {id(t): tensors[name] for name, t in (*module.named_parameters(), *module.named_buffers()) if name in tensors}
    places: list[tuple[dict[str, Any], str, Tensor | None]] = [
        (slots, name, value)
        for part in module.modules()
        for slots in (part._parameters, part._buffers)
        for name, value in slots.items()
        if id(value) in own
    ]
    try:
        for slots, name, value in places:
            slots[name] = own[id(value)]
        yield
    finally:
        for slots, name, value in places:
            slots[name] = value
