"""A Gaussian mean that all data share: a global latent, with the joint evidence in closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from math import prod

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrogen.errors import ConfigurationError
from pyrogen.nets import positive_sizes
from pyrogen.pair import Pair

from .parts import elementwise

__all__ = ["GlobalGaussian"]

# Named axes: particles, data, event.


class GlobalGaussian(Pair):
    r"""A shared mean outside the data plate and, if wanted, a latent of each datum inside.

    .. math::
        \mu \sim \mathcal N(0, \sigma_0^2 I), \qquad [\, z_i \sim \mathcal N(\mu, \sigma_1^2 I), \,] \qquad
        x_i \sim \mathcal N(z_i \text{ or } \mu, \sigma^2 I).

    There is evidence for all data together, but none for each. The guide is Gaussian in :math:`\mu`, of parameters that
    belong to one data set, and linear Gaussian in :math:`z_i` given :math:`\mu` and :math:`x_i`.

    Reference:
        Gelman, Carlin, Stern, Dunson, Vehtari, Rubin (2013), *Bayesian Data Analysis*, 3rd edition, section 5.4,
        https://sites.stat.columbia.edu/gelman/book/.

    Args:
        shape: shape of a datum; data arrive flattened.
        prior_scale: standard deviation :math:`\sigma_0` of the mean, in units of the data; fixed.
        noise: initial standard deviation :math:`\sigma` of the data.
        local_scale: initial standard deviation :math:`\sigma_1` of the local latents; ``None`` for a model without.

    Example:
        >>> pair = GlobalGaussian((1,))
        >>> x = torch.tensor([[0.5], [1.5]])
        >>> pair.set_exact_guide(x)
        >>> bool(torch.allclose(pair.joint_elbo(x), pair.joint_log_evidence(x)))
        True
    """

    prior_loc: Tensor
    prior_scale: Tensor

    def __init__(
        self,
        shape: Sequence[int] = (1,),
        prior_scale: float = 1.0,
        noise: float = 1.0,
        local_scale: float | None = None,
    ) -> None:
        super().__init__()
        event = prod(positive_sizes("shape", shape))
        for name, value in (("prior_scale", prior_scale), ("noise", noise), ("local_scale", local_scale)):
            if value is not None and not 0 < value < math.inf:
                raise ConfigurationError(f"{name} must be a positive number, not {value!r}")
        self.register_buffer("prior_loc", torch.zeros(event))
        self.register_buffer("prior_scale", torch.full((event,), float(prior_scale)))
        self.log_noise = nn.Parameter(torch.tensor(math.log(noise)))
        self.guide_loc = nn.Parameter(torch.zeros(event))
        self.guide_log_scale = nn.Parameter(torch.zeros(event))
        self.has_local = local_scale is not None
        if local_scale is not None:
            self.log_local_scale = nn.Parameter(torch.tensor(math.log(local_scale)))
            self.local_weights = nn.Parameter(torch.full((2,), 0.5))  # of x and of mu
            self.local_bias = nn.Parameter(torch.zeros(event))
            self.local_guide_log_scale = nn.Parameter(torch.zeros(()))

    def model(self, x: Tensor) -> None:
        """Sites ``mu``, global, ``z`` if there is one, and ``x``, observed, all of event shape (event,)."""
        loc = pyro.sample("mu", elementwise(dist.Normal(self.prior_loc, self.prior_scale)))
        with pyro.plate(self.data_plate, len(x), dim=-1):
            if self.has_local:
                loc = pyro.sample("z", elementwise(dist.Normal(loc, self.log_local_scale.exp())))
            pyro.sample("x", elementwise(dist.Normal(loc, self.log_noise.exp())), obs=x)

    def guide(self, x: Tensor) -> None:
        """Sites ``mu`` and, if there is one, ``z``; `x` has shape (data, event)."""
        mu = pyro.sample("mu", elementwise(dist.Normal(self.guide_loc, self.guide_log_scale.exp())))
        if self.has_local:
            of_x, of_mu = self.local_weights.unbind()
            loc = of_x * x + of_mu * mu + self.local_bias  # (..., data, event)
            with pyro.plate(self.data_plate, len(x), dim=-1):
                pyro.sample("z", elementwise(dist.Normal(loc, self.local_guide_log_scale.exp())))

    def joint_log_evidence(self, x: Tensor) -> Tensor:
        r"""Exact log p(x) of all data (data, event) together, in nats, shape ().

        In each element the data have covariance :math:`v I + \sigma_0^2 1 1^\top`, :math:`v` being the variance given
        the mean, and split into their mean :math:`\bar x` and the deviations from it:

        .. math::
            -\tfrac12 \Big( n \log 2\pi + (n-1) \log v + \log(v + n \sigma_0^2)
            + \sum_i \frac{(x_i - \bar x)^2}{v} + \frac{n \bar x^2}{v + n \sigma_0^2} \Big).
        """
        count, variance = len(x), self._variance_given_mean()
        mean = x.mean(0)  # (event,)
        total = variance + count * self.prior_scale.square()  # (event,)
        deviations = (x - mean).square().sum(0)  # (event,)
        logs = count * math.log(2 * math.pi) + (count - 1) * variance.log() + total.log()
        return -(logs + deviations / variance + count * mean.square() / total).sum() / 2

    def joint_posterior(self, x: Tensor) -> dist.TorchDistribution:
        """The exact posterior of ``mu`` given all data (data, event): no batch shape, event shape (event,)."""
        variance = self._variance_given_mean()
        precision = self.prior_scale.square().reciprocal() + len(x) / variance  # (event,)
        return elementwise(dist.Normal(x.sum(0) / variance / precision, precision.rsqrt()))

    def joint_elbo(self, x: Tensor) -> Tensor:
        """The exact ELBO of the guide as it is, of all data (data, event) together, in nats, shape (); differentiable."""
        prior = elementwise(dist.Normal(self.prior_loc, self.prior_scale))
        guide = elementwise(dist.Normal(self.guide_loc, self.guide_log_scale.exp()))
        kl: Tensor = torch.distributions.kl_divergence(guide, prior)
        spread = (2 * self.guide_log_scale).exp()  # (event,)
        if not self.has_local:
            return _expected_log_normal(x - self.guide_loc, spread, self.log_noise).sum() - kl
        of_x, of_mu = self.local_weights.unbind()
        loc = of_x * x + of_mu * self.guide_loc + self.local_bias  # (data, event)
        local = (2 * self.local_guide_log_scale).exp()
        z = _expected_log_normal(loc - self.guide_loc, (of_mu - 1).square() * spread + local, self.log_local_scale)
        likelihood = _expected_log_normal(x - loc, of_mu.square() * spread + local, self.log_noise)
        entropy = x.numel() * (self.local_guide_log_scale + (1 + math.log(2 * math.pi)) / 2)
        return (z + likelihood).sum() + entropy - kl

    @torch.no_grad()
    def set_exact_guide(self, x: Tensor, offset: float = 0.0, scale: float = 1.0) -> None:
        """Set the guide to the exact posterior given a data set, or to one that is off by a known amount.

        Args:
            x: the data set, shape (data, event).
            offset: distance of the mean of ``mu`` from the right one, in right standard deviations.
            scale: factor of the standard deviation of ``mu``.
        """
        posterior = self.joint_posterior(x)
        right = posterior.variance.sqrt()
        self.guide_loc.copy_(posterior.mean + offset * right)
        self.guide_log_scale.copy_((scale * right).log())
        if self.has_local:
            precisions = torch.stack([-2 * self.log_noise, -2 * self.log_local_scale]).exp()  # (2,)
            self.local_weights.copy_(precisions / precisions.sum())
            self.local_bias.zero_()
            self.local_guide_log_scale.copy_(precisions.sum().log() / -2)

    def _variance_given_mean(self) -> Tensor:
        variance = (2 * self.log_noise).exp()
        return variance + (2 * self.log_local_scale).exp() if self.has_local else variance


def _expected_log_normal(deviation: Tensor, variance: Tensor, log_scale: Tensor) -> Tensor:
    """Expectation of a Normal's log density where its argument has a known mean deviation and variance."""
    square = (deviation.square() + variance) / (2 * log_scale).exp()
    return -(square + math.log(2 * math.pi)) / 2 - log_scale
