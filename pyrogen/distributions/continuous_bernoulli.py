"""The continuous Bernoulli distribution, normalized for every logit.

`torch.distributions.ContinuousBernoulli` takes its normalizer from probabilities clamped to one unit in the
last place of 0 and 1: in float32 its density at a logit of 30 is off by 0.63 nats per pixel.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints, register_kl

from .unit_grid import Expandable

__all__ = ["ContinuousBernoulli"]

_SERIES_BELOW = 0.25
"""Below this logit the closed forms lose digits, and a power series, exact to 1e-17 there, is used."""
_LOG_SINHC = (1 / 6, -1 / 180, 1 / 2835, -1 / 37800, 1 / 467775)
"""Coefficients of u^2, u^4, ... in log(sinh(u)/u)."""


class ContinuousBernoulli(Expandable):
    r"""The density on [0, 1] that is exponential in the value.

    With the logit :math:`\eta`,

    .. math::
        p(x) = \frac{\eta}{e^\eta - 1}\, e^{\eta x}, \qquad x \in [0, 1].

    Reference:
        Loaiza-Ganem, Cunningham (2019), *The continuous Bernoulli: fixing a pervasive error in variational
        autoencoders*, https://arxiv.org/abs/1907.06845.

    Args:
        logits: the natural parameter :math:`\eta`, any shape.

    Example:
        >>> ContinuousBernoulli(torch.tensor([-30.0, 0.0, 30.0])).mean
        tensor([0.0333, 0.5000, 0.9667])
    """

    arg_constraints = {"logits": constraints.real}  # noqa: RUF012 - as torch has it
    support = constraints.unit_interval

    def __init__(self, logits: Tensor, validate_args: bool | None = None) -> None:
        self.logits = logits
        super().__init__(logits.shape, validate_args=validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        r"""Log density, in nats; near 0 the normalizer is the series of :math:`\eta/2 + \log[\sinh(\eta/2)/(\eta/2)]`."""
        if self._validate_args:
            self._validate_sample(value)
        small, size = self._split()
        square = (self.logits.clamp(-_SERIES_BELOW, _SERIES_BELOW) / 2).square()
        near = self.logits * (value - 0.5) - _series(square, _LOG_SINHC)
        # A positive logit is a negative one with the interval turned round, so that nothing overflows or cancels.
        exponent = self.logits * torch.where(self.logits > 0, value - 1, value)
        far = exponent - torch.log(-torch.expm1(-size) / size)
        return torch.where(small, near, far)

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008 - an immutable, as torch has it
        """See `torch.distributions.Distribution.sample`."""
        shape = self._extended_shape(torch.Size(sample_shape))
        uniform = torch.rand(shape, dtype=self.logits.dtype, device=self.logits.device)
        # By inversion for a negative logit, mirrored for a positive one: no large exponential.
        size = self.logits.abs().clamp(min=torch.finfo(self.logits.dtype).eps)
        decreasing = (-torch.log1p(uniform * torch.expm1(-size)) / size).clamp(0, 1)
        return torch.where(self.logits > 0, 1 - decreasing, decreasing)

    @property
    def mean(self) -> Tensor:
        r"""The mean :math:`1/(1 - e^{-\eta}) - 1/\eta`."""
        small, size = self._split()
        half = self.logits.clamp(-_SERIES_BELOW, _SERIES_BELOW) / 2
        slopes = [power * coefficient for power, coefficient in enumerate(_LOG_SINHC, start=1)]
        near = 0.5 + _series(half.square(), slopes) / torch.where(half == 0, torch.ones_like(half), half)
        far = -1 / torch.expm1(-size) - 1 / size
        return torch.where(small, near, torch.where(self.logits > 0, far, 1 - far))

    @property
    def variance(self) -> Tensor:
        r"""The variance :math:`1/\eta^2 - e^\eta/(e^\eta - 1)^2`."""
        small, size = self._split()
        square = (self.logits.clamp(-_SERIES_BELOW, _SERIES_BELOW) / 2).square()
        curvatures = [k * (2 * k - 1) * coefficient / 2 for k, coefficient in enumerate(_LOG_SINHC, start=1)]
        near = curvatures[0] + _series(square, curvatures[1:])
        far = size.square().reciprocal() - (-size).exp() / torch.expm1(-size).square()
        return torch.where(small, near, far)

    def entropy(self) -> Tensor:
        """The differential entropy, in nats: the log density is linear in the value, so it is taken at the mean."""
        return -self.log_prob(self.mean)

    def _split(self) -> tuple[Tensor, Tensor]:
        """Where the series holds, and absolute logits that are safe for the closed forms, there as well."""
        size = self.logits.abs()
        small = size < _SERIES_BELOW
        return small, torch.where(small, torch.ones_like(size), size)


@register_kl(ContinuousBernoulli, ContinuousBernoulli)  # type: ignore[no-untyped-call, untyped-decorator]
def _divergence(p: ContinuousBernoulli, q: ContinuousBernoulli) -> Tensor:
    """The Kullback-Leibler divergence, in nats; both log densities are linear in the value."""
    mean = p.mean
    return p.log_prob(mean) - q.log_prob(mean)


def _series(square: Tensor, coefficients: Any) -> Tensor:
    """The sum of ``coefficient[k] * square**(k + 1)``, by Horner's rule."""
    total = torch.zeros_like(square)
    for coefficient in reversed(coefficients):
        total = (total + coefficient) * square
    return total
