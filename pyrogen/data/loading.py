"""`load`, and the table of all sources that it knows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ..errors import ConfigurationError, DataError
from . import idx, image_files, numpy_files, scikit_learn, synthetic, tabular_files
from .binarize import Binarization
from .dataset import Dataset
from .partition import Preparation, prepare
from .rows import Array, RawRows, Reader, Source

__all__ = ["FAMILIES", "SUFFIXES", "from_arrays", "load"]

FAMILIES: dict[str, tuple[str, Reader]] = {
    "digits": ("digits", scikit_learn.read_digits),
    "mnist": ("mnist:DIRECTORY", idx.read_mnist),
    "idx": ("idx:FILE or idx:IMAGES,LABELS", idx.read),
    "images": ("images:DIRECTORY", image_files.read),
    "openml": ("openml:NAME or openml:NAME@VERSION", scikit_learn.read_openml),
    "synthetic": ("synthetic:DISTRIBUTION?OPTION=NUMBER,...", synthetic.read),
}
"""What stands before the colon, how the whole is written, and who reads it."""

SUFFIXES: dict[str, Reader] = {
    ".npy": numpy_files.read_npy,
    ".npz": numpy_files.read_npz,
    ".csv": tabular_files.read_csv,
    ".parquet": tabular_files.read_parquet,
}
"""Files that are known by their suffix, and who reads them."""


def load(
    source: str | Path,
    *,
    binarize: Binarization = "none",
    labels: bool = False,
    validation: float | None = None,
    test: float = 0.1,
    scale: float | None = None,
    seed: int = 0,
) -> Dataset:
    """Load a data set from a file, a folder, a library or a known distribution.

    | source | rows | scale |
    |---|---|---|
    | `digits` | scikit-learn's 1797 digits of 8x8 pixels | 16 |
    | `mnist:DIRECTORY` | the four IDX files of MNIST or a relative, with its own test set | 255 |
    | `idx:IMAGES`, `idx:IMAGES,LABELS` | any IDX files, plain or gzipped | by type |
    | `FILE.npy`, `FILE.npz` | arrays, the data first; for names see `numpy_files.read_npz` | by type |
    | `FILE.csv`, `FILE.parquet` | numeric columns; a column `label`, `target` or `y` can be the labels | 1 |
    | `images:DIRECTORY` | PNG or JPEG images of one size; subfolders are classes | by type |
    | `openml:NAME`, `openml:NAME@VERSION` | a table from openml.org; needs the network | 1 |
    | `synthetic:DISTRIBUTION?n=2000,...` | draws from a known distribution; see `synthetic.read` | 1 |

    "By type" means: images of 8 or 16 bits are divided into [0, 1] by the greatest number of their type;
    tables (rows of one axis), real numbers and images of 0 and 1 are left as they are.

    Args:
        source: as in the table; a path is recognised by its suffix.
        binarize: `"none"`; `"threshold"`, value > 0.5; `"static"`, one Bernoulli draw when loading;
            `"dynamic"`, a new Bernoulli draw for each training batch and one fixed draw for evaluation.
        labels: whether splits carry labels, and batches are pairs (values, labels). In tables, the label
            column is a value like any other unless labels are asked for.
        validation: the fraction of training rows to hold out for validation, 0.0 for none; `None` for the
            source's own: 1/12 for `mnist` (5000 rows), otherwise 1/10.
        test: the fraction of all rows to hold out for test, unless the source has a test set of its own.
        scale: what values are divided by; `None` for the source's own.
        seed: decides on the splitting, the static and the fixed draws, and the rows of synthetic data.

    Returns:
        The data set, on the CPU: rows flattened to float32, (data, event).

    Raises:
        ConfigurationError: for an unknown source or an option that can't be used.
        DataError: for files and values that can't serve as data.

    Example:
        >>> data = load("digits", binarize="dynamic")
        >>> data.train.draw().shape, data.test[:100].fixed().shape
        (torch.Size([1455, 64]), torch.Size([100, 64]))
    """
    preparation = Preparation(binarize, labels, validation, test, scale, seed)
    read, location = _reader(source)
    dataset = prepare(read(location, labels=labels, seed=seed), preparation)
    found = str(source)[: -len(location)] + ",".join(_absolute(part) for part in location.split(",")) if location else source
    loaded = {"data": str(found), **vars(preparation)}
    loaded["data_seed"] = loaded.pop("seed")
    parts = {name: getattr(dataset, name) for name in ("train", "validation", "test")}
    return replace(dataset, **{name: replace(part, loaded=loaded) for name, part in parts.items() if part is not None})


def from_arrays(
    train: npt.ArrayLike | Tensor,
    test: npt.ArrayLike | Tensor | None = None,
    *,
    train_labels: npt.ArrayLike | Tensor | None = None,
    test_labels: npt.ArrayLike | Tensor | None = None,
    name: str = "arrays",
    binarize: Binarization = "none",
    validation: float | None = None,
    test_fraction: float = 0.1,
    scale: float | None = None,
    seed: int = 0,
) -> Dataset:
    """Make a data set of arrays in memory, as `load` makes one of a file.

    Args:
        train, test: rows for training and for testing, (data, *event); all rows if `test` is `None`.
        train_labels, test_labels: their labels, (data,); batches have labels if they are given.
        name: what results call the data.
        test_fraction: the fraction of `train` to hold out for test if `test` is `None`.
        binarize, validation, scale, seed: see `load`.

    Returns:
        The data set, on the CPU: rows flattened to float32, (data, event), copied.

    Raises:
        ConfigurationError: for an option that can't be used.
        DataError: for values that can't serve as data.

    Example:
        >>> from_arrays(np.eye(10), name="eye").test
        Split('eye/test', 1 rows of (10,), binarize='none', seed=0, device='cpu')
    """
    preparation = Preparation(binarize, train_labels is not None, validation, test_fraction, scale, seed)
    rows = _rows(f"{name}, train", train, train_labels)
    held_out = None if test is None else _rows(f"{name}, test", test, test_labels)
    return prepare(Source(name, f"Arrays in memory, {len(rows.values)} rows.", rows, held_out), preparation)


def _reader(source: str | Path) -> tuple[Reader, str]:
    """The reader of a source, and the location to give to it."""
    if isinstance(source, str):
        family, _, location = source.partition(":")
        if family in FAMILIES:
            return FAMILIES[family][1], location
    suffix = Path(source).suffix.lower()
    if suffix in SUFFIXES:
        return SUFFIXES[suffix], str(source)
    known = [form for form, _ in FAMILIES.values()] + [f"FILE{suffix}" for suffix in SUFFIXES]
    raise ConfigurationError(f"unknown source {str(source)!r}: give one of {'; '.join(known)}")


def _absolute(path: str) -> str:
    """A path that holds in every folder; what is no path stays as it is."""
    return str(Path(path).resolve()) if Path(path).exists() else path


def _rows(where: str, values: npt.ArrayLike | Tensor, labels: npt.ArrayLike | Tensor | None) -> RawRows:
    def array(given: npt.ArrayLike | Tensor) -> Array:
        try:
            return given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
        except (TypeError, ValueError) as error:  # a type that NumPy lacks, or rows of different lengths
            raise DataError(f"{where}: not an array: {error}; give numbers in rows of one length") from error

    return RawRows(where, array(values), None if labels is None else array(labels))
