"""Synthetic data: draws from distributions whose log density is known exactly.

What a model says about log p(x) can be held against the truth on them. The distribution itself depends on its
options alone, and the rows on the seed: data sets of different seeds are replicates.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol, cast

import numpy as np

from ..errors import ConfigurationError
from .dataset import Density
from .densities import BernoulliMixture, ProbabilisticPCA, Rings, SphericalGaussianMixture
from .rows import Array, RawRows, Source
from .streams import Stream, generator

__all__ = ["DISTRIBUTIONS", "Synthetic", "read"]


class Synthetic(Density, Protocol):
    """A known distribution that can be drawn from; see `Density` for how to add one."""

    def sample(self, rows: int, generator: np.random.Generator) -> tuple[Array, Array | None]:
        """Draw rows: values, float64, (data, event), and the component of each, int64, (data,), if there are components."""
        ...


DISTRIBUTIONS: dict[str, type[Synthetic]] = {
    "gaussian-mixture": SphericalGaussianMixture,
    "linear-gaussian": ProbabilisticPCA,
    "bernoulli-mixture": BernoulliMixture,
    "rings": Rings,
}
"""The distributions by name; the fields of the class are its options."""


def read(location: str, *, labels: bool, seed: int) -> Source:
    """Draw `synthetic:DISTRIBUTION` or `synthetic:DISTRIBUTION?OPTION=NUMBER,OPTION=NUMBER`.

    Every distribution has the option `n`, the number of rows (2000); the others are the fields of its class in
    `DISTRIBUTIONS`, such as `d` for dimensions and `k` for components, which are the labels of mixtures.

    Raises:
        ConfigurationError: for an unknown distribution or option, or a number that can't be used.

    Example:
        >>> read("gaussian-mixture?n=50,d=3", labels=False, seed=0).train.values.shape
        (50, 3)
    """
    name, _, options = location.partition("?")
    if name not in DISTRIBUTIONS:
        known = "; ".join(f"{name}?{_written(_defaults(name))}" for name in DISTRIBUTIONS)
        raise ConfigurationError(f"unknown distribution synthetic:{name}: give one of {known}")
    numbers = _parse(name, options)
    rows = int(numbers.pop("n"))
    if rows < 1:
        raise ConfigurationError(f"synthetic:{location}: n={rows}: draw at least one row")
    distribution = DISTRIBUTIONS[name](**numbers)
    values, components = distribution.sample(rows, generator(seed, Stream.SAMPLE))
    where = f"synthetic:{name}"
    return Source(where, f"{rows} draws of {distribution}.", RawRows(where, values, components), density=distribution)


def _defaults(name: str) -> dict[str, int | float]:
    fields = dataclasses.fields(cast(Any, DISTRIBUTIONS[name]))  # a Protocol can't say: a dataclass
    return {"n": 2000, **{field.name: cast(float, field.default) for field in fields}}


def _written(options: dict[str, int | float]) -> str:
    return ",".join(f"{option}={default}" for option, default in options.items())


def _parse(name: str, options: str) -> dict[str, int | float]:
    numbers = defaults = _defaults(name)
    for part in filter(None, options.split(",")):
        option, _, text = part.partition("=")
        if option not in defaults:
            raise ConfigurationError(f"synthetic:{name} has no option {option!r}: its options are {_written(defaults)}")
        whole = isinstance(defaults[option], int)
        try:
            numbers = {**numbers, option: int(text) if whole else float(text)}
        except ValueError:
            kind = "an integer" if whole else "a number"
            raise ConfigurationError(f"synthetic:{name}: {part!r}: {option} is {kind}") from None
    return numbers
