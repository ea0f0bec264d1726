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
from .rows import Rows, Source, checked, event_shape, within_unit_interval
from .split import Split
from .streams import Stream, generator

__all__ = ["Preparation", "prepare"]

# Axes: data (rows, N), event (flattened values of one row, D).

_Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Preparation:
    """How rows become a data set: the options of `load`, which explains them, checked.

    Raises:
        ConfigurationError: for an option that can't be used.

    Example:
        >>> Preparation(binarize="dynamic").test
        0.1
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

    Args:
        source: what a reader found.
        preparation: the options.

    Returns:
        The data set, on the CPU.

    Raises:
        DataError: for rows that can't serve as data (see `checked`), values outside [0, 1] that should be
            binarized, integers of unknown range, and fewer rows than splits.
        ConfigurationError: for scaling or binarizing real values whose density is known: it would no longer
            be theirs.

    Example:
        >>> source = Source("rows", "Ten rows.", Rows("here", np.arange(20).reshape(10, 2)))
        >>> data = prepare(source, Preparation(validation=0.0))
        >>> len(data.train), data.validation, len(data.test)
        (9, None, 1)
    """
    source = checked(source, labels=preparation.labels)
    scale = _scale(source, preparation)
    if preparation.binarize != "none":
        within_unit_interval(source.train, scale)
        if source.test is not None:
            within_unit_interval(source.test, scale)

    train, validation, test = _partition(source, preparation)
    held_out = source.train if source.test is None else source.test
    return Dataset(
        name=source.name,
        description=source.description,
        train=_split(source.train, train, f"{source.name}/train", Stream.TRAIN, scale, preparation),
        validation=None
        if validation is None
        else _split(source.train, validation, f"{source.name}/validation", Stream.VALIDATION, scale, preparation),
        test=_split(held_out, test, f"{source.name}/test", Stream.TEST, scale, preparation),
        density=source.density,
    )


def _split(rows: Rows, numbers: _Numbers | None, name: str, stream: Stream, scale: float, preparation: Preparation) -> Split:
    """The rows of these numbers, or all, flattened, scaled and binarized."""
    numbers = np.arange(len(rows.values)) if numbers is None else numbers
    values = rows.values[numbers].reshape(len(numbers), -1).astype(np.float32)  # (data, event)
    if scale != 1:
        values /= np.float32(scale)
    drawn, evaluation = binarize(values, preparation.binarize, generator(preparation.seed, stream))
    return Split(
        values=torch.from_numpy(drawn),
        labels=None if rows.labels is None else torch.from_numpy(rows.labels[numbers]),
        shape=event_shape(rows.values),
        name=name,
        binarize=preparation.binarize,
        seed=preparation.seed,
        evaluation=None if evaluation is None else torch.from_numpy(evaluation),
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
    scale = source.scale if preparation.scale is None else preparation.scale
    if scale is None:
        raise DataError(
            f"{source.train.where}: images of type {source.train.values.dtype}, from which the greatest "
            "value can't be told: pass scale= (255 for 8-bit images), or save them as uint8"
        )
    return scale


def _partition(source: Source, preparation: Preparation) -> tuple[_Numbers, _Numbers | None, _Numbers | None]:
    """Row numbers for training, validation (`None` for no split) and test (`None` for the source's own)."""
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
    return train, validation if validated else None, test if source.test is None else None
