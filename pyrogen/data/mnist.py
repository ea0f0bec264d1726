"""MNIST, and every data set that comes in the same four files (Fashion-MNIST, KMNIST, ...).

Reference: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner (1998), "Gradient-based learning applied to document
recognition", https://doi.org/10.1109/5.726791
"""

from __future__ import annotations

from pathlib import Path

from ..errors import ConfigurationError, DataError
from .files import existing_folder
from .idx import read_idx
from .rows import Rows, Source

__all__ = ["read"]


def read(location: str, *, labels: bool, seed: int) -> Source:
    """Read `mnist:DIRECTORY`.

    Args:
        location: the folder with `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`,
            `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`, each plain or with `.gz`.
        labels: whether the two files of labels are read; they may be missing otherwise.

    Returns:
        The training rows, of which 1/12 is meant for validation (5000 of 60000), and the test rows, in the
        files' order.

    Raises:
        ConfigurationError: if no folder is named.
        DataError: if the folder or a file is missing or can't be read; see `read_idx`.

    Example:
        >>> read("nowhere", labels=False, seed=0)
        Traceback (most recent call last):
        ...
        pyrogen.errors.DataError: nowhere: no such folder: ...
    """
    if not location:
        raise ConfigurationError("mnist needs the folder of its four files: write mnist:DIRECTORY")
    folder = existing_folder(location)
    train = _part(folder, "train", labels)
    test = _part(folder, "t10k", labels)
    count = f"{len(train.values)} for training and {len(test.values)} for test"
    description = f"Grey images in the form of MNIST from {folder}: {count}."
    return Source("mnist", description, train, test, scale=255.0, validation=1 / 12)


def _part(folder: Path, prefix: str, labels: bool) -> Rows:
    images = _file(folder, f"{prefix}-images-idx3-ubyte")
    values = read_idx(images)
    if values.ndim != 3:
        raise DataError(f"{images}: an array of shape {values.shape}: images are (rows, height, width)")
    return Rows(str(images), values, read_idx(_file(folder, f"{prefix}-labels-idx1-ubyte")) if labels else None)


def _file(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    found = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
    raise DataError(f"{folder / name}: no such file, nor with .gz: the folder holds {found}; name MNIST's folder")
