r"""Likelihoods of pixels and features: parts that map a latent to the distribution of a datum.

All of them are for data flattened to ``event`` elements and all of the named ones take images with pixels
in [0, 1], each with its own support, so that what a likelihood cannot explain is refused where validation
is on:

==================== ========================= =================================================
name                 data                      outputs of the network, per element
==================== ========================= =================================================
bernoulli            0 or 1                    1, the logit
continuous-bernoulli [0, 1]                    1, the logit
gaussian             any real number           1, the mean (the scale is one trained number)
categorical          the grid 0, 1/255, ..., 1 256, a logit for each value
discretized-logistic the grid 0, 1/255, ..., 1 1, the location (the scale is one trained number)
==================== ========================= =================================================

Several outputs lie parameter by parameter, as ``chunk`` takes them apart: all elements' first, then all
second ones.

Named axes: ``...`` any leading dimensions, ``latent``, ``event``, ``values``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrogen.distributions import ContinuousBernoulli, DiscretizedLogistic, GridCategorical
from pyrogen.errors import ConfigurationError
from pyrogen.nets import positive_size

from .parts import Part, elementwise, positive

__all__ = [
    "LIKELIHOODS",
    "BernoulliLikelihood",
    "CategoricalLikelihood",
    "ContinuousBernoulliLikelihood",
    "DiscretizedLogisticLikelihood",
    "GaussianLikelihood",
    "Likelihood",
    "Scale",
    "make_likelihood",
]

Scale: TypeAlias = float | Literal["shared", "each"]
"""A fixed scale; ``"shared"``: one trained number; ``"each"``: a second output of the network per element."""

_INITIAL_RAW_SCALE = -1.26
"""`positive` of this is 0.25, about the spread of a pixel's values in [0, 1]."""


class Likelihood(Part):
    """A part that maps a latent, and what else is known, to the distribution of a datum.

    To write one, see `Part`; the network is the attribute `net`, and its event is (event,).

    Args:
        net: maps (..., latent) to (..., outputs per element * event).
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def mean(self, z: Tensor, *context: Any) -> Tensor:
        """The mean datum given a latent, the picture to show; shape (..., event), in units of the data."""
        return self(z, *context).mean  # type: ignore[no-any-return]


class BernoulliLikelihood(Likelihood):
    """Independent elements in {0, 1}; the network gives their logits.

    Example:
        >>> BernoulliLikelihood(nn.Linear(2, 9))(torch.zeros(5, 7, 2)).batch_shape
        torch.Size([5, 7])
    """

    def forward(self, z: Tensor, *context: Any) -> dist.TorchDistribution:
        """The distribution of data given latents of shape (..., latent)."""
        return elementwise(dist.Bernoulli(logits=self.net(z)))


class ContinuousBernoulliLikelihood(Likelihood):
    """Independent elements in [0, 1], of a density exponential in the value; the network gives their logits.

    Example:
        >>> ContinuousBernoulliLikelihood(nn.Linear(2, 9)).mean(torch.zeros(7, 2)).shape
        torch.Size([7, 9])
    """

    def forward(self, z: Tensor, *context: Any) -> dist.TorchDistribution:
        """The distribution of data given latents of shape (..., latent)."""
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

    def __init__(self, net: nn.Module, values: int = 256) -> None:
        super().__init__(net)
        if positive_size("values", values) < 2:
            raise ConfigurationError("values must be an integer of at least 2, not 1")
        self.values = values

    def forward(self, z: Tensor, *context: Any) -> dist.TorchDistribution:
        """The distribution of data given latents of shape (..., latent)."""
        logits = self.net(z).unflatten(-1, (self.values, -1))  # (..., values, event)
        return elementwise(GridCategorical(logits.mT))  # logits: (..., event, values)


class _LocationScaleLikelihood(Likelihood):
    """A likelihood with a location and a scale of any of the kinds that `Scale` lists."""

    def __init__(self, net: nn.Module, scale: Scale = "shared") -> None:
        super().__init__(net)
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
        scale: a fixed scale in units of the data; ``"shared"`` for one trained number, the stable choice;
            ``"each"`` for a scale of each element, which shrinks to `SCALE_FLOOR` where an element never
            varies.

    Reference:
        Rybkin, Daniilidis, Levine (2021), *Simple and Effective VAE Training with Calibrated Decoders*,
        https://arxiv.org/abs/2006.13202.

    Raises:
        ConfigurationError: `scale` is none of these.

    Example:
        >>> GaussianLikelihood(nn.Linear(2, 9), scale=0.1)(torch.zeros(7, 2)).event_shape
        torch.Size([9])
    """

    def forward(self, z: Tensor, *context: Any) -> dist.TorchDistribution:
        """The distribution of data given latents of shape (..., latent)."""
        return elementwise(dist.Normal(*self.location_scale(z)))


class DiscretizedLogisticLikelihood(_LocationScaleLikelihood):
    """Independent elements on the grid ``{0, 1/(bins-1), ..., 1}``, with the mass of a logistic in each bin.

    Args:
        net: maps (..., latent) to (..., event), or to (..., 2 * event) with ``scale="each"``: locations
            first.
        scale: as of `GaussianLikelihood`, in units of the grid's length 1.
        bins: number of values of an element; 256 for 8-bit pixels.

    Raises:
        ConfigurationError: `scale` or `bins` cannot be used.

    Example:
        >>> DiscretizedLogisticLikelihood(nn.Linear(2, 18), scale="each")(torch.zeros(7, 2)).event_shape
        torch.Size([9])
    """

    def __init__(self, net: nn.Module, scale: Scale = "shared", bins: int = 256) -> None:
        super().__init__(net, scale)
        if positive_size("bins", bins) < 2:
            raise ConfigurationError("bins must be an integer of at least 2, not 1")
        self.bins = bins

    def forward(self, z: Tensor, *context: Any) -> dist.TorchDistribution:
        """The distribution of data given latents of shape (..., latent)."""
        return elementwise(DiscretizedLogistic(*self.location_scale(z), bins=self.bins))


LIKELIHOODS: Mapping[str, tuple[int, Callable[[nn.Module], Likelihood]]] = MappingProxyType(
    {
        "bernoulli": (1, BernoulliLikelihood),
        "continuous-bernoulli": (1, ContinuousBernoulliLikelihood),
        "gaussian": (1, GaussianLikelihood),
        "categorical": (256, CategoricalLikelihood),
        "discretized-logistic": (1, DiscretizedLogisticLikelihood),
    }
)
"""For each name the network's outputs per element, and what makes the likelihood from the network."""


def make_likelihood(name: str, make_net: Callable[[int], nn.Module]) -> Likelihood:
    """A likelihood by its name.

    Args:
        name: a key of `LIKELIHOODS`.
        make_net: makes the network, given its number of outputs per element.

    Raises:
        ConfigurationError: no likelihood has that name.

    Example:
        >>> type(make_likelihood("gaussian", lambda outputs: nn.Linear(2, outputs * 9))).__name__
        'GaussianLikelihood'
    """
    if name not in LIKELIHOODS:
        raise ConfigurationError(f"no likelihood '{name}': choose one of {', '.join(LIKELIHOODS)}")
    outputs, make = LIKELIHOODS[name]
    return make(make_net(outputs))
