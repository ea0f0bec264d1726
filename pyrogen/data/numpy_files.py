"""Arrays that NumPy saved. Nothing is unpickled: loading a file never runs code from it."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from ..errors import DataError
from .files import existing_file, require_memory
from .rows import Array, RawRows, Source

__all__ = ["read_npy", "read_npz"]

_TRAIN = ("x", "train", "x_train")
_TEST = ("test", "x_test")
_TRAIN_LABELS = ("y", "labels", "y_train", "train_labels")
_TEST_LABELS = ("y_test", "test_labels")


def read_npy(location: str, *, labels: bool, seed: int) -> Source:
    """Read one array.

    Raises:
        DataError: if the file is missing, empty, damaged, or holds objects.
    """
    path = existing_file(location)
    with path.open("rb") as file:
        values = _array(path, file, path.stat().st_size)
    return Source(path.stem, f"The array in {path}, of shape {values.shape}.", RawRows(str(path), values))


def read_npz(location: str, *, labels: bool, seed: int) -> Source:
    """Read several arrays by their names.

    Training rows are called `x`, `train` or `x_train`, or have any name if there is nothing else but labels;
    test rows `test` or `x_test`; labels `y`, `labels`, `y_train` or `train_labels`, those of test rows
    `y_test` or `test_labels`.

    Raises:
        DataError: if the file is missing, empty, damaged, or holds objects, or if no array is clearly the rows.
    """
    path = existing_file(location)

    def rows_of(name: str, known_labels: tuple[str, ...]) -> RawRows:
        marks = _one(path, names, known_labels) if labels else None
        values = _member(path, file, name)
        return RawRows(f"{path}[{name}]", values, None if marks is None else _member(path, file, marks))

    try:
        with zipfile.ZipFile(path) as file:
            names = [name.removesuffix(".npy") for name in file.namelist() if name.endswith(".npy")]
            rows = rows_of(_one(path, names, _TRAIN) or _only(path, names), _TRAIN_LABELS)
            test = _one(path, names, _TEST)
            held_out = None if test is None else rows_of(test, _TEST_LABELS)
    except DataError:
        raise
    except Exception as error:  # whatever a damaged archive makes of zipfile and of the libraries that unpack
        raise DataError(f"{path}: not an .npz file, or a damaged one ({error}): write it again") from error
    return Source(path.stem, f"The arrays in {path}, of shape {rows.values.shape}.", rows, held_out)


def _member(path: Path, file: zipfile.ZipFile, name: str) -> Array:
    """An array of an archive.

    Raises:
        DataError: if it is encrypted, which its own header may say where the archive's does not, or damaged.
    """
    found = file.getinfo(f"{name}.npy")
    with path.open("rb") as raw:
        raw.seek(found.header_offset + 6)
        flags = int.from_bytes(raw.read(2), "little") | found.flag_bits
    if flags & 1:
        raise DataError(f"{path}[{name}]: encrypted: save it without a password")
    with file.open(found) as member:
        return _array(f"{path}[{name}]", member, found.file_size)


def _array(where: object, file: IO[bytes], size: int) -> Array:
    """The array in a file that has, or is said to have, so many bytes; what claims more is refused before it is read."""
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        claimed = math.prod(shape) * dtype.itemsize
        require_memory(where, claimed)
        if claimed > size and not dtype.hasobject:
            raise ValueError(f"{claimed:,} bytes for shape {shape}, of {size:,}")
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)
    except (DataError, zipfile.BadZipFile, zlib.error):
        raise
    except Exception as error:  # NumPy reads a header as Python: whatever a damaged one makes of that
        raise _unreadable(where, error) from error


def _one(path: Path, names: list[str], known: tuple[str, ...]) -> str | None:
    found = [name for name in known if name in names]
    if len(found) > 1:
        raise DataError(f"{path}: the arrays {found} mean the same: keep one of them")
    return found[0] if found else None


def _only(path: Path, names: list[str]) -> str:
    rest = [name for name in names if name not in _TEST + _TRAIN_LABELS + _TEST_LABELS]
    if len(rest) != 1:
        raise DataError(f"{path}: no array is called {', '.join(_TRAIN)}: its arrays are {names}; rename the rows' one")
    return rest[0]


def _unreadable(where: object, error: Exception) -> DataError:
    if "allow_pickle" in str(error):
        return DataError(f"{where}: an array of Python objects isn't loaded: save numbers, in rows of one length")
    return DataError(f"{where}: not a NumPy array, or a damaged one ({error}): write it again")
