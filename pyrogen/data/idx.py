"""IDX files, plain or gzipped: a header that says type and shape, then the numbers. MNIST is four of them.

Reference: Y. LeCun, C. Cortes, C. Burges (1998), "The MNIST database of handwritten digits",
https://web.archive.org/web/2021/http://yann.lecun.com/exdb/mnist/
"""

from __future__ import annotations

import gzip
import io
import math
import struct
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from ..errors import ConfigurationError, DataError
from .files import MOST_INFLATION, existing_file, existing_folder, require_memory
from .rows import Array, RawRows, Source

__all__ = ["read", "read_idx", "read_mnist"]

# The third byte of the header; numbers are stored with the highest byte first.
_MOST_AXES = 32  # of NumPy before its second version
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
    packed = path.read_bytes()
    if not packed.startswith(b"\x1f\x8b"):  # how every gzip file begins
        return _array(path, io.BytesIO(packed), len(packed))
    try:
        with gzip.open(io.BytesIO(packed)) as file:
            return _array(path, file, MOST_INFLATION * len(packed))
    except EOFError as error:
        raise DataError(f"{path}: the gzip file ends too early, at byte {len(packed)}: fetch it again") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: a damaged gzip file ({error}): fetch it again") from error


def _array(path: Path, file: IO[bytes] | gzip.GzipFile, most: int) -> Array:
    """The array in an open IDX file of at most so many bytes; no more are read than its header says."""
    raw = file.read(4)
    if len(raw) < 4:
        raise DataError(f"{path}: {len(raw)} bytes are too few for the header of an IDX file: fetch it again")
    if raw[:2] != b"\0\0" or raw[2] not in _TYPES:
        raise DataError(
            f"{path}: not an IDX file: its magic number is 0x{raw[:4].hex()}, but 0x0000 followed by a type "
            f"({', '.join(f'0x{code:02x}' for code in _TYPES)}) was expected: check that it is the right file"
        )
    axes = raw[3]
    start = 4 + 4 * axes
    header = file.read(4 * axes)
    if len(header) < 4 * axes:
        raise DataError(f"{path}: the file ends within its header, at byte {4 + len(header)} of {start}: fetch it again")
    if axes > _MOST_AXES:
        raise DataError(f"{path}: {axes} axes, and an array has at most {_MOST_AXES}: the header is damaged; fetch it again")
    shape = struct.unpack(f">{axes}I", header)
    stored = np.dtype(_TYPES[raw[2]])
    size = math.prod(shape) * stored.itemsize
    require_memory(path, size)
    # What cannot be there is not asked for; one byte more than there should be shows that there are too many.
    values = file.read(min(size, most) + 1)
    if len(values) < size:
        end, expected = start + len(values), start + size
        raise DataError(f"{path}: the file ends too early, at byte {end} of {expected} for shape {shape}: fetch it again")
    if len(values) > size:
        raise DataError(f"{path}: bytes too many for shape {shape}: the header is damaged; fetch it again")
    return np.frombuffer(values, dtype=stored).reshape(shape).astype(stored.newbyteorder("="))


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
