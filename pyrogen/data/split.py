"""The rows of a data set for one purpose (training, validation, test), and the batches made of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..errors import DataError
from .binarize import Binarization

__all__ = ["RowIndex", "Split"]

# Axes: data (rows, N), event (flattened values of one row, D).

RowIndex: TypeAlias = int | slice | Sequence[int] | npt.NDArray[Any] | Tensor
"""Which rows: a number, a slice, a list of numbers, or a tensor of numbers or of truth values."""


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Rows for one purpose, in memory on one device.

    A split is made by `load`; take a part of it by indexing and move it by `to`. Training reads `draw`,
    evaluation reads `fixed`.

    Attributes:
        values: what training draws from, float32, (data, event): grey probabilities if `binarize` is
            `"dynamic"`.
        labels: int64, (data,), or `None` if labels weren't asked for.
        shape: the shape of one datum before it was flattened, such as (1, 28, 28) or (D,).
        name: data set and purpose, such as `"mnist/test"`.
        binarize: how the values were made binary.
        seed: the seed of the splitting and of the draws.
        loaded: what `load` made it from, by the names that ``pyrogen fit`` has for its options; `None` if it did not.
        evaluation: the draw that `fixed` gives if `binarize` is `"dynamic"`, bool, (data, event); otherwise
            `None`.

    Raises:
        DataError: if the shapes don't agree, or `evaluation` is missing or not wanted.

    Example:
        >>> split = Split(torch.eye(4), labels=None, shape=(4,), name="eye/train")
        >>> len(split), split.dimensions, len(split[1:3]), split[-1].fixed().tolist()
        (4, 4, 2, [[0.0, 0.0, 0.0, 1.0]])
    """

    values: Tensor
    labels: Tensor | None
    shape: tuple[int, ...]
    name: str
    binarize: Binarization = "none"
    seed: int = 0
    evaluation: Tensor | None = None
    loaded: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        # Shapes only: a look at the values would wait for the device. `rows.py` has looked at them.
        if self.values.ndim != 2 or self.values.shape[1] != math.prod(self.shape):
            raise DataError(
                f"{self.name}: values of shape {tuple(self.values.shape)} aren't flattened data of shape "
                f"{self.shape}: pass them as (rows, {math.prod(self.shape)})"
            )
        if self.labels is not None and self.labels.shape != self.values.shape[:1]:
            raise DataError(
                f"{self.name}: labels of shape {tuple(self.labels.shape)} for {len(self.values)} rows: pass one label a row"
            )
        drawn = None if self.evaluation is None else self.evaluation.shape
        if drawn != (self.values.shape if self.binarize == "dynamic" else None):
            raise DataError(
                f"{self.name}: evaluation of shape {drawn} with binarize={self.binarize!r}: a dynamic "
                "split, and no other, has one evaluation draw for each value; let load() make it"
            )

    def __len__(self) -> int:
        return self.values.shape[0]

    def __repr__(self) -> str:
        labels = "" if self.labels is None else ", labelled"
        return (
            f"Split({self.name!r}, {len(self)} rows of {self.shape}{labels}, binarize={self.binarize!r}, "
            f"seed={self.seed}, device={str(self.values.device)!r})"
        )

    @property
    def dimensions(self) -> int:
        """The number of values in one row, D."""
        return self.values.shape[1]

    def __getitem__(self, index: RowIndex) -> Split:
        rows = self._rows(index)
        return self._changed(lambda tensor: tensor[rows])

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Split:
        """The same split on another device, such as `"cuda"`; this one stays where it is.

        With `non_blocking` it is copied to a CUDA device by way of pinned memory, without waiting for it.

        Example:
            >>> Split(torch.eye(2), labels=None, shape=(2,), name="eye/train").to("meta").values.device.type
            'meta'
        """
        place = torch.device(device)

        def move(tensor: Tensor) -> Tensor:
            pinned = non_blocking and place.type == "cuda" and tensor.device.type == "cpu"
            return (tensor.pin_memory() if pinned else tensor).to(place, non_blocking=non_blocking)

        return self._changed(move)

    def draw(self, index: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        """A training batch; for dynamic binarization a fresh draw, x ~ Bernoulli(values), from torch's default generator.

        Nothing here waits for the device.

        Args:
            index: numbers of the rows, an integer tensor (batch,) on the split's device; `None` for all rows.

        Returns:
            The values, float32, (batch, event), with their labels, (batch,), if labels were asked for. They
            share memory with the split if `index` is `None` and nothing is drawn: don't write to them.

        Example:
            >>> split = Split(torch.eye(4), labels=None, shape=(4,), name="eye/train")
            >>> split.draw(torch.tensor([2, 2])).tolist()
            [[0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 1.0, 0.0]]
        """
        values = self.values if index is None else self.values.index_select(0, index)  # (batch, event)
        if self.binarize == "dynamic":
            # A uniform number in [0, 1) lies below p with probability p; on a CPU this is five times as fast
            # as torch.bernoulli.
            values = torch.rand_like(values).lt_(values)
        if self.labels is None:
            return values
        return values, self.labels if index is None else self.labels.index_select(0, index)

    def fixed(self) -> Tensor | tuple[Tensor, Tensor]:
        """The evaluation batch of all rows, the same at each call.

        A dynamic split's draw was made once, from `seed`, for the whole split that was loaded: any part of
        it, in any order and on any device, gives those rows of that one draw.

        Returns:
            The values, float32, (data, event), with their labels, (data,), if labels were asked for. They
            share memory with the split if nothing was drawn: don't write to them.

        Example:
            >>> from pyrogen.data import load
            >>> test = load("digits", binarize="dynamic").test
            >>> bool((test[5:9].fixed() == test.fixed()[5:9]).all())
            True
        """
        values = self.values if self.evaluation is None else self.evaluation.to(self.values.dtype)
        return values if self.labels is None else (values, self.labels)

    def describe(self) -> dict[str, str | int]:
        """What a saved result has to say about its data, ready for JSON.

        Example:
            >>> Split(torch.eye(2), labels=None, shape=(2,), name="eye/train").describe()
            {'name': 'eye/train', 'rows': 2, 'dimensions': 2, 'binarize': 'none', 'seed': 0}
        """
        rows, dimensions = self.values.shape
        return {"name": self.name, "rows": rows, "dimensions": dimensions, "binarize": self.binarize, "seed": self.seed}

    def _changed(self, change: Callable[[Tensor], Tensor]) -> Split:
        labels, evaluation = (None if part is None else change(part) for part in (self.labels, self.evaluation))
        return replace(self, values=change(self.values), labels=labels, evaluation=evaluation)

    def _rows(self, index: RowIndex) -> slice | Tensor:
        """What torch needs so as to keep the data axis and to stay on the device."""
        if isinstance(index, slice):
            if index.step is None or index.step > 0:
                return index
            index = list(range(*index.indices(len(self))))  # torch has no negative steps
        elif isinstance(index, (int, np.integer)):
            number = int(index)
            if not -len(self) <= number < len(self):
                raise IndexError(f"{self.name}: row {number} of {len(self)}")
            number %= len(self)
            return slice(number, number + 1)
        rows = torch.as_tensor(index, device=self.values.device).reshape(-1)  # (rows,)
        if rows.dtype == torch.bool:
            return rows
        if rows.is_floating_point() and rows.numel() > 0:  # an empty list is read as floating point
            raise IndexError(f"{self.name}: row numbers of type {rows.dtype}: pass integers or truth values")
        return rows.long()
