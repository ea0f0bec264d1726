"""The standard normal prior."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from pyrogen.nets import positive_size

from ..part import Part, elementwise

__all__ = ["StandardNormal"]


class StandardNormal(Part):
    r"""The prior :math:`p(z) = \mathcal N(z; 0, I)`.

    Example:
        >>> StandardNormal(20)().event_shape
        torch.Size([20])
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.latent = positive_size("latent", latent)
        self.register_buffer("loc", torch.zeros(self.latent))
        self.register_buffer("scale", torch.ones(self.latent))

    def forward(self, *context: Any) -> dist.TorchDistribution:
        """See `Part.forward`; there is no batch shape, and the context, if any, plays no role."""
        return elementwise(dist.Normal(self.loc, self.scale))
