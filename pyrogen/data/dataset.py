"""A data set: its three splits, and its density where that is known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from ..errors import DataError
from .split import Split

__all__ = ["Dataset", "Density"]

# Axes: data (rows, N), event (flattened values of one row, D).


class Density(Protocol):
    """A distribution whose log density is known exactly, such as that of a synthetic data set.

    To add one, write a frozen dataclass whose fields, with defaults, are its options; give it these two
    members and `sample` (see `Synthetic`), and name it in the table of `synthetic.py`.

    Example:
        >>> from pyrogen.data import load
        >>> load("synthetic:rings?n=100").density
        Rings(k=3, noise=0.1)
    """

    @property
    def binary(self) -> bool:
        """Whether all values are 0 or 1, and `log_prob` a probability."""
        ...

    def log_prob(self, x: Tensor) -> Tensor:
        """The exact log density.

        Args:
            x: values, (data, event).

        Returns:
            log p(x) in nats, float64, (data,), on the device of `x`.
        """
        ...


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows for training, validation and test, which share no row.

    Attributes:
        name: the short name that results carry, such as `"mnist"`.
        description: one sentence for people: how many of what, and from where.
        train: the rows to learn from.
        validation: the rows to stop and to choose by, taken out of training; `None` with `validation=0.0`.
        test: the rows to report on.
        density: the distribution that the rows were drawn from, or `None` if nobody knows.

    Example:
        >>> from pyrogen.data import load
        >>> data = load("digits", binarize="threshold")
        >>> data.shape, len(data.train), len(data.validation), len(data.test)
        ((1, 8, 8), 1455, 162, 180)
    """

    name: str
    description: str
    train: Split
    validation: Split | None
    test: Split
    density: Density | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one datum, such as (1, 28, 28) or (D,)."""
        return self.train.shape

    def to(self, device: torch.device | str) -> Dataset:
        """The same data on another device, such as `"cuda"`; this data set stays where it is.

        Example:
            >>> from pyrogen.data import load
            >>> load("digits").to("meta").train.values.device.type
            'meta'
        """
        validation = None if self.validation is None else self.validation.to(device)
        return replace(self, train=self.train.to(device), validation=validation, test=self.test.to(device))

    def log_density(self, x: Tensor) -> Tensor:
        """The exact log density of the distribution that the rows were drawn from.

        The arguments and the result are those of `Density.log_prob`.

        Raises:
            DataError: if the distribution isn't known, as of all real data, or `x` has another shape.

        Example:
            >>> from pyrogen.data import load
            >>> data = load("synthetic:bernoulli-mixture?n=100,d=2")
            >>> every = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
            >>> round(data.log_density(every).exp().sum().item(), 6)
            1.0
        """
        if self.density is None:
            raise DataError(f"{self.name}: its true density isn't known: only synthetic data have one")
        if x.ndim != 2 or x.shape[1] != self.train.dimensions:
            raise DataError(
                f"{self.name}: log_density of an x of shape {tuple(x.shape)}: pass x as (rows, {self.train.dimensions})"
            )
        return self.density.log_prob(x)
