"""The mean-field encoder."""

from __future__ import annotations

import pyro.distributions as dist
from torch import Tensor

from ..part import Net, elementwise, positive
from .encoder import Encoder

__all__ = ["GaussianEncoder"]


class GaussianEncoder(Encoder):
    r"""The diagonal Gaussian :math:`q(z \mid x) = \mathcal N(z; \mu(x), \operatorname{diag} \sigma(x)^2)`.

    The network gives :math:`\mu` and then the raw scale, which `positive` maps to :math:`\sigma`.

    Reference:
        Kingma, Welling (2014), *Auto-Encoding Variational Bayes*, https://arxiv.org/abs/1312.6114.

    Args:
        net: maps (..., features) to (..., 2 * latent), or makes such a network from the number of outputs.
        latent: number of latent dimensions.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> GaussianEncoder(nn.Linear(5, 4), latent=2)(torch.zeros(3, 5)).event_shape
        torch.Size([2])
    """

    def __init__(self, net: Net, latent: int) -> None:
        super().__init__(net, latent, outputs=2 * latent)

    def head(self, outputs: Tensor) -> dist.TorchDistribution:
        """See `Encoder.head`."""
        loc, raw_scale = outputs.chunk(2, dim=-1)  # (..., latent) each
        return elementwise(dist.Normal(loc, positive(raw_scale)))
