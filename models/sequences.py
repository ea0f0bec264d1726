"""What models of sequences have in common: the shape of a datum, and masks of shorter ones."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from math import prod
from typing import Any

import pyro.poutine as poutine
import torch
from torch import Tensor

from pyrogen.errors import ConfigurationError
from pyrogen.nets import positive_sizes

__all__ = ["counted", "counting", "sequence_shape"]


def sequence_shape(shape: Sequence[int]) -> tuple[int, int]:
    """Number of steps, and of the features of a step, from the shape of a datum: (steps,), or (..., features).

    Raises:
        ConfigurationError: a size is no positive integer, or there is none.

    Example:
        >>> sequence_shape((1, 28, 28))  # an image, row by row
        (28, 28)
        >>> sequence_shape((100,))
        (100, 1)
    """
    sizes = positive_sizes("shape", shape)
    if not sizes:
        raise ConfigurationError("shape must name the number of steps, and it is empty")
    return (sizes[0], 1) if len(sizes) == 1 else (prod(sizes[:-1]), sizes[-1])


def counting(lengths: Tensor | None, step: int) -> AbstractContextManager[Any]:
    """A context whose sites count only in data that have a step, counted from 0.

    The lengths are the numbers of steps of the data, shape (data,), or ``None`` where all data have all steps.
    """
    if lengths is None:
        return nullcontext()
    has_step: Any = lengths > step
    return poutine.mask(mask=has_step)


def counted(log_prob: Tensor, lengths: Tensor | None, step: int) -> Tensor:
    """A log probability of a step, shape (data, ...), with zeros for the data that do not have it; see `counting`."""
    if lengths is None:
        return log_prob
    has_step = (lengths > step).reshape(-1, *[1] * (log_prob.dim() - 1))  # (data, 1...)
    return torch.where(has_step, log_prob, 0.0)
