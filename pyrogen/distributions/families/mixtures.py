"""Mixtures of Gaussians, for real values, and of discretized logistics, with the coupling of channels of PixelCNN++."""

from __future__ import annotations

from math import log, pi, sqrt

import torch
from torch import Tensor
from torch.distributions import constraints

from pyrogen.nets import positive_size

from ..discretized_logistic import DiscretizedLogistic
from ..unit_grid import UnitGrid, grid_index
from .conditional import Family, choose

__all__ = ["DiscretizedLogisticMixture", "GaussianMixture"]

_SMALLEST_LOG_SCALE = -7.0
"""For logistics of half of the grid's length, as in PixelCNN++: a scale of a tenth of a bin of 256."""


class GaussianMixture(Family):
    r"""K Gaussians with weights :math:`\pi_k`, independent over the channels within a component.

    .. math::
        p(x) = \sum_k \pi_k \prod_c \mathcal{N}(x_c \mid \mu_{kc}, s_{kc}^2).

    Reference:
        Uria, Murray, Larochelle (2013), *RNADE: The Real-valued Neural Autoregressive Density-Estimator*,
        https://arxiv.org/abs/1306.0186.

    Args:
        components: the number K of components.
        channels: numbers at a position.

    Example:
        >>> family = GaussianMixture(5)
        >>> family.log_prob(torch.zeros(2, family.outputs), torch.zeros(2, 1))
        tensor([-0.9189, -0.9189])
    """

    def __init__(self, components: int = 10, channels: int = 1) -> None:
        self.components = positive_size("components", components)
        self.channels = self.inputs = positive_size("channels", channels)
        self.outputs = components * (1 + 2 * channels)
        self.noise = 1 + channels

    @property
    def support(self) -> constraints.Constraint:
        """All real numbers."""
        return constraints.real

    def log_prob(self, parameters: Tensor, value: Tensor) -> Tensor:
        """See `Family.log_prob`."""
        logits, locations, log_scales = self._split(parameters)
        deviation = (value[:, :, None] - locations) * (-log_scales).exp()
        gaussian = -(deviation.square() + log(2 * pi)) / 2 - log_scales  # (N, channels, components, ...)
        return (logits.log_softmax(1) + gaussian.sum(1)).logsumexp(1)

    def draw(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """See `Family.draw`."""
        logits, locations, log_scales = self._split(parameters)
        chosen = choose(logits, noise[:, :1], 1)[:, None]  # (N, 1, 1, ...)
        chosen = chosen.expand(-1, self.channels, *chosen.shape[2:])
        # A uniform number may be 0, whose quantile is infinite.
        edge = 1 - torch.finfo(noise.dtype).eps
        quantile = sqrt(2) * torch.erfinv((2 * noise[:, 1:] - 1).clamp(-edge, edge))
        return locations.gather(2, chosen)[:, :, 0] + log_scales.gather(2, chosen)[:, :, 0].exp() * quantile

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (N, components, ...), locations and log scales (N, channels, components, ...)."""
        logits, others = parameters[:, : self.components], parameters[:, self.components :]
        count, _, *rest = others.shape
        others = others.reshape(count, 2, self.channels, self.components, *rest)  # (N, 2, channels, components, ...)
        return logits, others[:, 0], others[:, 1].clamp(min=_SMALLEST_LOG_SCALE)


class DiscretizedLogisticMixture(Family):
    r"""K components, each with a logistic for every channel whose location depends on the channels before.

    With values scaled to :math:`x \in [-1, 1]`, weights :math:`\pi_k` and the mass DL of a logistic in a bin,

    .. math::
        P(x) = \sum_k \pi_k \prod_c \mathrm{DL}\Big(x_c \,\Big|\,
        \mu_{kc} + \sum_{d < c} \tanh(\alpha_{kcd})\, x_d,\ s_{kc}\Big).

    The channels of a pixel share the component.

    Reference:
        Salimans, Karpathy, Chen, Kingma (2017), *PixelCNN++: Improving the PixelCNN with Discretized Logistic Mixture
        Likelihood and Other Modifications*, https://arxiv.org/abs/1701.05517.

    Args:
        components: the number K of components.
        channels: numbers at a position, such as 3 for colours.
        bins: number of values of the grid ``0, 1/(bins-1), ..., 1``; 256 for 8-bit pixels divided by 255.

    Example:
        >>> DiscretizedLogisticMixture(10, channels=3).outputs
        100
    """

    def __init__(self, components: int = 10, channels: int = 1, bins: int = 256) -> None:
        self.components, self.bins = positive_size("components", components), positive_size("bins", bins, least=2)
        self.channels = self.inputs = positive_size("channels", channels)
        self.outputs = components * (1 + 2 * channels + channels * (channels - 1) // 2)
        self.noise = 1 + channels

    @property
    def support(self) -> constraints.Constraint:
        """The grid."""
        return UnitGrid(self.bins)

    def encode(self, value: Tensor) -> Tensor:
        """See `Family.encode`."""
        return 2 * value - 1

    def log_prob(self, parameters: Tensor, value: Tensor) -> Tensor:
        """See `Family.log_prob`."""
        logits, locations, log_scales, couplings = self._split(parameters)
        total = logits.log_softmax(1)  # (N, components, ...)
        for channel in range(self.channels):
            location = self._location(locations, couplings, 2 * value - 1, channel)
            mass = DiscretizedLogistic(*_unit(location, log_scales[channel]), bins=self.bins, validate_args=False)
            total = total + mass.log_prob(value[:, channel, None])
        return total.logsumexp(1)

    def draw(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """See `Family.draw`."""
        logits, *others = self._split(parameters)
        chosen = choose(logits, noise[:, :1], 1)  # (N, 1, ...)
        locations, log_scales, couplings = ([x.gather(1, chosen) for x in part] for part in others)
        values: list[Tensor] = []
        for channel in range(self.channels):
            seen = 2 * torch.cat(values, 1) - 1 if values else noise[:, :0]
            location, scale = _unit(self._location(locations, couplings, seen, channel), log_scales[channel])
            logistic = location + scale * torch.logit(noise[:, channel + 1, None])
            values.append(grid_index(logistic, self.bins) / (self.bins - 1))
        return torch.cat(values, 1)

    def _split(self, parameters: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor], list[Tensor]]:
        """Logits, and for each channel locations and log scales, and for each pair a coupling: all (N, components, ...)."""
        logits, *others = parameters.split(self.components, 1)  # type: ignore[no-untyped-call]
        couplings = [x.tanh() for x in others[2 * self.channels :]]
        return logits, others[: self.channels], others[self.channels : 2 * self.channels], couplings

    @staticmethod
    def _location(locations: list[Tensor], couplings: list[Tensor], seen: Tensor, channel: int) -> Tensor:
        """The location of a channel given the values of those before it, both in [-1, 1]."""
        location, first = locations[channel], channel * (channel - 1) // 2
        for before in range(channel):
            location = location + couplings[first + before] * seen[:, before, None]
        return location


def _unit(location: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor]:
    """From [-1, 1] to [0, 1]."""
    return (location + 1) / 2, log_scale.clamp(min=_SMALLEST_LOG_SCALE).exp() / 2
