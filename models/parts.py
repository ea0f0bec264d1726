r"""Parts of a model: modules that map a context to a Pyro distribution.

A prior without a context, an encoder :math:`q(z \mid x)`, a likelihood :math:`p(x \mid z)`: each is a
`Part`, called like any module, and each can be taken out of a pair and replaced by another.

Named axes: ``...`` any leading dimensions, ``latent``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrogen.nets import positive_size

__all__ = ["SCALE_FLOOR", "GaussianEncoder", "Part", "StandardNormal", "elementwise", "positive"]

SCALE_FLOOR = 1e-4
"""Least scale that `positive` gives."""


class Part(nn.Module, ABC):
    """A module whose call returns a Pyro distribution.

    To write one, subclass, make the networks in ``__init__``, and define ``forward(*context)``. It must

    - return a distribution whose event is one datum: independent elements are declared with ``.to_event``;
    - keep every leading dimension of its context, of which there may be any number, as batch dimensions;
    - make tensors from its context or its own parameters and buffers (``x.new_zeros``), never on the
      default device.

    Example:
        >>> class Shifted(Part):
        ...     def forward(self, context):
        ...         return dist.Normal(context, 1.0).to_event(1)
        >>> Shifted()(torch.zeros(5, 7, 2)).batch_shape
        torch.Size([5, 7])
    """

    @abstractmethod
    def forward(self, *context: Any) -> dist.TorchDistribution:
        """The distribution given the context."""


class StandardNormal(Part):
    r"""The prior :math:`p(z) = \mathcal N(z; 0, I)`.

    Args:
        latent: number of dimensions.

    Raises:
        ConfigurationError: `latent` is not a positive integer.

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
        """The prior, with event shape (latent,) and no batch shape; the context, if any, plays no role."""
        return elementwise(dist.Normal(self.loc, self.scale))


class GaussianEncoder(Part):
    r"""The diagonal Gaussian :math:`q(z \mid x) = \mathcal N(z; \mu(x), \operatorname{diag} \sigma(x)^2)`.

    The network gives :math:`\mu` and then the raw scale, which `positive` maps to :math:`\sigma`.

    Reference:
        Kingma, Welling (2014), *Auto-Encoding Variational Bayes*, https://arxiv.org/abs/1312.6114.

    Args:
        net: maps (..., features) to (..., 2 * latent).
        latent: number of latent dimensions.

    Raises:
        ConfigurationError: `latent` is not a positive integer.

    Example:
        >>> GaussianEncoder(nn.Linear(5, 4), latent=2)(torch.zeros(3, 5)).event_shape
        torch.Size([2])
    """

    def __init__(self, net: nn.Module, latent: int) -> None:
        super().__init__()
        self.latent = positive_size("latent", latent)
        self.net = net

    def forward(self, x: Tensor, *context: Any) -> dist.TorchDistribution:
        """The posterior of data of shape (..., features): batch shape (...), event shape (latent,)."""
        loc, raw_scale = self.net(x).split(self.latent, dim=-1)  # (..., latent) each
        return elementwise(dist.Normal(loc, positive(raw_scale)))


def elementwise(elements: Any) -> dist.TorchDistribution:
    """Independent elements as one event: the last batch dimension becomes that of the event.

    Example:
        >>> elementwise(dist.Normal(torch.zeros(3, 2), 1.0)).event_shape
        torch.Size([2])
    """
    event: dist.TorchDistribution = elements.to_event(1)  # typed here, for Pyro leaves it untyped
    return event


def positive(raw: Tensor) -> Tensor:
    r"""A positive scale from an unconstrained number, :math:`\log(1 + e^r) + 10^{-4}`.

    Softplus and not the exponential: it grows only linearly, so that one step of an optimizer cannot
    multiply a scale by thousands and nothing overflows; and the derivative of the log scale stays within
    (0, 1], so that gradients do not explode as the scale shrinks. The floor keeps the density of an element
    that is predicted exactly, such as a pixel that is black in every image, finite.

    Args:
        raw: any shape.

    Returns:
        The same shape, each at least `SCALE_FLOOR`.

    Example:
        >>> positive(torch.tensor([-1e9, 0.0, 1e9]))
        tensor([1.0000e-04, 6.9325e-01, 1.0000e+09])
    """
    return nn.functional.softplus(raw) + SCALE_FLOOR
