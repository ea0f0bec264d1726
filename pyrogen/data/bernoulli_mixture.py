"""A mixture of independent bits: binary data whose probabilities can be summed over all of 2^D values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigurationError
from .rows import Array
from .streams import Stream, generator

__all__ = ["BernoulliMixture"]

# Axes: data (rows, N), components (K), event (D).


@dataclass(frozen=True)
class BernoulliMixture:
    """p(x) = Σ_k w_k Π_j p_kj^x_j (1 - p_kj)^(1 - x_j).

    The probabilities p_kj are drawn from Beta(0.5, 0.5) and kept within [0.02, 0.98], the weights w_k around
    1/K, all from `instance`.

    Attributes:
        d: dimensions, D.
        k: components, K.
        instance: the seed of the parameters.

    Raises:
        ConfigurationError: for numbers that can't be used.

    Example:
        >>> BernoulliMixture(d=3).log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])
    """

    d: int = 10
    k: int = 4
    instance: int = 0

    binary = True  # see `Density.binary`

    def __post_init__(self) -> None:
        if self.d < 1 or self.k < 1 or self.instance < 0:
            raise ConfigurationError(f"{self}: d and k are at least 1, instance isn't negative")

    def log_prob(self, x: Tensor) -> Tensor:
        """See `Density.log_prob`; x has probability 0 if a value is neither 0 nor 1."""
        weights, probabilities = (torch.from_numpy(array).to(x.device) for array in self.parameters())
        values = x.double()
        on, off = probabilities.log().T, torch.log1p(-probabilities).T  # (event, components)
        given = values @ on + (1 - values) @ off  # (data, components)
        binary = ((values == 0) | (values == 1)).all(-1)  # (data,)
        return (weights.log() + given).logsumexp(-1).where(binary, -torch.inf)  # (data,)

    def sample(self, rows: int, generator: np.random.Generator) -> tuple[Array, Array | None]:
        """See `Synthetic.sample`."""
        weights, probabilities = self.parameters()
        component = generator.choice(self.k, size=rows, p=weights)  # (data,)
        on = generator.random((rows, self.d)) < probabilities[component]  # (data, event)
        return on.astype(np.float64), component

    def parameters(self) -> tuple[Array, Array]:
        """Weights (components,) and probabilities (components, event), float64.

        Example:
            >>> [array.shape for array in BernoulliMixture(d=3, k=2).parameters()]
            [(2,), (2, 3)]
        """
        random = generator(self.instance, Stream.INSTANCE)
        weights = random.dirichlet(np.full(self.k, 10.0))
        return weights, random.beta(0.5, 0.5, (self.k, self.d)).clip(0.02, 0.98)
