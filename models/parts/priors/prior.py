"""The standard normal prior, and one with several modes."""

from __future__ import annotations

import math
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrogen.nets import positive_size

from ..part import Part, elementwise, positive

__all__ = ["MixturePrior", "StandardNormal"]


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


class MixturePrior(Part):
    r"""A mixture of Gaussians, :math:`p(z) = \sum_c \pi_c \mathcal N(z; \mu_c, \operatorname{diag} \sigma_c^2)`.

    All of it is trained. It has no divergence in closed form, so that an ELBO samples it.

    Reference:
        Dilokthanakul et al. (2016), *Deep Unsupervised Clustering with Gaussian Mixture Variational Autoencoders*,
        https://arxiv.org/abs/1611.02648.

    Args:
        latent: number of dimensions.
        components: number of Gaussians, which start with equal weights, means drawn from a standard normal, and scale 1.

    Example:
        >>> MixturePrior(20, components=5)().event_shape
        torch.Size([20])
    """

    def __init__(self, latent: int, components: int = 10) -> None:
        super().__init__()
        shape = (positive_size("components", components), positive_size("latent", latent))
        self.logits = nn.Parameter(torch.zeros(components))
        self.locs = nn.Parameter(torch.randn(shape))
        self.raw_scales = nn.Parameter(torch.full(shape, math.log(math.e - 1)))  # softplus of it is 1

    def forward(self, *context: Any) -> dist.TorchDistribution:
        """See `Part.forward`; there is no batch shape, and the context, if any, plays no role."""
        components = elementwise(dist.Normal(self.locs, positive(self.raw_scales)))
        mixture: dist.TorchDistribution = dist.MixtureSameFamily(dist.Categorical(logits=self.logits), components)
        return mixture
