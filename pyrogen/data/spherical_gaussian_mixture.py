"""A mixture of round Gaussians: modes that a model has to find and must not merge."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigurationError
from .rows import Array
from .streams import Stream, generator

__all__ = ["SphericalGaussianMixture"]

# Axes: data (rows, N), components (K), event (D).


@dataclass(frozen=True)
class SphericalGaussianMixture:
    """p(x) = Σ_k w_k N(x; m_k, s_k² I).

    The means are drawn from N(0, spread² I), the scales s_k evenly between 0.5 and 1, the weights w_k evenly
    from the simplex around 1/K, all from `instance`.

    Attributes:
        d: dimensions, D.
        k: components, K.
        spread: the standard deviation of the means.
        instance: the seed of the parameters.

    Raises:
        ConfigurationError: for numbers that can't be used.

    Example:
        >>> mixture = SphericalGaussianMixture(d=3)
        >>> mixture.log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])
    """

    d: int = 2
    k: int = 8
    spread: float = 4.0
    instance: int = 0

    binary = False  # see `Density.binary`

    def __post_init__(self) -> None:
        if self.d < 1 or self.k < 1 or not 0 <= self.spread < math.inf or self.instance < 0:
            raise ConfigurationError(f"{self}: d and k are at least 1, spread is finite, none is negative")

    def log_prob(self, x: Tensor) -> Tensor:
        """See `Density.log_prob`."""
        weights, means, scales = (torch.from_numpy(array).to(x.device) for array in self.parameters())
        distance = (x.double()[:, None] - means).square().sum(-1)  # (data, components)
        normal = -0.5 * distance / scales.square() - self.d * (scales.log() + 0.5 * math.log(2 * math.pi))
        return (weights.log() + normal).logsumexp(-1)  # (data,)

    def sample(self, rows: int, generator: np.random.Generator) -> tuple[Array, Array | None]:
        """See `Synthetic.sample`."""
        weights, means, scales = self.parameters()
        component = generator.choice(self.k, size=rows, p=weights)  # (data,)
        noise = generator.standard_normal((rows, self.d))
        return means[component] + scales[component, None] * noise, component

    def parameters(self) -> tuple[Array, Array, Array]:
        """Weights (components,), means (components, event) and scales (components,), float64.

        Example:
            >>> [array.shape for array in SphericalGaussianMixture(d=3, k=2).parameters()]
            [(2,), (2, 3), (2,)]
        """
        random = generator(self.instance, Stream.INSTANCE)
        weights = random.dirichlet(np.full(self.k, 10.0))
        means = self.spread * random.standard_normal((self.k, self.d))
        return weights, means, random.uniform(0.5, 1.0, self.k)
