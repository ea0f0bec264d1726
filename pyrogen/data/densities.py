"""The distributions of synthetic data, whose log densities are known exactly.

Each is a frozen dataclass whose fields, with defaults, are the options of ``synthetic:NAME?OPTION=NUMBER,...``. Its
parameters are drawn from the seed `instance`. Numbers that can't be used are a `ConfigurationError`.
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

__all__ = ["BernoulliMixture", "ProbabilisticPCA", "Rings", "SphericalGaussianMixture"]

# Axes: data (rows, N), components (K), latent (L), event (D).


@dataclass(frozen=True)
class SphericalGaussianMixture:
    """p(x) = Σ_k w_k N(x; m_k, s_k² I): modes that a model has to find and must not merge.

    The means are drawn from N(0, spread² I), the scales s_k evenly between 0.5 and 1, the weights w_k around 1/K.

    Attributes:
        d: dimensions, D.
        k: components, K.
        spread: the standard deviation of the means.
        instance: the seed of the parameters.

    Example:
        >>> mixture = SphericalGaussianMixture(d=3, k=2)
        >>> mixture.log_prob(torch.zeros(5, 3)).shape, [array.shape for array in mixture.parameters()]
        (torch.Size([5]), [(2,), (2, 3), (2,)])
    """

    d: int = 2
    k: int = 8
    spread: float = 4.0
    instance: int = 0

    binary = False

    def __post_init__(self) -> None:
        if self.d < 1 or self.k < 1 or not 0 <= self.spread < math.inf or self.instance < 0:
            raise ConfigurationError(f"{self}: d and k are at least 1, spread is finite, none is negative")

    def log_prob(self, x: Tensor) -> Tensor:
        """See `Density.log_prob`."""
        weights, means, scales = _tensors(self.parameters(), x)
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
        """Weights (components,), means (components, event) and scales (components,), float64."""
        random = generator(self.instance, Stream.INSTANCE)
        weights = random.dirichlet(np.full(self.k, 10.0))
        means = self.spread * random.standard_normal((self.k, self.d))
        return weights, means, random.uniform(0.5, 1.0, self.k)


@dataclass(frozen=True)
class ProbabilisticPCA:
    """z ~ N(0, I), x ~ N(W z + b, noise² I); hence p(x) = N(x; b, W Wᵀ + noise² I).

    The rows of W have length 1 on average.

    Reference:
        M. Tipping, C. Bishop (1999), "Probabilistic principal component analysis", https://doi.org/10.1111/1467-9868.00196

    Attributes:
        d: dimensions, D.
        latent: latent dimensions, L.
        noise: the standard deviation of the observation.
        instance: the seed of W and b.

    Example:
        >>> pca = ProbabilisticPCA(d=3, latent=2)
        >>> pca.log_prob(torch.zeros(5, 3)).shape, [array.shape for array in pca.parameters()]
        (torch.Size([5]), [(3, 2), (3,)])
    """

    d: int = 8
    latent: int = 2
    noise: float = 0.3
    instance: int = 0

    binary = False

    def __post_init__(self) -> None:
        if self.d < 1 or self.latent < 1 or not 0 < self.noise < math.inf or self.instance < 0:
            raise ConfigurationError(f"{self}: d and latent are at least 1, noise is positive, instance isn't negative")

    def log_prob(self, x: Tensor) -> Tensor:
        """See `Density.log_prob`."""
        weight, bias = _tensors(self.parameters(), x)
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
        """W (event, latent) and b (event,), float64."""
        random = generator(self.instance, Stream.INSTANCE)
        weight = random.standard_normal((self.d, self.latent)) / math.sqrt(self.latent)
        return weight, random.standard_normal(self.d)


@dataclass(frozen=True)
class BernoulliMixture:
    """p(x) = Σ_k w_k Π_j p_kj^x_j (1 - p_kj)^(1 - x_j): probabilities that can be summed over all of 2^D values.

    The probabilities p_kj are drawn from Beta(0.5, 0.5) and kept within [0.02, 0.98], the weights w_k around 1/K.

    Attributes:
        d: dimensions, D.
        k: components, K.
        instance: the seed of the parameters.

    Example:
        >>> mixture = BernoulliMixture(d=3, k=2)
        >>> mixture.log_prob(torch.zeros(5, 3)).shape, [array.shape for array in mixture.parameters()]
        (torch.Size([5]), [(2,), (2, 3)])
    """

    d: int = 10
    k: int = 4
    instance: int = 0

    binary = True

    def __post_init__(self) -> None:
        if self.d < 1 or self.k < 1 or self.instance < 0:
            raise ConfigurationError(f"{self}: d and k are at least 1, instance isn't negative")

    def log_prob(self, x: Tensor) -> Tensor:
        """See `Density.log_prob`; x has probability 0 if a value is neither 0 nor 1."""
        weights, probabilities = _tensors(self.parameters(), x)
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
        """Weights (components,) and probabilities (components, event), float64."""
        random = generator(self.instance, Stream.INSTANCE)
        weights = random.dirichlet(np.full(self.k, 10.0))
        return weights, random.beta(0.5, 0.5, (self.k, self.d)).clip(0.02, 0.98)


@dataclass(frozen=True)
class Rings:
    """Concentric rings in the plane: a point runs evenly over one of K circles of radius 1, ..., K and is blurred.

    The blur is N(0, noise² I). No flow or mixture fits the holes for nothing.

    p(x) = 1/K Σ_k (2π noise²)^-1 exp(-(|x|² + k²) / (2 noise²)) I_0(k |x| / noise²), where the modified Bessel function I_0
    comes from integrating over the angle.

    Attributes:
        k: rings, K.
        noise: the standard deviation of the blur, in each direction.

    Example:
        >>> Rings().log_prob(torch.zeros(5, 2)).shape
        torch.Size([5])
    """

    k: int = 3
    noise: float = 0.1

    binary = False

    def __post_init__(self) -> None:
        if self.k < 1 or not 0 < self.noise < math.inf:
            raise ConfigurationError(f"{self}: k is at least 1, noise is positive")

    def log_prob(self, x: Tensor) -> Tensor:
        """See `Density.log_prob`."""
        radii = torch.arange(1, self.k + 1, dtype=torch.float64, device=x.device)  # (components,)
        length = x.double().norm(dim=-1, keepdim=True)  # (data, 1)
        variance = self.noise**2
        # i0e(t) = exp(-t) I_0(t) doesn't overflow; its factor turns -(|x|² + k²) / 2 into -(|x| - k)² / 2.
        bessel = torch.special.i0e(radii * length / variance).log()
        ring = -0.5 * (length - radii).square() / variance + bessel - math.log(2 * math.pi * variance)  # (data, components)
        log_prob: Tensor = ring.logsumexp(-1) - math.log(self.k)  # (data,)
        return log_prob

    def sample(self, rows: int, generator: np.random.Generator) -> tuple[Array, Array | None]:
        """See `Synthetic.sample`."""
        ring = generator.integers(self.k, size=rows)  # (data,)
        angle = generator.uniform(0, 2 * math.pi, rows)
        circle = np.stack([np.cos(angle), np.sin(angle)], axis=-1)  # (data, event)
        return (ring + 1)[:, None] * circle + self.noise * generator.standard_normal((rows, 2)), ring


def _tensors(arrays: tuple[Array, ...], x: Tensor) -> list[Tensor]:
    return [torch.from_numpy(array).to(x.device) for array in arrays]
