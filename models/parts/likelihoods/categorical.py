"""The likelihood with a free probability for each value."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
from torch import Tensor

from pyrogen.distributions import GridCategorical
from pyrogen.errors import ConfigurationError
from pyrogen.nets import positive_size

from ..part import Net, elementwise
from .likelihood import Likelihood

__all__ = ["CategoricalLikelihood"]


class CategoricalLikelihood(Likelihood):
    """Independent elements on the grid ``{0, 1/(values-1), ..., 1}``, with a free probability for each value.

    Data of integers ``0, ..., values - 1`` are divided by ``values - 1`` before.

    Args:
        net: maps (..., latent) to (..., values * event): all elements' logits of the first value come first.
        values: number of values of an element; 256 for 8-bit pixels.

    Raises:
        ConfigurationError: `values` is not an integer of at least 2.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> CategoricalLikelihood(nn.Linear(2, 4 * 9), values=4)(torch.zeros(7, 2)).event_shape
        torch.Size([9])
    """

    def __init__(self, net: Net, values: int = 256) -> None:
        if positive_size("values", values) < 2:
            raise ConfigurationError("values must be an integer of at least 2, not 1")
        super().__init__(net, outputs=values)
        self.values = values

    def forward(self, z: Tensor, *context: Any) -> dist.TorchDistribution:
        """See `Part.forward`."""
        logits = self.net(z).unflatten(-1, (self.values, -1))  # (..., values, event)
        return elementwise(GridCategorical(logits.mT))  # logits: (..., event, values)
