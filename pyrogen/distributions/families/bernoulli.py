"""Binary values at a position."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn import functional as F

from pyrogen.nets import positive_size

from .conditional import Family

__all__ = ["Bernoulli"]


class Bernoulli(Family):
    r"""Values 0 or 1; the network gives their logits :math:`l`: :math:`P(x) = \sigma(l)^x \sigma(-l)^{1-x}`.

    Args:
        channels: numbers at a position, independent of one another given the positions before.
        centred: whether the network's input is ``2 x - 1`` in place of ``x``, so that a zero from the padding is no value.

    Example:
        >>> Bernoulli().log_prob(torch.zeros(2, 1, 3), torch.ones(2, 1, 3)).exp()
        tensor([[0.5000, 0.5000, 0.5000],
                [0.5000, 0.5000, 0.5000]])
    """

    def __init__(self, channels: int = 1, centred: bool = False) -> None:
        self.channels = self.inputs = self.outputs = self.noise = positive_size("channels", channels)
        self.centred = centred

    @property
    def support(self) -> constraints.Constraint:
        """0 and 1."""
        return constraints.boolean

    def encode(self, value: Tensor) -> Tensor:
        """See `Family.encode`."""
        return 2 * value - 1 if self.centred else value

    def log_prob(self, parameters: Tensor, value: Tensor) -> Tensor:
        """See `Family.log_prob`."""
        return -F.binary_cross_entropy_with_logits(parameters, value, reduction="none").sum(1)

    def draw(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """See `Family.draw`."""
        return (noise < torch.sigmoid(parameters)).to(parameters.dtype)
