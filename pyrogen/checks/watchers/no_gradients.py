"""Stops a run where it would record gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

__all__ = ["NoGradients"]


class NoGradients(TorchFunctionMode):
    """Raises `NotImplementedError` at the first operation of a running program that records gradients."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.is_grad_enabled():
            raise NotImplementedError(f"gradients of {func.__name__} on tensors without values")
        return func(*args, **(kwargs or {}))
