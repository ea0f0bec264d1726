"""The likelihood whose elements depend on each other, given the latent."""

from __future__ import annotations

from math import prod
from typing import Any

from torch import Tensor

from pyrogen.distributions import Autoregressive
from pyrogen.distributions.families import Family
from pyrogen.errors import ConfigurationError
from pyrogen.nets.causal import CausalNetwork

from ..part import Net
from .likelihood import Likelihood

__all__ = ["AutoregressiveLikelihood"]


class AutoregressiveLikelihood(Likelihood):
    """A causal network conditioned on what another network makes of the latent.

    It has no mean in closed form: pictures of it are draws.

    Args:
        net: maps (..., latent) to the context, flattened, (..., all elements of `network.context_shape`), or makes such a
            network from that number.
        network: a causal network that takes a context.
        family: how a value is distributed given the causal network's outputs; `Bernoulli` if left out.

    Raises:
        ConfigurationError: the causal network takes no context.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from pyrogen.nets.causal import CausalLinear
        >>> AutoregressiveLikelihood(nn.Linear(2, 3), CausalLinear((9,), context=3))(torch.zeros(5, 7, 2)).batch_shape
        torch.Size([5, 7])
    """

    def __init__(self, net: Net, network: CausalNetwork, family: Family | None = None) -> None:
        if network.context_shape is None:
            raise ConfigurationError(
                f"this {type(network).__name__} takes no context, and so could not see the latent: give it context=FEATURES"
            )
        super().__init__(net, outputs=prod(network.context_shape))
        self.network, self.context_shape = network, network.context_shape
        self.family = family

    def forward(self, z: Tensor, *context: Any) -> Autoregressive:
        """See `Part.forward`."""
        seen: Tensor = self.net(z).unflatten(-1, self.context_shape)  # (..., features, *grid)
        found = Autoregressive(self.network, self.family, seen)
        return Autoregressive(self.network, found.family, seen, event_shape=(prod(found.event_shape),))

    def picture(self, z: Tensor, *context: Any) -> Tensor:
        """See `Likelihood.picture`."""
        return self(z).sample()
