"""The data that a study is made on: a split or a batch, as one batch on a device, and what a saved result says of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pyrogen.batch import Batch, arguments, length, map_tensors

__all__ = ["description", "evaluation_batch"]


def evaluation_batch(data: Any, place: torch.device | None = None) -> Batch:
    """All data as one batch, the same at each call.

    Args:
        data: a `pyrogen.data.Split`, or a batch.
        place: the device to move them to; they stay where they are if left out.

    Example:
        >>> evaluation_batch((torch.zeros(3), torch.ones(3)), torch.device("meta"))[0].device.type
        'meta'
    """
    if hasattr(data, "fixed"):
        batch: Batch = (data if place is None else data.to(place)).fixed()
        return batch
    return data if place is None else map_tensors(data, lambda tensor: tensor.to(place))


def description(data: Any) -> dict[str, Any]:
    """What a saved result says of its data: at least `name`, `rows`, `dimensions` and `binarize`.

    Args:
        data: a `pyrogen.data.Split`, or a batch.

    Example:
        >>> description(torch.zeros(3, 4))
        {'name': 'batch', 'rows': 3, 'dimensions': 4, 'binarize': 'as given'}
    """
    if hasattr(data, "describe"):
        return dict(data.describe())
    args, kwargs = arguments(data)
    first = next(value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
    return {"name": "batch", "rows": length(data), "dimensions": first[0].numel(), "binarize": "as given"}
