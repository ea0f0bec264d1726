"""The Renyi bound, and the importance-weighted bound as its order zero."""

from __future__ import annotations

import math

from torch import Tensor

from pyrogen.batch import Batch
from pyrogen.errors import ConfigurationError
from pyrogen.pair import Pair

from ..estimators.estimate import BlockEstimate, Estimator
from ..weights.chunks import Block
from ..weights.memory import DEFAULT_MAX_BYTES
from .bound import EvidenceBound
from .gradients import Gradient

__all__ = ["IWAE", "Renyi"]


class Renyi(EvidenceBound, Estimator):
    """The Renyi bound of order alpha, from K particles.

    ``L_alpha(x) = 1 / (1 - alpha) log 1/K sum_k w_k^(1 - alpha)``

    As a power mean of the weights of order ``1 - alpha <= 1`` it is, in expectation, a lower bound for every
    ``alpha >= 0``: alpha = 0 is IWAE, alpha to 1 the ELBO, alpha to infinity the smallest weight. For ``alpha < 0`` it can
    be trained with, but has no direction with finitely many particles, so that it is not reported.

    Reference:
        Li & Turner 2016, Renyi Divergence Variational Inference, https://arxiv.org/abs/1602.02311
        Tucker et al. 2019, Doubly Reparameterized Gradient Estimators, https://arxiv.org/abs/1810.04152

    Args:
        alpha: order, any number but 1 (which is `ELBO`).
        particles: particles K for each datum.
        gradient: a `GradientEstimator`, or the name of one: ``"pathwise"`` (sites that cannot be reparameterized get a
            score-function gradient with the other particles as baseline, VIMCO); ``"doubly-reparameterized"``, whose
            signal does not fade as K grows; or ``"sticking-the-landing"``, which is biased here.
        draws: how often the bound is drawn for each datum in an estimate.
        max_bytes: memory that an estimate may use.
    """

    kind = "lower"

    def __init__(
        self,
        alpha: float,
        particles: int = 5,
        *,
        gradient: Gradient = "pathwise",
        draws: int = 64,
        max_bytes: int = DEFAULT_MAX_BYTES,
    ) -> None:
        super().__init__(particles, gradient)
        if alpha == 1 or not math.isfinite(alpha):
            raise ConfigurationError(f"alpha must be finite and not 1, and it is {alpha}: for alpha = 1 use ELBO")
        if draws < 2:
            raise ConfigurationError(f"draws must be at least 2, to have a standard error, not {draws}")
        self.alpha, self.draws, self.max_bytes = float(alpha), draws, max_bytes
        self.name = f"Renyi({alpha:g}, {particles})"

    @property
    def order(self) -> float:
        """See `EvidenceBound.order`."""
        return self.alpha

    @property
    def particles_per_datum(self) -> int:
        """See `Estimator.particles_per_datum`."""
        return self.particles * self.draws

    def bound(self, log_weight: Tensor) -> Tensor:
        """See `EvidenceBound.bound`."""
        power = 1.0 - self.alpha
        return ((power * log_weight).logsumexp(0) - math.log(log_weight.shape[0])) / power

    def require(self, pair: Pair, batch: Batch) -> None:
        """See `Estimator.require`."""
        if self.alpha < 0:
            raise ConfigurationError(
                f"{self.name} is neither a lower nor an upper bound with finitely many particles: report alpha >= 0"
            )
        super().require(pair, batch)

    def block(self, block: Block) -> BlockEstimate:
        """See `Estimator.block`."""
        log_weight = block.log_weights(self.particles_per_datum).double()
        bounds = self.bound(log_weight.reshape(self.particles, self.draws, -1))  # (draws, data)
        return BlockEstimate(bounds.mean(0), bounds.std(0) / self.draws**0.5)


class IWAE(Renyi):
    """The importance-weighted bound of K particles, which grows to log p(x) with K.

    ``L_K(x) = E[log 1/K sum_k p(x, z_k) / q(z_k | x)] <= log p(x)``

    Reference:
        Burda, Grosse & Salakhutdinov 2015, Importance Weighted Autoencoders, https://arxiv.org/abs/1509.00519

    Args:
        particles: particles K for each datum.
        gradient: see `Renyi`.
        draws: how often the bound is drawn for each datum in an estimate.
        max_bytes: memory that an estimate may use.

    Example:
        >>> import torch
        >>> from pyrogen.models import LinearGaussianVAE
        >>> IWAE(5).estimate(LinearGaussianVAE((4,), latent=2), torch.zeros(3, 4)).kind
        'lower'
    """

    def __init__(
        self,
        particles: int = 50,
        *,
        gradient: Gradient = "pathwise",
        draws: int = 64,
        max_bytes: int = DEFAULT_MAX_BYTES,
    ) -> None:
        super().__init__(0.0, particles, gradient=gradient, draws=draws, max_bytes=max_bytes)
        self.name = f"IWAE({particles})"
