"""Other values of parameters for a while: other tensors held in their place, or noise that is taken back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["holding", "shake", "shaken"]


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


def shake(parameters: Iterable[Tensor]) -> None:
    """Add a little noise to parameters: a network that begins with zeros says nothing of its input."""
    with torch.no_grad():
        for parameter in parameters:
            if parameter.is_floating_point():
                parameter.add_(torch.randn_like(parameter), alpha=0.1)


@contextmanager
def shaken(parameters: Iterable[Tensor]) -> Iterator[None]:
    """`shake` parameters, and put their values back afterwards."""
    before = [(parameter, parameter.detach().clone()) for parameter in parameters]
    try:
        shake(parameter for parameter, _ in before)
        yield
    finally:
        with torch.no_grad():
            for parameter, value in before:
                parameter.copy_(value)
