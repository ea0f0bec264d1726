"""IDX files, plain or gzipped: a header that says type and shape, then the numbers. MNIST is four of them.

Reference: Y. LeCun, C. Cortes, C. Burges (1998), "The MNIST database of handwritten digits",
https://web.archive.org/web/2021/http://yann.lecun.com/exdb/mnist/
"""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np

from ..errors import ConfigurationError, DataError
from .files import existing_file, existing_folder, file_bytes
from .rows import Array, RawRows, Source

__all__ = ["read", "read_idx", "read_mnist"]

# The third byte of the header; numbers are stored with the highest byte first.
_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read(location: str, *, labels: bool, seed: int) -> Source:
    """Read `idx:IMAGES` or `idx:IMAGES,LABELS`.

    Raises:
        ConfigurationError: if there are no or more than two paths.
        DataError: for files that can't be read; see `read_idx`.
    """
    paths = location.split(",")
    if len(paths) > 2 or not all(paths):
        raise ConfigurationError(f"idx:{location}: write idx:FILE or idx:IMAGES,LABELS")
    values = read_idx(paths[0])
    found = read_idx(paths[1]) if labels and len(paths) == 2 else None
    name = Path(paths[0]).name.removesuffix(".gz")
    return Source(name, f"The IDX file {paths[0]}, an array of shape {values.shape}.", RawRows(paths[0], values, found))


def read_mnist(location: str, *, labels: bool, seed: int) -> Source:
    """Read `mnist:DIRECTORY`: MNIST, or another data set of the same four files (Fashion-MNIST, KMNIST, ...).

    The folder holds `train-images-idx3-ubyte`, `t10k-images-idx3-ubyte` and, if labels are wanted,
    `train-labels-idx1-ubyte` and `t10k-labels-idx1-ubyte`, each plain or with `.gz`. 1/12 of the training rows is meant for
    validation (5000 of 60000).

    Reference:
        Y. LeCun, L. Bottou, Y. Bengio, P. Haffner (1998), "Gradient-based learning applied to document recognition",
        https://doi.org/10.1109/5.726791

    Raises:
        ConfigurationError: if no folder is named.
        DataError: if the folder or a file is missing or can't be read; see `read_idx`.
    """
    if not location:
        raise ConfigurationError("mnist needs the folder of its four files: write mnist:DIRECTORY")
    folder = existing_folder(location)
    train, test = (_mnist_part(folder, prefix, labels) for prefix in ("train", "t10k"))
    count = f"{len(train.values)} for training and {len(test.values)} for test"
    description = f"Grey images in the form of MNIST from {folder}: {count}."
    return Source("mnist", description, train, test, scale=255.0, validation=1 / 12)


def read_idx(location: str | Path) -> Array:
    """The array in an IDX file, plain or gzipped, in its own type and shape and the machine's byte order.

    Raises:
        DataError: if the file is missing, empty, damaged, not IDX, or shorter or longer than its header says.
    """
    path = existing_file(location)
    raw = file_bytes(path)
    if len(raw) < 4:
        raise DataError(f"{path}: {len(raw)} bytes are too few for the header of an IDX file: fetch it again")
    if raw[:2] != b"\0\0" or raw[2] not in _TYPES:
        raise DataError(
            f"{path}: not an IDX file: its magic number is 0x{raw[:4].hex()}, but 0x0000 followed by a type "
            f"({', '.join(f'0x{code:02x}' for code in _TYPES)}) was expected: check that it is the right file"
        )
    axes = raw[3]
    start = 4 + 4 * axes
    if len(raw) < start:
        raise DataError(f"{path}: the file ends within its header, at byte {len(raw)} of {start}: fetch it again")
    shape = struct.unpack(f">{axes}I", raw[4:start])
    stored = np.dtype(_TYPES[raw[2]])
    expected = start + math.prod(shape) * stored.itemsize
    if len(raw) < expected:
        raise DataError(
            f"{path}: the file ends too early, at byte {len(raw)} of {expected} for shape {shape}: fetch it again"
        )
    if len(raw) > expected:
        raise DataError(
            f"{path}: {len(raw) - expected} bytes too many for shape {shape}: the header is damaged; fetch it again"
        )
    return np.frombuffer(raw, dtype=stored, offset=start).reshape(shape).astype(stored.newbyteorder("="))


def _mnist_part(folder: Path, prefix: str, labels: bool) -> RawRows:
    images = _mnist_file(folder, f"{prefix}-images-idx3-ubyte")
    values = read_idx(images)
    if values.ndim != 3:
        raise DataError(f"{images}: an array of shape {values.shape}: images are (rows, height, width)")
    return RawRows(str(images), values, read_idx(_mnist_file(folder, f"{prefix}-labels-idx1-ubyte")) if labels else None)


def _mnist_file(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    found = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
    raise DataError(f"{folder / name}: no such file, nor with .gz: the folder holds {found}; name MNIST's folder")
