"""What a likelihood is, those of independent elements, and the one whose elements depend on each other."""

from __future__ import annotations

from math import prod
from typing import Any, Literal, TypeAlias

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrogen.distributions import Autoregressive, ContinuousBernoulli, DiscretizedLogistic, GridCategorical
from pyrogen.distributions.families import Family
from pyrogen.errors import ConfigurationError
from pyrogen.nets import positive_size
from pyrogen.nets.causal import CausalNetwork

from ..part import Net, Part, elementwise, made_net, positive

__all__ = [
    "AutoregressiveLikelihood",
    "BernoulliLikelihood",
    "CategoricalLikelihood",
    "ContinuousBernoulliLikelihood",
    "DiscretizedLogisticLikelihood",
    "GaussianLikelihood",
    "Likelihood",
    "Scale",
]

Scale: TypeAlias = float | Literal["shared", "each"]
"""A fixed scale; ``"shared"``: one trained number; ``"each"``: a second output of the network per element."""


class Likelihood(Part):
    """A part that maps a latent, and what else is known, to the distribution of a datum.

    To write one, say in ``super().__init__(net, outputs)`` how many numbers it needs for each element of a datum, and
    define ``forward``, which calls the network `net`; see `Part`. Its event is (event,).

    Args:
        net: maps (..., latent) to (..., outputs * event), or makes such a network from `outputs`.
        outputs: how many numbers an element takes.
    """

    def __init__(self, net: Net, outputs: int) -> None:
        super().__init__()
        self.net = made_net(net, outputs)

    def mean(self, z: Tensor, *context: Any) -> Tensor:
        """The mean datum given a latent, shape (..., event), in units of the data."""
        return self(z, *context).mean

    def picture(self, z: Tensor, *context: Any) -> Tensor:
        """What to show of a latent: the mean datum; of a likelihood that has none in closed form, a draw."""
        return self.mean(z, *context)


class BernoulliLikelihood(Likelihood):
    """Independent elements in {0, 1}; the network gives their logits.

    Example:
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
        >>> ContinuousBernoulliLikelihood(nn.Linear(2, 9)).mean(torch.zeros(7, 2)).shape
        torch.Size([7, 9])
    """

    def __init__(self, net: Net) -> None:
        super().__init__(net, outputs=1)

    def forward(self, z: Tensor, *context: Any) -> dist.TorchDistribution:
        """See `Part.forward`."""
        return elementwise(ContinuousBernoulli(self.net(z)))


class CategoricalLikelihood(Likelihood):
    """Independent elements on the grid ``{0, 1/(values-1), ..., 1}``, with a free probability for each value.

    Data of integers ``0, ..., values - 1`` are divided by ``values - 1`` before.

    Args:
        net: maps (..., latent) to (..., values * event): all elements' logits of the first value come first.
        values: number of values of an element; 256 for 8-bit pixels.

    Raises:
        ConfigurationError: `values` is not an integer of at least 2.

    Example:
        >>> CategoricalLikelihood(nn.Linear(2, 4 * 9), values=4)(torch.zeros(7, 2)).event_shape
        torch.Size([9])
    """

    def __init__(self, net: Net, values: int = 256) -> None:
        super().__init__(net, outputs=positive_size("values", values, least=2))
        self.values = values

    def forward(self, z: Tensor, *context: Any) -> dist.TorchDistribution:
        """See `Part.forward`."""
        logits = self.net(z).unflatten(-1, (self.values, -1))  # (..., values, event)
        return elementwise(GridCategorical(logits.mT))  # logits: (..., event, values)


_INITIAL_RAW_SCALE = -1.26
"""`positive` of this is 0.25, about the spread of a pixel's values in [0, 1]."""


class _LocationScaleLikelihood(Likelihood):
    """A likelihood with a location and a scale of any of the kinds that `Scale` lists."""

    def __init__(self, net: Net, scale: Scale = "shared") -> None:
        super().__init__(net, outputs=2 if scale == "each" else 1)
        self.kind = scale
        if scale == "shared":
            self.raw_scale = nn.Parameter(torch.tensor(_INITIAL_RAW_SCALE))
        elif isinstance(scale, (int, float)) and not isinstance(scale, bool) and 0 < scale < torch.inf:
            self.register_buffer("fixed_scale", torch.tensor(float(scale)))
        elif scale != "each":
            raise ConfigurationError(f"scale must be a positive number, 'shared' or 'each', not {scale!r}")

    def location_scale(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Location, of shape (..., event), and a scale that broadcasts with it."""
        if self.kind == "each":
            loc, raw_scale = self.net(z).chunk(2, dim=-1)  # (..., event) each
            return loc, positive(raw_scale)
        scale = positive(self.raw_scale) if self.kind == "shared" else self.get_buffer("fixed_scale")
        return self.net(z), scale


class GaussianLikelihood(_LocationScaleLikelihood):
    """Independent real elements; the network gives their means.

    Args:
        net: maps (..., latent) to (..., event), or to (..., 2 * event) with ``scale="each"``: means first.
        scale: a fixed scale in units of the data; ``"shared"`` for one trained number, the stable choice; ``"each"`` for a
            scale of each element, which shrinks to `SCALE_FLOOR` where an element never varies.

    Reference:
        Rybkin et al. (2021), *Simple and Effective VAE Training with Calibrated Decoders*, https://arxiv.org/abs/2006.13202.

    Raises:
        ConfigurationError: `scale` is none of these.

    Example:
        >>> GaussianLikelihood(nn.Linear(2, 9), scale=0.1)(torch.zeros(7, 2)).event_shape
        torch.Size([9])
    """

    def forward(self, z: Tensor, *context: Any) -> dist.TorchDistribution:
        """See `Part.forward`."""
        return elementwise(dist.Normal(*self.location_scale(z)))


class DiscretizedLogisticLikelihood(_LocationScaleLikelihood):
    """Independent elements on the grid ``{0, 1/(bins-1), ..., 1}``, with the mass of a logistic in each bin.

    Args:
        net: maps (..., latent) to (..., event), or to (..., 2 * event) with ``scale="each"``: locations first.
        scale: as of `GaussianLikelihood`, in units of the grid's length 1.
        bins: number of values of an element; 256 for 8-bit pixels.

    Raises:
        ConfigurationError: `scale` or `bins` cannot be used.

    Example:
        >>> DiscretizedLogisticLikelihood(nn.Linear(2, 18), scale="each")(torch.zeros(7, 2)).event_shape
        torch.Size([9])
    """

    def __init__(self, net: Net, scale: Scale = "shared", bins: int = 256) -> None:
        super().__init__(net, scale)
        self.bins = positive_size("bins", bins, least=2)

    def forward(self, z: Tensor, *context: Any) -> dist.TorchDistribution:
        """See `Part.forward`."""
        return elementwise(DiscretizedLogistic(*self.location_scale(z), bins=self.bins))


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
