"""What every source hands over, and the one place where it is checked.

A reader (`idx.read_mnist`, `tabular_files.read_csv`, ...) turns a location into a `Source` as it finds it: no scaling, no
splitting, no looking at values. `checked` then refuses what can't serve as data, saying file, index and remedy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from .dataset import Density

__all__ = ["Array", "RawRows", "Reader", "Source", "checked", "within_unit_interval"]

# Axes: data (rows, N), event (the shape of one row).

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class RawRows:
    """Values with their labels, as read.

    Attributes:
        where: the file or the source, as errors name it.
        values: numbers of any type, (data, *event).
        labels: integers or names of classes, (data,), or `None`.
        columns: the names of the values of one row, if they have any.
    """

    where: str
    values: Array
    labels: Array | None = None
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """What a reader found; `name`, `description` and `density` are those of `Dataset`.

    Attributes:
        train: the rows for training, or all rows if `test` is `None`.
        test: the rows that the source itself keeps for testing.
        scale: what values are divided by unless the user says; `None` to judge by their type.
        validation: the fraction of training rows that validation gets unless the user says.
    """

    name: str
    description: str
    train: RawRows
    test: RawRows | None = None
    scale: float | None = None
    validation: float = 0.1
    density: Density | None = None


class Reader(Protocol):
    """A function that reads one family of sources.

    To add a family, write such a function and name it in the table of `loading.py`. It raises `DataError` for whatever it
    can't read; numbers that it can read are checked afterwards, by `checked`.

    Example:
        >>> def read(location: str, *, labels: bool, seed: int) -> Source:
        ...     return Source("zeros", "Six zeros.", RawRows(location, np.zeros((3, 2))))
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
    """Refuse rows that can't serve as data, and number the labels: int64, or `None` if they aren't wanted.

    Raises:
        DataError: for values that aren't numbers, fewer than two axes, no rows or no columns, values that
            aren't finite, test rows of another shape than training rows, and labels that are missing, too few
            or too many, or neither integers nor names.

    Example:
        >>> rows = RawRows("here", np.zeros((2, 3)), labels=np.array(["no", "yes"]))
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
    numbers = _numbered([_checked_labels(rows) for rows in parts]) if labels else [None] * len(parts)
    train, *test = (replace(rows, labels=number) for rows, number in zip(parts, numbers, strict=True))
    return replace(source, train=train, test=test[0] if test else None)


def within_unit_interval(rows: RawRows, scale: float) -> None:
    """Refuse checked rows whose values, divided by `scale`, can't be probabilities.

    Raises:
        DataError: naming the first value, so divided, that lies outside [0, 1].
    """
    values = rows.values.reshape(len(rows.values), -1)  # (data, event)
    if values.min() >= 0 and values.max() <= scale:
        return
    row, column = np.argwhere((values < 0) | (values > scale))[0]
    raise DataError(
        f"{rows.where}: {_place(rows, row, column)} is {values[row, column] / scale:g}: only values in "
        '[0, 1] can be binarized; pass the scale= that divides them into it, or binarize="none"'
    )


def _check_axes(rows: RawRows) -> None:
    shape = rows.values.shape
    if rows.values.dtype.kind not in "buif":
        raise DataError(f"{rows.where}: values of type {rows.values.dtype}: save integers or real numbers")
    if len(shape) < 2:
        raise DataError(f"{rows.where}: an array of shape {shape}: save (rows, columns), or images as (rows, height, width)")
    if shape[0] == 0:
        raise DataError(f"{rows.where}: no rows: its shape is {shape}; was it written to the end?")
    if 0 in shape:
        raise DataError(f"{rows.where}: no values in a row: its shape is {shape}; save at least one column")


def _check_finite(rows: RawRows) -> None:
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


def _place(rows: RawRows, row: int, column: int) -> str:
    """Where a value lies, counted from 0, for people."""
    name = f" ({rows.columns[column]!r})" if rows.columns else ""
    return f"row {row}, column {column}{name}, counted from 0,"


def _checked_labels(rows: RawRows) -> Array:
    """The labels of rows: one each, all integers or names."""
    where, count = rows.where, len(rows.values)
    if rows.labels is None:
        raise DataError(f"{where}: there are no labels: load it with labels=False")
    labels = np.asarray(rows.labels)
    if labels.shape != (count,):
        raise DataError(f"{where}: labels of shape {labels.shape} for {count} rows: give one label a row")
    if labels.dtype.kind not in "buifUO":
        raise DataError(f"{where}: labels of type {labels.dtype}: save integers or names")
    unusable = np.zeros(labels.shape, dtype=np.bool_)
    if labels.dtype.kind == "f":
        unusable = ~np.isfinite(labels) | (labels != np.round(labels))
    elif labels.dtype.kind == "O":  # a name that a table lacks is None, or NaN, which differs from itself
        unusable = np.array([label is None or bool(label != label) for label in labels])
    if unusable.any():
        row = int(np.argmax(unusable))
        raise DataError(
            f"{where}: the label of row {row}, counted from 0, is {labels[row]}: labels are integers or "
            "names; load it with labels=False"
        )
    return labels


def _numbered(labels: list[Array]) -> list[Array]:
    """Labels of training and test as integers, int64: names that spell none are numbered in sorted order over both."""
    if all(part.dtype.kind in "buif" for part in labels):
        return [part.astype(np.int64) for part in labels]
    named = [np.array([str(label) for label in part]) for part in labels]
    try:  # "10" comes after "9"
        return [part.astype(np.int64) for part in named]
    except ValueError:
        names = np.unique(np.concatenate(named))
        return [np.searchsorted(names, part).astype(np.int64) for part in named]
