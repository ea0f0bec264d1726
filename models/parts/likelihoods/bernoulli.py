"""Likelihoods of one logit for each element."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
from torch import Tensor

from pyrogen.distributions import ContinuousBernoulli

from ..part import Net, elementwise
from .likelihood import Likelihood

__all__ = ["BernoulliLikelihood", "ContinuousBernoulliLikelihood"]


class BernoulliLikelihood(Likelihood):
    """Independent elements in {0, 1}; the network gives their logits.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> BernoulliLikelihood(nn.Linear(2, 9))(torch.zeros(5, 7, 2)).batch_shape
        torch.Size([5, 7])
    """

    def __init__(self, net: Net) -> None:
        super().__init__(net, outputs=1)

    def forward(self, z: Tensor, *context: Any) -> dist.TorchDistribution:
        """See `Part.forward`."""
        return elementwise(dist.Bernoulli(logits=self.net(z)))


class ContinuousBernoulliLikelihood(Likelihood):
    """Independent elements in [0, 1], of a density exponential in the value; the network gives their logits.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> ContinuousBernoulliLikelihood(nn.Linear(2, 9)).mean(torch.zeros(7, 2)).shape
        torch.Size([7, 9])
    """

    def __init__(self, net: Net) -> None:
        super().__init__(net, outputs=1)

    def forward(self, z: Tensor, *context: Any) -> dist.TorchDistribution:
        """See `Part.forward`."""
        return elementwise(ContinuousBernoulli(self.net(z)))
