"""From the rows of a source to the splits of a data set: who is trained on, who is held out.

The test rows are drawn first, so that they are the same whatever fraction validation gets; what is left is
training's and validation's. A row belongs to one split only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ..errors import ConfigurationError, DataError
from .binarize import BINARIZATIONS, Binarization, binarize
from .dataset import Dataset
from .rows import Array, RawRows, Source, checked, within_unit_interval
from .split import Split
from .streams import Stream, generator

__all__ = ["Preparation", "prepare"]

# Axes: data (rows, N), event (flattened values of one row, D).


@dataclass(frozen=True)
class Preparation:
    """How rows become a data set: the options of `load`, which explains them, checked.

    Raises:
        ConfigurationError: for an option that can't be used.
    """

    binarize: Binarization = "none"
    labels: bool = False
    validation: float | None = None
    test: float = 0.1
    scale: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.binarize not in BINARIZATIONS:
            raise ConfigurationError(f"binarize={self.binarize!r}: choose one of {', '.join(BINARIZATIONS)}")
        if self.validation is not None and not 0 <= self.validation < 1:
            raise ConfigurationError(f"validation={self.validation!r}: give a fraction, at least 0 and less than 1")
        if not 0 < self.test < 1:
            raise ConfigurationError(f"test={self.test!r}: give a fraction, greater than 0 and less than 1")
        if self.scale is not None and not 0 < self.scale < math.inf:
            raise ConfigurationError(f"scale={self.scale!r}: values are divided by it, so give a finite positive number")
        if self.seed < 0:
            raise ConfigurationError(f"seed={self.seed!r}: give an integer, at least 0")


def prepare(source: Source, preparation: Preparation) -> Dataset:
    """Check, split, scale and binarize a source's rows.

    Raises:
        DataError: for rows that can't serve as data (see `checked`), values outside [0, 1] that should be
            binarized, integers of unknown range, and fewer rows than splits.
        ConfigurationError: for scaling or binarizing real values whose density is known: it would no longer
            be theirs.

    Example:
        >>> source = Source("rows", "Ten rows.", RawRows("here", np.arange(20).reshape(10, 2)))
        >>> data = prepare(source, Preparation(validation=0.0))
        >>> len(data.train), data.validation, len(data.test)
        (9, None, 1)
    """
    source = checked(source, labels=preparation.labels)
    scale = _scale(source, preparation)
    held_out = source.train if source.test is None else source.test
    if preparation.binarize != "none":
        for rows in (source.train, held_out):
            within_unit_interval(rows, scale)

    def split(rows: RawRows, numbers: npt.NDArray[np.int64], stream: Stream) -> Split:
        """The rows of these numbers, flattened, scaled and binarized."""
        values = rows.values[numbers].reshape(len(numbers), -1).astype(np.float32)  # (data, event)
        if scale != 1:
            values /= np.float32(scale)
        drawn, evaluation = binarize(values, preparation.binarize, generator(preparation.seed, stream))
        shape = rows.values.shape[1:]
        return Split(
            values=torch.from_numpy(drawn),
            labels=None if rows.labels is None else torch.from_numpy(rows.labels[numbers]),
            shape=(1, *shape) if len(shape) == 2 else shape,  # grey images have one channel
            name=f"{source.name}/{stream.name.lower()}",
            binarize=preparation.binarize,
            seed=preparation.seed,
            evaluation=None if evaluation is None else torch.from_numpy(evaluation),
        )

    train, validation, test = _partition(source, preparation)
    return Dataset(
        name=source.name,
        description=source.description,
        train=split(source.train, train, Stream.TRAIN),
        validation=split(source.train, validation, Stream.VALIDATION) if len(validation) else None,
        test=split(held_out, np.arange(len(held_out.values)) if source.test else test, Stream.TEST),
        density=source.density,
    )


def _scale(source: Source, preparation: Preparation) -> float:
    if source.density is not None and preparation.scale is not None:
        raise ConfigurationError(
            f"{source.name}: scale={preparation.scale!r} would change the known density: leave scale out"
        )
    if source.density is not None and not source.density.binary and preparation.binarize != "none":
        raise ConfigurationError(
            f"{source.name}: binarize={preparation.binarize!r} would change the known density: leave binarize out"
        )
    scale = preparation.scale or source.scale or _scale_of_type(source.train.values)
    if scale is None:
        raise DataError(
            f"{source.train.where}: images of type {source.train.values.dtype}, from which the greatest "
            "value can't be told: pass scale= (255 for 8-bit images), or save them as uint8"
        )
    return scale


def _scale_of_type(values: Array) -> float | None:
    """What divides values into [0, 1], judging by their type, or `None` for images of integers of unknown range."""
    if values.ndim < 3 or values.dtype.kind not in "iu":
        return 1.0
    if values.min() >= 0 and values.max() <= 1:
        return 1.0  # already binary: a division by 255 would turn it all but black
    return float(np.iinfo(values.dtype).max) if values.dtype in (np.uint8, np.uint16) else None


def _partition(source: Source, preparation: Preparation) -> list[npt.NDArray[np.int64]]:
    """Row numbers for training, validation and test; none for test where the source has rows of its own."""
    rows = len(source.train.values)
    order = generator(preparation.seed, Stream.PARTITION).permutation(rows)
    tested = 0 if source.test is not None else max(1, round(preparation.test * rows))
    fraction = source.validation if preparation.validation is None else preparation.validation
    validated = max(1, round(fraction * (rows - tested))) if fraction > 0 else 0
    if rows - tested - validated < 1:
        raise DataError(
            f"{source.train.where}: {rows} rows are too few: {tested} for test and {validated} for "
            "validation leave none for training; lower test= or validation=, or bring more rows"
        )
    test, validation, train = np.split(order, [tested, tested + validated])
    return [train, validation, test]
