"""Synthetic data: draws from distributions whose log density is known exactly.

What a model says about log p(x) can be held against the truth on them. The distribution itself depends on its
options alone, and the rows on the seed: data sets of different seeds are replicates.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol, cast

import numpy as np

from ..errors import ConfigurationError
from .bernoulli_mixture import BernoulliMixture
from .dataset import Density
from .probabilistic_pca import ProbabilisticPCA
from .rings import Rings
from .rows import Array, Rows, Source
from .spherical_gaussian_mixture import SphericalGaussianMixture
from .streams import Stream, generator

__all__ = ["DISTRIBUTIONS", "Synthetic", "read"]

_ROWS = 2000


class Synthetic(Density, Protocol):
    """A known distribution that can be drawn from; see `Density` for how to add one.

    Example:
        >>> distribution: Synthetic = Rings(k=2)
        >>> distribution.sample(5, np.random.default_rng(0))[0].shape
        (5, 2)
    """

    def sample(self, rows: int, generator: np.random.Generator) -> tuple[Array, Array | None]:
        """Draw rows.

        Args:
            rows: how many.
            generator: where the draws come from.

        Returns:
            The values, float64, (data, event), and the component that each row came from, int64, (data,), or
            `None` if there are no components.
        """
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

    Every distribution has the option `n`, the number of rows (2000); the others are the fields of its class
    in `DISTRIBUTIONS`, such as `d` for dimensions and `k` for components.

    Args:
        location: the name and the options.
        labels: not used; the components are the labels of mixtures.
        seed: decides on the rows.

    Returns:
        All rows, with their density; they get split.

    Raises:
        ConfigurationError: for an unknown distribution or option, or a number that can't be used.

    Example:
        >>> read("gaussian-mixture?n=50,d=3", labels=False, seed=0).train.values.shape
        (50, 3)
    """
    name, _, options = location.partition("?")
    if name not in DISTRIBUTIONS:
        known = "; ".join(f"{name}?{_options(name)}" for name in DISTRIBUTIONS)
        raise ConfigurationError(f"unknown distribution synthetic:{name}: give one of {known}")
    numbers = _parse(name, options)
    rows = int(numbers.pop("n", _ROWS))
    if rows < 1:
        raise ConfigurationError(f"synthetic:{location}: n={rows}: draw at least one row")
    distribution = DISTRIBUTIONS[name](**numbers)
    values, components = distribution.sample(rows, generator(seed, Stream.SAMPLE))
    where = f"synthetic:{name}"
    description = f"{rows} draws of {distribution}."
    return Source(where, description, Rows(where, values, components), density=distribution)


def _defaults(name: str) -> dict[str, int | float]:
    defaults: dict[str, int | float] = {"n": _ROWS}
    for field in dataclasses.fields(cast(Any, DISTRIBUTIONS[name])):  # a Protocol can't say: a dataclass
        defaults[field.name] = cast(float, field.default)
    return defaults


def _options(name: str) -> str:
    """All options of a distribution with their defaults, as they are written."""
    return ",".join(f"{option}={default}" for option, default in _defaults(name).items())


def _parse(name: str, options: str) -> dict[str, int | float]:
    numbers: dict[str, int | float] = {}
    defaults = _defaults(name)
    for part in filter(None, options.split(",")):
        option, _, text = part.partition("=")
        if option not in defaults:
            raise ConfigurationError(f"synthetic:{name} has no option {option!r}: its options are {_options(name)}")
        try:
            numbers[option] = int(text) if isinstance(defaults[option], int) else float(text)
        except ValueError:
            kind = "an integer" if isinstance(defaults[option], int) else "a number"
            raise ConfigurationError(f"synthetic:{name}: {part!r}: {option} is {kind}") from None
    return numbers
