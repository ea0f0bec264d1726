"""The chi upper bound on log p(x), from the guide's weights.

Axes: particles, data.
"""

from __future__ import annotations

import math
from dataclasses import replace

from pyrogen.errors import ConfigurationError, require_at_least
from pyrogen.pareto import diagnosed_log_mean

from ..weights.chunks import Block
from ..weights.memory import DEFAULT_MAX_BYTES
from .estimate import BlockEstimate, Estimate, Estimator

__all__ = ["CUBO"]


class CUBO(Estimator):
    r"""The chi upper bound of order n: the log of the n-th moment of the weights.

    .. math::
        \mathrm{CUBO}_n(x) = \tfrac1n \log \mathrm E_{q(z|x)}\big[w^n\big]
        = \log p(x) + \tfrac{n-1}{n} D_n\big(p(z|x) \,\|\, q(z|x)\big) \ge \log p(x), \qquad w = p(x, z) / q(z|x),

    with Renyi's divergence :math:`D_n`. What is reported is its Monte Carlo estimate, the log of a mean, which lies *below*
    the bound in expectation, by about :math:`n` times half the squared standard error, and comes up to it only as particles
    grow. So it can lie below log p(x), and does where the weights' n-th power has a heavy tail: the k-hat reported is
    that of :math:`w^n`, n times as large as that of the weights. Where it is above 0.7 this is no bound of anything.

    Reference:
        Dieng, Tran, Ranganath, Paisley & Blei 2017, Variational Inference via chi Upper Bound Minimization,
        https://arxiv.org/abs/1611.00328

    Args:
        order: n, a number above 1.
        particles: particles for each datum.
        max_bytes: memory that an estimate may use.

    Raises:
        ConfigurationError: the order or the number of particles cannot be used.

    Example:
        >>> import torch
        >>> from pyrogen.models import LinearGaussianVAE
        >>> pair = LinearGaussianVAE((4,), latent=2, guide="full")
        >>> pair.set_exact_guide(scale=1.2)
        >>> CUBO(particles=500).estimate(pair, torch.zeros(3, 4)).kind
        'upper'
    """

    kind = "upper"

    def __init__(self, order: float = 2.0, particles: int = 5000, *, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        if not 1 < order < math.inf:
            raise ConfigurationError(f"order must be a number above 1 (at 1 it is the evidence itself), not {order}")
        require_at_least(2, particles=particles)
        self.order, self.particles, self.max_bytes = float(order), particles, max_bytes
        self.name = f"CUBO({order:g}, {particles})"

    def block(self, block: Block) -> BlockEstimate:
        """See `Estimator.block`."""
        powers = self.order * block.log_weights(self.particles).double()  # (particles, data)
        (log_prob, standard_error, ess), khat = diagnosed_log_mean(powers, smoothing=False)
        return BlockEstimate(log_prob / self.order, standard_error / self.order, khat, ess)

    def finish(self, found: Estimate, whole: Block) -> Estimate:
        """See `Estimator.finish`."""
        note = (
            f"{self.name} is an upper bound only as particles grow: the log of a mean of finitely many weights lies "
            "below its limit in expectation, the more the heavier their tail (k-hat is that of their powers)"
        )
        return replace(found, notes=(note,))
