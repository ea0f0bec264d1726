"""Where training batches come from: rows on the device or in the host's memory, or the batches of a data loader."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeAlias

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from pyrogen.batch import Batch, index, length, map_tensors
from pyrogen.data.conversion import as_batch, by_rows
from pyrogen.errors import ConfigurationError

from .loader_batches import LoaderBatches

__all__ = ["HostRows", "Keep", "Rows", "batches_of"]

Keep: TypeAlias = Literal["auto", "device", "host"]
"""Where training data are kept: on the device, in the host's memory, or on the device if half of what is free holds them."""

_PART = 4096


class Rows(Protocol):
    """Data that training draws batches from; `pyrogen.data.Split` is one."""

    def __len__(self) -> int:
        """Number of data."""

    def draw(self, rows: Tensor | None = None) -> Batch:
        """A training batch of those rows."""


class _TensorRows:
    """A batch, as rows to draw from."""

    def __init__(self, batch: Batch) -> None:
        self.batch, self.count = batch, length(batch)

    def __len__(self) -> int:
        return self.count

    def draw(self, rows: Tensor | None = None) -> Batch:
        return self.batch if rows is None else index(self.batch, rows)


class HostRows:
    """Rows of a split in the host's memory, as rows to draw batches from; see `pyrogen.inference.training.trainer.Rows`.

    While one batch is computed with, the next one is on its way: it is gathered into pinned memory and copied without
    waiting. What is random about a batch (its binarization) is drawn on the device, when it is used, so that the stream of
    random numbers is that of data on the device.

    Args:
        split: rows with ``split[rows]``, ``to`` and ``draw``, as `pyrogen.data.Split` has them.
        device: where batches go.
    """

    index_device = torch.device("cpu")
    """Where the numbers of rows have to be."""

    def __init__(self, split: Any, device: torch.device) -> None:
        self.split, self.device = split, device
        self._ahead: tuple[Tensor, Any] | None = None

    def __len__(self) -> int:
        return len(self.split)

    def draw(self, rows: Tensor | None = None) -> Batch:
        """A training batch of those rows, on the device."""
        if rows is None:
            rows = torch.arange(len(self.split), device="cpu")
        known = self._ahead is not None and torch.equal(self._ahead[0], rows)
        sent = self._ahead[1] if self._ahead is not None and known else self._send(rows)
        self._ahead = None
        batch: Batch = sent.draw()
        return batch

    def expect(self, rows: Tensor) -> None:
        """Send the batch that will be asked for next."""
        self._ahead = rows, self._send(rows)

    def parts(self) -> list[Tensor]:
        """Numbers of all rows, in parts that a device holds."""
        return list(torch.arange(len(self.split), device="cpu").split(_PART))  # type: ignore[no-untyped-call]

    def _send(self, rows: Tensor) -> Any:
        return self.split[rows].to(self.device, non_blocking=True)


class FetchedRows:
    """Rows that are made into a batch when they are asked for: of a sparse matrix, or of a map-style data set."""

    index_device = torch.device("cpu")

    def __init__(self, count: int, fetch: Callable[[Tensor], Batch], device: torch.device, looked_at: int | None) -> None:
        self.count, self.fetch, self.device = count, fetch, device
        self.looked_at = count if looked_at is None else min(count, looked_at)
        """How many rows are looked at before training, for values that no loss can be trained on."""

    def __len__(self) -> int:
        return self.count

    def draw(self, rows: Tensor | None = None) -> Batch:
        """A training batch of those rows, on the device."""
        rows = torch.arange(self.count, device="cpu") if rows is None else rows
        return map_tensors(self.fetch(rows), lambda tensor: tensor.to(self.device))

    def parts(self) -> list[Tensor]:
        """Numbers of the rows that are looked at, in parts that a device holds."""
        return list(torch.arange(self.looked_at, device="cpu").split(_PART))  # type: ignore[no-untyped-call]


def batches_of(
    data: Any, device: torch.device, keep: Keep = "device", *, batch_size: int = 1, seed: int = 0
) -> Rows | LoaderBatches:
    """Where batches of the data come from: rows on a device or in the host's memory, or a loader's batches."""
    if _stay_on_host(data, device, keep):
        return HostRows(data.to("cpu"), device)
    if hasattr(data, "draw"):
        moved: Rows = data.to(device)
        return moved
    if isinstance(data, IterableDataset):
        data = DataLoader(data, batch_size=batch_size)
    if isinstance(data, DataLoader):
        return LoaderBatches(data, device, seed)
    fetched = by_rows(data)
    if fetched is not None:
        return FetchedRows(*fetched, device, looked_at=batch_size if isinstance(data, Dataset) else None)
    return _TensorRows(map_tensors(as_batch(data), lambda tensor: tensor.to(device)))


def _stay_on_host(data: Any, device: torch.device, keep: Keep) -> bool:
    """Whether data are to be kept in the host's memory.

    Raises:
        ConfigurationError: an unknown `keep`, or data that have no rows to send.
    """
    if keep not in ("auto", "device", "host"):
        raise ConfigurationError(f"unknown keep={keep!r}: use 'auto', 'device' or 'host'")
    sendable = hasattr(data, "draw") and hasattr(data, "__getitem__") and hasattr(data, "values")
    if keep == "host" and not sendable:
        raise ConfigurationError(
            "keep='host' takes a pyrogen.data.Split: make one of a tensor with pyrogen.data.from_arrays"
        )
    if keep != "auto" or device.type != "cuda" or not sendable:
        return keep == "host"
    free, _ = torch.cuda.mem_get_info(device)
    return bool(data.values.numel() * data.values.element_size() > free // 2)
