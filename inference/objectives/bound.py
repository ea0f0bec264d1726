"""A bound on the evidence, as a function of log weights, to train with.

Axes: particles, data.
"""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from pyrogen.batch import Batch, length
from pyrogen.errors import ConfigurationError, NotPerDatum, PairError
from pyrogen.pair import Pair
from pyrogen.programs.structure import Structure

from ..weights.terms import Weighed
from .gradients import Gradient, gradient_named
from .gradients.estimator import BoundTask
from .objective import Loss, Objective, State

__all__ = ["EvidenceBound"]


class EvidenceBound(Objective):
    """A bound on the log evidence that training maximises, as a function of log weights.

    To write one, implement `bound` and `order`; `penalty`, for what is not a function of log weights. The value of the loss
    is always minus the plain bound (plus the penalty); its gradient is the gradient estimator's.

    Args:
        particles: draws for each datum.
        gradient: a `GradientEstimator`, or the short name of one.

    Raises:
        ConfigurationError: no particle, or an unknown name.
    """

    analytic: bool = False
    """Whether a KL divergence is taken in closed form where that is right."""

    def __init__(self, particles: int, gradient: Gradient = "pathwise") -> None:
        super().__init__()
        if particles < 1:
            raise ConfigurationError(f"particles must be at least 1, not {particles}")
        self.particles, self.gradient = particles, gradient_named(gradient)

    @abstractmethod
    def bound(self, log_weight: Tensor) -> Tensor:
        """The bound from log weights (particles, ...), in nats, of shape (...)."""

    @property
    @abstractmethod
    def order(self) -> float:
        """The order alpha of the Renyi bound that this is: 1 for the ELBO, 0 for IWAE."""

    def penalty(self, run: Weighed, structure: Structure, beta: float | Tensor) -> Tensor | float:
        """What is added to the loss, in nats per datum; nothing, unless a subclass says so.

        Args:
            run: the weighed run: its sites of model and guide, likelihood and divergence.
            structure: of the pair.
            beta: the factor of the divergence at this step.
        """
        return 0.0

    def compute(self, pair: Pair, batch: Batch, state: State, *, beta: float | Tensor = 1.0) -> Loss:
        """See `Objective.compute`.

        A subsampled data plate is scaled up outside the bound; sites that all data share count once in the total that is
        divided by the number of data.

        Raises:
            NotPerDatum: the bound is not linear in the log weight, and the pair's log weight is tempered or is shared by
                data of which only a part is seen.
        """
        structure = pair.structure(batch)
        structure.require_density(self.name)
        if self.order != 1.0:
            if isinstance(beta, Tensor) or beta != 1.0:
                raise ConfigurationError(f"beta weighs the divergence of an ELBO; {self.name} has none")
            self._require_exact(structure)
        if structure.loop is not None and self.particles > 1:
            raise PairError(
                f"{self.name} needs {self.particles} particles at once, and {structure.loop}. Let the model "
                "broadcast over leading dimensions of its latents, or train with one particle"
            )
        found = self.gradient.surrogate(BoundTask(self, pair, batch, structure, state, beta))
        value = -found.total / (found.run.model.plate_size or length(batch))
        return Loss(value + self.penalty(found.run, structure, beta), found.state)

    def _require_exact(self, structure: Structure) -> None:
        structure.require_joint(self.name)
        if structure.subsampled and any(name not in structure.local for name in structure.latents):
            raise NotPerDatum(
                f"{self.name} of a subsample whose data share a global latent is no bound: {structure.objections[0]}. "
                "Use ELBO, or give the plate no subsample_size"
            )
