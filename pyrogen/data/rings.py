"""Concentric rings in the plane: a density with holes, which no flow or mixture fits for nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigurationError
from .rows import Array

__all__ = ["Rings"]

# Axes: data (rows, N), rings (K), event (the plane, 2).


@dataclass(frozen=True)
class Rings:
    """A point runs evenly over one of K circles of radius 1, ..., K and is blurred by N(0, noise² I).

    p(x) = 1/K Σ_k (2π noise²)^-1 exp(-(|x|² + k²) / (2 noise²)) I_0(k |x| / noise²), where the modified
    Bessel function I_0 comes from integrating over the angle.

    Attributes:
        k: rings, K.
        noise: the standard deviation of the blur, in each direction.

    Raises:
        ConfigurationError: for numbers that can't be used.

    Example:
        >>> Rings().log_prob(torch.zeros(5, 2)).shape
        torch.Size([5])
    """

    k: int = 3
    noise: float = 0.1

    binary = False  # see `Density.binary`

    def __post_init__(self) -> None:
        if self.k < 1 or not 0 < self.noise < math.inf:
            raise ConfigurationError(f"{self}: k is at least 1, noise is positive")

    def log_prob(self, x: Tensor) -> Tensor:
        """See `Density.log_prob`."""
        radii = torch.arange(1, self.k + 1, dtype=torch.float64, device=x.device)  # (rings,)
        length = x.double().norm(dim=-1, keepdim=True)  # (data, 1)
        variance = self.noise**2
        # i0e(t) = exp(-t) I_0(t) doesn't overflow; its factor turns -(|x|² + k²) / 2 into -(|x| - k)² / 2.
        bessel = torch.special.i0e(radii * length / variance).log()
        ring = -0.5 * (length - radii).square() / variance + bessel - math.log(2 * math.pi * variance)  # (data, rings)
        log_prob: Tensor = ring.logsumexp(-1) - math.log(self.k)  # (data,)
        return log_prob

    def sample(self, rows: int, generator: np.random.Generator) -> tuple[Array, Array | None]:
        """See `Synthetic.sample`."""
        ring = generator.integers(self.k, size=rows)  # (data,)
        angle = generator.uniform(0, 2 * math.pi, rows)
        circle = np.stack([np.cos(angle), np.sin(angle)], axis=-1)  # (data, event)
        return (ring + 1)[:, None] * circle + self.noise * generator.standard_normal((rows, 2)), ring
