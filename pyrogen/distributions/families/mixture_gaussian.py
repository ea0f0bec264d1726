"""Mixtures of Gaussians, for real values."""

from __future__ import annotations

from math import log, pi, sqrt

import torch
from torch import Tensor
from torch.distributions import constraints

from pyrogen.nets import positive_size

from .conditional import Family, choose

__all__ = ["GaussianMixture"]

_SMALLEST_LOG_SCALE = -7.0


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
