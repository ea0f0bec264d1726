"""The evidence lower bound, to train with and to report."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from pyrogen.errors import ConfigurationError
from pyrogen.programs.structure import Structure

from ..estimators.estimate import BlockEstimate, Estimator
from ..weights.chunks import Block
from ..weights.memory import DEFAULT_MAX_BYTES
from ..weights.terms import Weighed
from .bound import EvidenceBound
from .free_bits import missing_bits
from .gradients import DoublyReparameterized, Gradient

__all__ = ["ELBO"]


class ELBO(EvidenceBound, Estimator):
    """The evidence lower bound: reconstruction minus KL divergence.

    ``ELBO(x) = E_q(z|x)[log p(x, z) - log q(z | x)] = E_q(z|x)[log p(x | z)] - KL(q(z | x) || p(z)) <= log p(x)``

    Reference:
        Kingma & Welling 2014, Auto-Encoding Variational Bayes, https://arxiv.org/abs/1312.6114
        Roeder, Wu & Duvenaud 2017, Sticking the Landing, https://arxiv.org/abs/1703.09194

    Args:
        particles: draws for each datum in a training step.
        kl: ``"analytic"`` takes the KL divergence in closed form where Pyro has one and it is right (model and guide
            visit their latents in one order), and samples it elsewhere; ``"sampled"`` always samples it.
        gradient: a `GradientEstimator`, or the name of one: ``"pathwise"`` (sites that cannot be reparameterized get a
            score-function gradient with a baseline) or ``"sticking-the-landing"`` (which samples the KL divergence).
        draws: draws for each datum in an estimate.
        max_bytes: memory that an estimate may use.
        free_bits: in training, nats of divergence that cost each unit of a local latent nothing, so that a strong decoder
            does not leave the latent unused; see `pyrogen.inference.objectives.free_bits`. It never enters an estimate.

    Example:
        >>> import torch
        >>> from pyrogen.models import LinearGaussianVAE
        >>> pair = LinearGaussianVAE((4,), latent=2)
        >>> ELBO().estimate(pair, torch.zeros(3, 4)).log_prob.shape
        torch.Size([3])
    """

    kind = "lower"

    def __init__(
        self,
        particles: int = 1,
        *,
        kl: Literal["analytic", "sampled"] | None = None,
        gradient: Gradient = "pathwise",
        draws: int = 250,
        max_bytes: int = DEFAULT_MAX_BYTES,
        free_bits: float = 0.0,
    ) -> None:
        super().__init__(particles, gradient)
        if kl not in (None, "analytic", "sampled"):
            raise ConfigurationError(f"unknown kl {kl!r}: use 'analytic' or 'sampled'")
        if isinstance(self.gradient, DoublyReparameterized):
            raise ConfigurationError("an ELBO has no weights to reparameterize: use gradient='sticking-the-landing'")
        closed = self.gradient.closed_forms
        if kl == "analytic" and not closed:
            raise ConfigurationError(f"gradient='{self.gradient}' differentiates a sampled KL divergence: use kl='sampled'")
        if draws < 2:
            raise ConfigurationError(f"draws must be at least 2, to have a standard error, not {draws}")
        if not 0 <= free_bits < float("inf"):
            raise ConfigurationError(f"free_bits must be a number of nats, at least 0, not {free_bits}")
        if free_bits and not closed:
            raise ConfigurationError(f"free bits need gradient='pathwise', not '{self.gradient}'")
        self.free_bits = free_bits
        self.analytic = kl != "sampled" and closed
        self.draws, self.max_bytes = draws, max_bytes
        self.name = "ELBO" if particles == 1 else f"ELBO({particles})"

    @property
    def order(self) -> float:
        """See `EvidenceBound.order`."""
        return 1.0

    @property
    def particles_per_datum(self) -> int:
        """See `Estimator.particles_per_datum`."""
        return self.draws

    def bound(self, log_weight: Tensor) -> Tensor:
        """See `EvidenceBound.bound`."""
        return log_weight.mean(0)

    def penalty(self, run: Weighed, structure: Structure, beta: float | Tensor) -> Tensor | float:
        """See `EvidenceBound.penalty`: the missing free bits."""
        return beta * missing_bits(run, structure, self.free_bits) if self.free_bits else 0.0

    def block(self, block: Block) -> BlockEstimate:
        """See `Estimator.block`."""
        log_weight = block.log_weights(self.draws, analytic=self.analytic).double()  # (draws, data)
        return BlockEstimate(log_weight.mean(0), log_weight.std(0) / self.draws**0.5)
