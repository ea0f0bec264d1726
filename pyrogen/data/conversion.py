"""Data of other libraries as batches: NumPy arrays, pandas frames, sparse matrices, torch's data sets and loaders.

Axes: data (rows).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, default_collate

from ..batch import Batch, arguments, length
from ..errors import DataError

__all__ = ["as_batch", "by_rows", "collated", "dense"]


def as_batch(data: Any) -> Batch:
    """All of the data as one batch of tensors, on the host unless they are tensors elsewhere.

    Args:
        data: tensors as they are; NumPy arrays, floating point in torch's default type, pandas series, SciPy's or torch's
            sparse matrices, densified, or a tuple, list or dict of these; a pandas frame, a dict of its columns by name;
            a `torch.utils.data.Dataset`, or a `DataLoader`, whose data set is read from first to last.

    Raises:
        DataError: what is none of these, what holds no numbers, misses a value, or has no end.

    Example:
        >>> as_batch({"x": np.zeros((2, 3)), "y": torch.ones(2)})["x"].dtype
        torch.float32
    """
    if isinstance(data, DataLoader):
        as_they_are = {"batch_size": None} if data.batch_sampler is None else {}  # each item of the data set is a batch
        collate = collated if data.collate_fn is default_collate else data.collate_fn
        return _read(data.dataset, num_workers=data.num_workers, collate_fn=collate, **as_they_are)
    if isinstance(data, Dataset):
        return _read(data)
    if _is_frame(data):
        names = [name for name in data.columns if not isinstance(name, str)]
        if names:
            raise DataError(
                f"a column is called {names[0]!r}: name the columns as the model's arguments, or pass frame.to_numpy()"
            )
        return {name: dense(data[name], f"column {name!r}") for name in data.columns}
    if isinstance(data, Mapping):
        return {name: dense(value, repr(name)) for name, value in data.items()}
    if isinstance(data, (tuple, list)):
        return tuple(dense(value, f"part {number}") for number, value in enumerate(data))
    batch: Batch = dense(data, "the data")
    arguments(batch)
    return batch


def by_rows(data: Any) -> tuple[int, Callable[[Tensor], Batch]] | None:
    """The number of data, and what makes a batch of some rows, for data that are no tensors as a whole; else None.

    These are sparse matrices and map-style data sets. Row numbers are integers, (rows,), on the host.
    """
    if isinstance(data, (TensorDataset, IterableDataset)):
        return None
    if isinstance(data, Dataset):
        return _count(data), lambda rows: collated([data[int(row)] for row in rows])
    if _is_sparse(data):
        matrix = data.tocsr()
        return matrix.shape[0], lambda rows: dense(matrix[rows.numpy()], "the data")
    if isinstance(data, Tensor) and data.layout != torch.strided:
        coordinates = data.cpu().to_sparse_coo().coalesce()  # type: ignore[no-untyped-call]
        return len(data), lambda rows: coordinates.index_select(0, rows).to_dense()
    return None


def dense(value: Any, what: str) -> Any:
    """A value as a tensor, if it is an array of some kind, and as it is otherwise; `what` it is, for errors."""
    if isinstance(value, Tensor):
        return value if value.layout == torch.strided else value.to_dense()
    if _is_sparse(value):
        value = value.toarray()
    if _is_series(value):
        if value.isna().any():
            row = int(value.isna().to_numpy().argmax())
            raise DataError(f"{what}: row {row}, counted from 0, misses its value: fill in or leave out what is missing")
        value = value.to_numpy()
        if value.dtype.kind == "O" and all(isinstance(number, (int, float, np.number)) for number in value):
            value = np.array(value.tolist())
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.kind not in "buif":
        raise DataError(
            f"{what}: values of type {value.dtype} are no numbers: encode them, for instance by pandas.get_dummies or as "
            "the codes of a category"
        )
    if value.dtype.kind == "u" and value.dtype.itemsize > 1:
        value = value.astype(np.int64)
    native = np.array(value, dtype=value.dtype.newbyteorder("="))  # copied: a run never writes to the caller's array
    tensor = torch.from_numpy(native)
    return tensor.to(torch.get_default_dtype()) if tensor.is_floating_point() else tensor


def collated(items: Sequence[Any]) -> Batch:
    """Items of a data set as a batch, as `torch.utils.data.default_collate` puts them together."""
    try:
        batch = default_collate(list(items))
    except TypeError as error:
        raise DataError(
            f"items of a data set do not make a batch of tensors ({error}): let the data set give tensors, for instance by "
            "a transform, or pass a DataLoader with a collate_fn"
        ) from error
    return as_batch(batch)


def _read(data: Any, **loader: Any) -> Batch:
    """All items of a data set, from first to last."""
    if isinstance(data, TensorDataset):
        return data.tensors[0] if len(data.tensors) == 1 else data.tensors
    if isinstance(data, IterableDataset):
        raise DataError("an iterable data set may have no end: gather the rows that are wanted into a tensor")
    count = _count(data)
    if not count:
        raise DataError(f"the data set is empty: {type(data).__name__} has 0 rows")
    options = {"batch_size": min(count, 1024), "collate_fn": collated, "generator": torch.Generator(), **loader}
    parts = [as_batch(part) for part in DataLoader(data, **options)]  # its own generator, for a loader draws a seed
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(parts)  # type: ignore[arg-type]
    keys = list(first) if isinstance(first, Mapping) else range(len(first))
    columns: dict[Any, Any] = {key: [part[key] for part in parts] for key in keys}  # type: ignore[index]
    for key, values in columns.items():
        if not isinstance(values[0], Tensor):
            raise DataError(f"{key!r} of a batch is a {type(values[0]).__name__}, no tensor: leave it out by a collate_fn")
    joined = {key: torch.cat(values) for key, values in columns.items()}
    batch: Batch = joined if isinstance(first, Mapping) else tuple(joined.values())
    length(batch)
    return batch


def _count(data: Any) -> int:
    try:
        return len(data)
    except TypeError:
        raise DataError(f"{type(data).__name__} has no length: define __len__, or derive it from IterableDataset") from None


def _is_sparse(value: Any) -> bool:
    sparse = sys.modules.get("scipy.sparse")
    return sparse is not None and bool(sparse.issparse(value))


def _is_frame(value: Any) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame)


def _is_series(value: Any) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.Series)
