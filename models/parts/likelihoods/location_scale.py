"""Likelihoods with a location for each element, and a scale that is fixed, shared, or each element's own."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrogen.distributions import DiscretizedLogistic
from pyrogen.errors import ConfigurationError
from pyrogen.nets import positive_size

from ..part import Net, elementwise, positive
from .likelihood import Likelihood

__all__ = ["DiscretizedLogisticLikelihood", "GaussianLikelihood", "Scale"]

Scale: TypeAlias = float | Literal["shared", "each"]
"""A fixed scale; ``"shared"``: one trained number; ``"each"``: a second output of the network per element."""

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
        Rybkin, Daniilidis, Levine (2021), *Simple and Effective VAE Training with Calibrated Decoders*,
        https://arxiv.org/abs/2006.13202.

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
        if positive_size("bins", bins) < 2:
            raise ConfigurationError("bins must be an integer of at least 2, not 1")
        self.bins = bins

    def forward(self, z: Tensor, *context: Any) -> dist.TorchDistribution:
        """See `Part.forward`."""
        return elementwise(DiscretizedLogistic(*self.location_scale(z), bins=self.bins))
