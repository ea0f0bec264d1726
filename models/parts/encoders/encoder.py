r"""What an encoder is: a network, and a head that makes a distribution of what the network gives."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import pyro.distributions as dist
from torch import Tensor

from pyrogen.nets import positive_size

from ..part import Net, Part, made_net

__all__ = ["Encoder"]


class Encoder(Part):
    r"""An approximate posterior :math:`q(z \mid x)` whose parameters a network gives.

    To write one, say in ``super().__init__(net, latent, outputs)`` how many numbers it needs of a datum, and define `head`,
    which makes the distribution of them. The network is then made for it, whatever its architecture.

    Args:
        net: maps (..., features) to (..., outputs), or makes such a network from the number of outputs.
        latent: number of latent dimensions.
        outputs: how many numbers the head takes.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> class PoissonEncoder(Encoder):
        ...     def __init__(self, net, latent):
        ...         super().__init__(net, latent, outputs=latent)
        ...     def head(self, outputs):
        ...         return dist.Poisson(outputs.exp()).to_event(1)
        >>> PoissonEncoder(lambda outputs: nn.Linear(5, outputs), latent=2)(torch.zeros(3, 5)).event_shape
        torch.Size([2])
    """

    def __init__(self, net: Net, latent: int, outputs: int) -> None:
        super().__init__()
        self.latent = positive_size("latent", latent)
        self.net = made_net(net, outputs)

    @abstractmethod
    def head(self, outputs: Tensor) -> dist.TorchDistribution:
        """The posterior of event shape (latent,) from what the network gives, shape (..., outputs)."""

    def forward(self, x: Tensor, *context: Any) -> dist.TorchDistribution:
        """The posterior of data of shape (..., features): batch shape (...), event shape (latent,)."""
        return self.head(self.net(x))
