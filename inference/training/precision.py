"""The precision that a pair is run in, always asked for by name and never changed behind the user's back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias, get_args

import torch

from pyrogen.errors import ConfigurationError

__all__ = ["Precision", "computing_in", "require_precision"]

Precision: TypeAlias = Literal["float32", "tf32", "bf16"]
"""``"float32"`` changes nothing; ``"tf32"`` lets CUDA's matrix products round their inputs to 10 bits of mantissa;
``"bf16"`` computes what `torch.autocast` deems safe in bfloat16. Log weights are summed in float32 or better in each."""


def require_precision(precision: str) -> None:
    """Refuse an unknown precision.

    Raises:
        ConfigurationError: it is none of those that there are.
    """
    if precision not in get_args(Precision):
        raise ConfigurationError(f"unknown precision {precision!r}: use {', '.join(map(repr, get_args(Precision)))}")


@contextmanager
def computing_in(precision: Precision, device: torch.device) -> Iterator[None]:
    """Run what is inside in a precision; torch's settings are put back afterwards."""
    if precision == "bf16":
        with torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=False):
            yield
    elif precision == "tf32" and device.type == "cuda":
        before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
    else:
        yield
