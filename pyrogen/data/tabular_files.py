"""Tables with numeric columns: CSV and Parquet."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from .files import existing_file
from .rows import Array, RawRows, Source

__all__ = ["from_frame", "read_csv", "read_parquet"]

# A column of one of these names, in small or capital letters, holds the labels if labels are asked for.
_LABEL_COLUMNS = ("label", "target", "y")

# How a first line of data, without names, may write a number that it lacks.
_MISSING = ("", "na", "n/a", "null", "none")


def read_csv(location: str, *, labels: bool, seed: int) -> Source:
    r"""Read comma-separated values, with or without a line of column names.

    The first line is data if all of it is numbers, unless it counts 0, 1, 2, ..., as pandas names columns.

    Raises:
        DataError: if the file is missing, empty, no table, has more cells in a line than names, or columns
            that aren't numbers or have no name.
    """
    import pandas

    path = existing_file(location)
    try:
        header = None if _starts_with_data(path) else 0
        with warnings.catch_warnings():
            # Lines that are longer than the names would lose their last cells, or name their rows by the first.
            warnings.simplefilter("error", pandas.errors.ParserWarning)
            frame = pandas.read_csv(path, header=header, index_col=False)
    except pandas.errors.ParserWarning as error:
        raise DataError(f"{path}: lines have more cells than there are column names: name every column") from error
    except (ValueError, pandas.errors.ParserError) as error:  # UnicodeDecodeError is a ValueError
        raise DataError(f"{path}: not a table of comma-separated values ({str(error).strip()}): repair it") from error
    unnamed = [str(name) for name in frame.columns if str(name).startswith("Unnamed: ")]
    if unnamed:
        raise DataError(
            f"{path}: column {unnamed[0].removeprefix('Unnamed: ')}, counted from 0, has no name, as if it "
            "were a saved row number: save without it (index=False), or name it"
        )
    return _from_file(frame, path, labels)


def read_parquet(location: str, *, labels: bool, seed: int) -> Source:
    """Read a Parquet file.

    Raises:
        DataError: if the file is missing, empty, damaged, or has columns that aren't numbers.
    """
    import pandas

    path = existing_file(location)
    try:
        frame = pandas.read_parquet(path, engine="pyarrow")
    except Exception as error:  # pandas reads its own notes in the file, whose damage shows in many ways
        raise DataError(f"{path}: not a Parquet file, or a damaged one ({error}): write it again") from error
    return _from_file(frame, path, labels)


def from_frame(frame: Any, marks: Any = None, *, where: str, name: str) -> Source:
    """The rows of a pandas data frame.

    Args:
        frame: a `pandas.DataFrame`.
        marks: a `pandas.Series` of labels, if there are any.
        where: what errors call it.
        name: what results call it.

    Raises:
        DataError: for a column that doesn't hold numbers.
    """
    columns = tuple(str(column) for column in frame.columns)
    description = f"The table {where}, {len(frame)} rows of {len(columns)} columns."
    labels = None if marks is None else marks.to_numpy()
    return Source(name, description, RawRows(where, _numbers(frame, where), labels, columns))


def _from_file(frame: Any, path: Path, labels: bool) -> Source:
    if not labels:
        return from_frame(frame, where=str(path), name=path.stem)
    found = [column for column in frame.columns if str(column).lower() in _LABEL_COLUMNS]
    if len(found) > 1:
        raise DataError(f"{path}: the columns {found} could all be the labels: keep the name of one")
    if not found:
        raise DataError(f"{path}: there are no labels: call their column {' or '.join(_LABEL_COLUMNS)}")
    return from_frame(frame.drop(columns=found), frame[found[0]], where=str(path), name=path.stem)


def _numbers(frame: Any, where: str) -> Array:
    """The values as float64; what is missing becomes NaN, which is refused with all other NaN."""
    import pandas

    if not len(frame):  # without rows no column has a type; `checked` says so
        return np.zeros(frame.shape)
    for name in frame.columns:
        column = frame[name]
        if pandas.api.types.is_numeric_dtype(column):
            continue
        bad = pandas.to_numeric(column.astype(str), errors="coerce").isna() & column.notna()
        row = int(np.argmax(bad.to_numpy()))
        raise DataError(
            f"{where}: column {name!r} isn't numeric: row {row}, counted from 0, is {column.iloc[row]!r}; "
            "leave the column out or turn it into numbers"
        )
    values: Array = frame.to_numpy(dtype=np.float64, na_value=np.nan)
    return values


def _starts_with_data(path: Path) -> bool:
    """Whether the first line is numbers, some of which may be missing, rather than names of columns."""
    with path.open(encoding="utf-8-sig") as file:
        cells = [cell.strip().strip('"') for cell in file.readline().split(",")]
    try:
        numbers = [float("nan" if cell.lower() in _MISSING else cell) for cell in cells]
    except ValueError:
        return False
    return len(numbers) == 1 or numbers != list(range(len(numbers)))
