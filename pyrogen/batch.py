"""Batches: a tensor, or a tuple or dict of tensors, whose leading dimension is the data.

A tensor reaches a pair as its one argument, a tuple as positional and a dict as keyword arguments, just as
`pyro.infer.SVI.step` would pass them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from .errors import DataError

__all__ = ["Batch", "arguments", "device_of", "index", "length", "map_tensors", "signature"]

Batch: TypeAlias = Tensor | Sequence[Tensor] | Mapping[str, Tensor]


def arguments(batch: Batch) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments with which a batch is handed to a model or guide.

    Raises:
        DataError: the batch is no tensor, tuple, list or dict.

    Example:
        >>> arguments(torch.zeros(3))
        ((tensor([0., 0., 0.]),), {})
    """
    if isinstance(batch, Tensor):
        return (batch,), {}
    if isinstance(batch, (tuple, list)):
        return tuple(batch), {}
    if isinstance(batch, Mapping):
        return (), dict(batch)
    raise DataError(
        f"a batch must be a tensor or a tuple or dict of tensors, not {type(batch).__name__}: turn an array into a tensor "
        "with torch.as_tensor, and hand over a data loader's batches one by one"
    )


def map_tensors(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """The same batch with each of its tensors replaced by ``change(tensor)``."""
    if isinstance(batch, Tensor):
        return change(batch)
    if isinstance(batch, Mapping):
        return {name: change(value) if isinstance(value, Tensor) else value for name, value in batch.items()}
    return tuple(change(value) if isinstance(value, Tensor) else value for value in arguments(batch)[0])


def index(batch: Batch, rows: slice | Tensor) -> Batch:
    """The rows of a batch that a slice or an index tensor selects."""
    return map_tensors(batch, lambda tensor: tensor[rows])


def length(batch: Batch) -> int:
    """Number of data in a batch.

    Raises:
        DataError: the batch holds no tensor, is empty, or its tensors disagree in their leading dimension.
    """
    tensors = _tensors(batch)
    if not tensors:
        raise DataError(
            f"a batch must be a tensor or a tuple or dict of tensors, and this one holds none: {type(batch).__name__}"
        )
    if any(tensor.dim() == 0 for tensor in tensors):
        raise DataError("a batch holds a scalar tensor: every tensor of a batch has the data as its leading dimension")
    lengths = {tensor.shape[0] for tensor in tensors}
    if len(lengths) > 1:
        raise DataError(
            f"the tensors of a batch disagree in their leading dimension: {sorted(lengths)}; "
            "each must have one row per datum"
        )
    (rows,) = lengths
    if rows == 0:
        raise DataError("the batch is empty: it has 0 rows")
    return rows


def signature(batch: Batch) -> tuple[Any, ...]:
    """What distinguishes one kind of batch from another, sizes aside: names, dtypes and dimensions."""
    args, kwargs = arguments(batch)
    return tuple(
        (name, value.dtype, value.dim()) if isinstance(value, Tensor) else (name, type(value))
        for name, value in [*enumerate(args), *sorted(kwargs.items())]
    )


def device_of(batch: Batch) -> torch.device:
    """The device of a batch's first tensor."""
    return _tensors(batch)[0].device


def _tensors(batch: Batch) -> list[Tensor]:
    args, kwargs = arguments(batch)
    return [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
