"""Probabilistic principal components: the latent-variable model whose evidence is Gaussian.

Reference: M. Tipping, C. Bishop (1999), "Probabilistic principal component analysis",
https://doi.org/10.1111/1467-9868.00196
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigurationError
from .rows import Array
from .streams import Stream, generator

__all__ = ["ProbabilisticPCA"]

# Axes: data (rows, N), latent (L), event (D).


@dataclass(frozen=True)
class ProbabilisticPCA:
    """z ~ N(0, I), x ~ N(W z + b, noise² I); hence p(x) = N(x; b, W Wᵀ + noise² I).

    W and b are drawn from `instance`; the rows of W have length 1 on average.

    Attributes:
        d: dimensions, D.
        latent: latent dimensions, L.
        noise: the standard deviation of the observation.
        instance: the seed of W and b.

    Raises:
        ConfigurationError: for numbers that can't be used.

    Example:
        >>> ProbabilisticPCA(d=3).log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])
    """

    d: int = 8
    latent: int = 2
    noise: float = 0.3
    instance: int = 0

    binary = False  # see `Density.binary`

    def __post_init__(self) -> None:
        if self.d < 1 or self.latent < 1 or not 0 < self.noise < math.inf or self.instance < 0:
            raise ConfigurationError(f"{self}: d and latent are at least 1, noise is positive, instance isn't negative")

    def log_prob(self, x: Tensor) -> Tensor:
        """See `Density.log_prob`."""
        weight, bias = (torch.from_numpy(array).to(x.device) for array in self.parameters())
        covariance = weight @ weight.T + self.noise**2 * torch.eye(self.d, dtype=weight.dtype, device=x.device)
        factor = torch.linalg.cholesky(covariance)  # (event, event)
        white = torch.linalg.solve_triangular(factor, (x.double() - bias).T, upper=False)  # (event, data)
        constant = factor.diagonal().log().sum() + 0.5 * self.d * math.log(2 * math.pi)
        log_prob: Tensor = -0.5 * white.square().sum(0) - constant  # (data,)
        return log_prob

    def sample(self, rows: int, generator: np.random.Generator) -> tuple[Array, Array | None]:
        """See `Synthetic.sample`."""
        weight, bias = self.parameters()
        latent = generator.standard_normal((rows, self.latent))
        return latent @ weight.T + bias + self.noise * generator.standard_normal((rows, self.d)), None

    def parameters(self) -> tuple[Array, Array]:
        """W (event, latent) and b (event,), float64.

        Example:
            >>> [array.shape for array in ProbabilisticPCA(d=3, latent=2).parameters()]
            [(3, 2), (3,)]
        """
        random = generator(self.instance, Stream.INSTANCE)
        weight = random.standard_normal((self.d, self.latent)) / math.sqrt(self.latent)
        return weight, random.standard_normal(self.d)
