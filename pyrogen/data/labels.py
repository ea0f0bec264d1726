"""Labels as integers: one a row, numbered alike in training and in test."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError

__all__ = ["number_labels"]

# Axes: data (rows, N).

_Labels = npt.NDArray[Any]


def number_labels(parts: list[tuple[str, int, _Labels | None]]) -> list[npt.NDArray[np.int64]]:
    """Check labels and turn them into integers.

    Integers, and names that spell integers, stay what they are; other names are numbered in sorted order over
    all parts together.

    Args:
        parts: for each file where it is, how many rows it has, and its labels, (data,).

    Returns:
        The labels of each part, int64, (data,).

    Raises:
        DataError: if there are no labels, or not one a row, or one is missing or neither integer nor name.

    Example:
        >>> train, test = np.array(["cat", "dog"]), np.array(["dog"])
        >>> [part.tolist() for part in number_labels([("train", 2, train), ("test", 1, test)])]
        [[0, 1], [1]]
    """
    found = [_checked(where, rows, labels) for where, rows, labels in parts]
    if all(labels.dtype.kind in "buif" for labels in found):
        return [labels.astype(np.int64) for labels in found]
    named = [np.array([str(label) for label in labels]) for labels in found]
    try:  # "10" comes after "9"
        return [labels.astype(np.int64) for labels in named]
    except ValueError:
        names = np.unique(np.concatenate(named))
        return [np.searchsorted(names, labels).astype(np.int64) for labels in named]


def _checked(where: str, rows: int, labels: _Labels | None) -> _Labels:
    if labels is None:
        raise DataError(f"{where}: there are no labels: load it with labels=False")
    labels = np.asarray(labels)
    if labels.shape != (rows,):
        raise DataError(f"{where}: labels of shape {labels.shape} for {rows} rows: give one label a row")
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
