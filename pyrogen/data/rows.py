"""What every source hands over, and the one place where it is checked.

A reader (`mnist.read`, `openml.read`, ...) turns a location into a `Source` as it finds it: no scaling, no
splitting, no looking at values. `checked` then refuses what can't serve as data, saying file, index and
remedy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from .dataset import Density
from .labels import number_labels

__all__ = [
    "Array",
    "Reader",
    "Rows",
    "Source",
    "checked",
    "event_shape",
    "image_scale",
    "within_unit_interval",
]

# Axes: data (rows, N), event (the shape of one row).

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Rows:
    """Values with their labels, as read.

    Attributes:
        where: the file or the source, as errors name it.
        values: numbers of any type, (data, *event).
        labels: integers or names of classes, (data,), or `None`.
        columns: the names of the values of one row, if they have any.

    Example:
        >>> Rows("here", np.zeros((3, 2))).values.shape
        (3, 2)
    """

    where: str
    values: Array
    labels: Array | None = None
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """What a reader found.

    Attributes:
        name: see `Dataset`.
        description: see `Dataset`.
        train: the rows for training, or all rows if `test` is `None`.
        test: the rows that the source itself keeps for testing.
        scale: what values are divided by unless the user says; `None` if the user has to.
        validation: the fraction of training rows that validation gets unless the user says.
        density: see `Dataset`.

    Example:
        >>> Source("zeros", "Six zeros.", Rows("here", np.zeros((3, 2)))).validation
        0.1
    """

    name: str
    description: str
    train: Rows
    test: Rows | None = None
    scale: float | None = 1.0
    validation: float = 0.1
    density: Density | None = None


class Reader(Protocol):
    """A function that reads one family of sources.

    To add a family, write such a function in a file of its own and name it in the table of `loading.py`. It
    raises `DataError` for whatever it can't read; numbers that it can read are checked afterwards, by
    `checked`.

    Example:
        >>> def read(location: str, *, labels: bool, seed: int) -> Source:
        ...     return Source("zeros", "Six zeros.", Rows(location, np.zeros((3, 2))))
        >>> reader: Reader = read
    """

    def __call__(self, location: str, *, labels: bool, seed: int) -> Source:
        """Read the source at a location.

        Args:
            location: what follows the family's name and its colon; a path for most.
            labels: whether labels are wanted; a reader may leave them out otherwise.
            seed: for sources that draw their rows.

        Returns:
            The rows as found; those without test rows get split.
        """
        ...


def checked(source: Source, *, labels: bool) -> Source:
    """Refuse rows that can't serve as data, and number the labels.

    Args:
        source: what a reader found.
        labels: whether labels are wanted.

    Returns:
        The same source, whose labels are int64, or `None` if they aren't wanted.

    Raises:
        DataError: for values that aren't numbers, fewer than two axes, no rows or no columns, values that
            aren't finite, test rows of another shape than training rows, and labels that are missing, too few
            or too many, or neither integers nor names.

    Example:
        >>> rows = Rows("here", np.zeros((2, 3)), labels=np.array(["no", "yes"]))
        >>> checked(Source("rows", "Two rows.", rows), labels=True).train.labels.tolist()
        [0, 1]
    """
    parts = [source.train] if source.test is None else [source.train, source.test]
    for rows in parts:
        _check_axes(rows)
        _check_finite(rows)
    shape = source.train.values.shape[1:]
    if source.test is not None and source.test.values.shape[1:] != shape:
        raise DataError(
            f"{source.test.where}: test rows of shape {source.test.values.shape[1:]}, but those of "
            f"{source.train.where} have shape {shape}: both have to be alike"
        )
    if labels:
        numbers = number_labels([(rows.where, len(rows.values), rows.labels) for rows in parts])
        parts = [replace(rows, labels=number) for rows, number in zip(parts, numbers, strict=True)]
    else:
        parts = [replace(rows, labels=None) for rows in parts]
    return replace(source, train=parts[0], test=parts[1] if len(parts) == 2 else None)


def event_shape(values: Array) -> tuple[int, ...]:
    """The shape of one datum of (data, *event): (1, height, width) for grey images, otherwise the event axes as they are.

    Example:
        >>> event_shape(np.zeros((5, 28, 28))), event_shape(np.zeros((5, 3)))
        ((1, 28, 28), (3,))
    """
    shape = tuple(int(length) for length in values.shape[1:])
    return (1, *shape) if len(shape) == 2 else shape


def image_scale(values: Array) -> float | None:
    """What divides an array's values into [0, 1], judging by its type.

    Args:
        values: (data, *event).

    Returns:
        The greatest value of the type for images (two or more event axes) of 8 or 16 bits without sign; 1 for
        tables, for real numbers, and for images that hold nothing but 0 and 1; `None` for images of other
        integers, whose range can't be told from their type.

    Example:
        >>> grey = np.full((5, 28, 28), 7, dtype=np.uint8)
        >>> image_scale(grey), image_scale(grey.reshape(5, -1))
        (255.0, 1.0)
    """
    if values.ndim < 3 or values.dtype.kind not in "iu":
        return 1.0
    if values.size and values.min() >= 0 and values.max() <= 1:
        return 1.0  # already binary: a division by 255 would turn it all but black
    return float(np.iinfo(values.dtype).max) if values.dtype in (np.uint8, np.uint16) else None


def within_unit_interval(rows: Rows, scale: float) -> None:
    """Refuse values that can't be probabilities.

    Args:
        rows: checked rows.
        scale: what values will be divided by.

    Raises:
        DataError: naming the first value, divided by `scale`, that lies outside [0, 1].

    Example:
        >>> within_unit_interval(Rows("here", np.array([[0.0, 16.0]])), scale=16)
    """
    values = rows.values.reshape(len(rows.values), -1)  # (data, event)
    if values.min() >= 0 and values.max() <= scale:
        return
    row, column = np.argwhere((values < 0) | (values > scale))[0]
    raise DataError(
        f"{rows.where}: {_place(rows, row, column)} is {values[row, column] / scale:g}: only values in "
        '[0, 1] can be binarized; pass the scale= that divides them into it, or binarize="none"'
    )


def _check_axes(rows: Rows) -> None:
    shape = rows.values.shape
    if rows.values.dtype.kind not in "buif":
        raise DataError(f"{rows.where}: values of type {rows.values.dtype}: save integers or real numbers")
    if len(shape) < 2:
        raise DataError(f"{rows.where}: an array of shape {shape}: save (rows, columns), or images as (rows, height, width)")
    if shape[0] == 0:
        raise DataError(f"{rows.where}: no rows: its shape is {shape}; was it written to the end?")
    if 0 in shape:
        raise DataError(f"{rows.where}: no values in a row: its shape is {shape}; save at least one column")


def _check_finite(rows: Rows) -> None:
    if rows.values.dtype.kind != "f":
        return
    values = rows.values.reshape(len(rows.values), -1)  # (data, event)
    with np.errstate(over="ignore"):  # what is too great for 32 bits becomes infinite, and is refused here
        finite = np.isfinite(values.astype(np.float32))
    if finite.all():
        return
    row, column = np.argwhere(~finite)[0]
    raise DataError(
        f"{rows.where}: {_place(rows, row, column)} is {values[row, column]}: values must be finite in 32 bits, "
        f"and {int(finite.size - finite.sum())} aren't; fill in or leave out what is missing"
    )


def _place(rows: Rows, row: int, column: int) -> str:
    """Where a value lies, counted from 0, for people."""
    name = f" ({rows.columns[column]!r})" if rows.columns else ""
    return f"row {row}, column {column}{name}, counted from 0,"
