"""Compiled functions of samplers, kept as long as their network lives."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any
from weakref import WeakKeyDictionary

import torch

__all__ = ["compiled_once"]

_compiled: WeakKeyDictionary[object, dict[Any, Callable[..., Any]]] = WeakKeyDictionary()


def compiled_once(network: object, key: Any, function: Callable[[], Callable[..., Any]], **options: Any) -> Any:
    """Compile a function at the first call for a network and a key.

    Args:
        network: must not be a free variable of the function, which would keep it alive.
        key: all else that the code depends on: family, shapes, dtype and device.
        function: makes the Python function to compile.
        options: of `torch.compile`.
    """
    made = _compiled.setdefault(network, {})
    if key not in made:
        plain: Any = function()
        # A code object of its own: torch limits how often one and the same is compiled.
        copy = FunctionType(plain.__code__.replace(), plain.__globals__, plain.__name__, None, plain.__closure__)
        # With the C++ wrapper no Python runs between two kernels.
        made[key] = torch.compile(copy, fullgraph=True, dynamic=False, options={"cpp_wrapper": True, **options})
    return made[key]
