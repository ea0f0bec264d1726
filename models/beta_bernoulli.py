"""The Beta-Bernoulli model: evidence, posterior and ELBO in closed form, for a latent that is no Gaussian."""

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

__all__ = ["BetaBernoulli"]

# Named axes: particles, data, event.


class BetaBernoulli(Pair):
    r"""A probability for each datum, and the datum its n tosses of a coin.

    .. math::
        \theta_i \sim \operatorname{Beta}(a, b), \qquad x_{ij} \sim \operatorname{Bernoulli}(\theta_i),
        \qquad q(\theta_i \mid x_i) = \operatorname{Beta}(a' + u s_i, \; b' + v (n - s_i))

    with :math:`s_i = \sum_j x_{ij}`. The evidence is :math:`B(a + s, b + n - s) / B(a, b)`, and the guide is exact where
    :math:`a' = a`, :math:`b' = b`, :math:`u = v = 1`. All six numbers are trained, on the log scale.

    Reference:
        Gelman, Carlin, Stern, Dunson, Vehtari, Rubin (2013), *Bayesian Data Analysis*, 3rd edition, section 2.4,
        https://sites.stat.columbia.edu/gelman/book/.

    Args:
        shape: shape of a datum, of n elements in {0, 1}; data arrive flattened.
        concentration1: initial prior count a of ones.
        concentration0: initial prior count b of zeros.

    Example:
        >>> pair = BetaBernoulli((3,))  # all counts of ones are equally probable under Beta(1, 1)
        >>> pair.log_evidence(torch.tensor([[0.0, 0.0, 0.0]])).exp()
        tensor([0.2500], grad_fn=<ExpBackward0>)
    """

    def __init__(self, shape: Sequence[int], concentration1: float = 1.0, concentration0: float = 1.0) -> None:
        super().__init__()
        self.event = prod(positive_sizes("shape", shape))
        for value in (concentration1, concentration0):
            if not 0 < value < math.inf:
                raise ConfigurationError(f"a concentration must be a positive number, not {value!r}")
        self.log_prior = nn.Parameter(torch.tensor([concentration1, concentration0]).log())  # log a, log b
        self.log_base = nn.Parameter(torch.zeros(2))  # log a', log b'
        self.log_slope = nn.Parameter(torch.zeros(2))  # log u, log v

    def model(self, x: Tensor) -> None:
        """Sites ``theta``, a scalar, and ``x``, observed; `x` has shape (data, event)."""
        with pyro.plate(self.data_plate, len(x), dim=-1):
            theta = pyro.sample("theta", _beta(self.log_prior.exp()))  # (..., data)
            probs = theta.unsqueeze(-1).expand(*theta.shape, self.event)  # (..., data, event)
            pyro.sample("x", elementwise(dist.Bernoulli(probs)), obs=x)

    def guide(self, x: Tensor) -> None:
        """Site ``theta``."""
        with pyro.plate(self.data_plate, len(x), dim=-1):
            pyro.sample("theta", _beta(self._concentrations(x)))

    def log_evidence(self, x: Tensor) -> Tensor:
        """Exact log p(x) of data (data, event), in nats, shape (data,)."""
        prior = self.log_prior.exp()
        return _log_beta(prior + self._counts(x)) - _log_beta(prior)

    def posterior(self, x: Tensor) -> dist.Beta:
        """The exact posterior of ``theta`` given data (data, event): batch shape (data,)."""
        return _beta(self.log_prior.exp() + self._counts(x))

    def elbo(self, x: Tensor) -> Tensor:
        r"""The exact ELBO of the guide as it is for data (data, event), in nats, shape (data,); differentiable.

        Under a guide of concentrations :math:`\alpha`, of sum :math:`\bar\alpha`, the expected log probabilities of a
        one and a zero are :math:`\ell = \psi(\alpha) - \psi(\bar\alpha)`, and with the counts
        :math:`k = (s, n - s)` and the prior's :math:`(a, b)` the bound is

        .. math::
            \sum (k + (a, b) - \alpha) \, \ell \; - \; \log B(a, b) + \log B(\alpha).
        """
        prior, guide = self.log_prior.exp(), self._concentrations(x)
        expected = torch.digamma(guide) - torch.digamma(guide.sum(-1, keepdim=True))  # (data, 2)
        energy = ((self._counts(x) + prior - guide) * expected).sum(-1)
        return energy - _log_beta(prior) + _log_beta(guide)

    @torch.no_grad()
    def set_exact_guide(self, offset: float = 0.0, scale: float = 1.0) -> None:
        """Set the guide to the exact posterior, or to one that is off by a known amount.

        Args:
            offset: prior count of ones that the guide has and the prior has not; more than minus the prior's.
            scale: factor of both concentrations: one below 1 makes the guide too wide.
        """
        right = self.log_prior.exp()
        right[0] += offset
        self.log_base.copy_((scale * right).log())
        self.log_slope.fill_(math.log(scale))

    def _concentrations(self, x: Tensor) -> Tensor:
        """The guide's concentrations of ones and zeros, shape (data, 2)."""
        return self.log_base.exp() + self.log_slope.exp() * self._counts(x)

    def _counts(self, x: Tensor) -> Tensor:
        """Ones and zeros in each datum, shape (data, 2)."""
        ones = x.sum(-1)
        return torch.stack([ones, self.event - ones], dim=-1)  # (data, 2)


def _beta(concentrations: Tensor) -> dist.Beta:
    """The Beta distribution of the last dimension's two concentrations."""
    return dist.Beta(concentrations[..., 0], concentrations[..., 1])


def _log_beta(concentrations: Tensor) -> Tensor:
    """Log of the Beta function of the last dimension's two numbers."""
    return torch.lgamma(concentrations).sum(-1) - torch.lgamma(concentrations.sum(-1))
