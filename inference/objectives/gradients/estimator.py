"""What a gradient estimator is: it turns a weighed run of a pair into a surrogate loss.

Axes: particles, data.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from pyrogen.batch import Batch, arguments
from pyrogen.errors import PairError
from pyrogen.pair import Pair
from pyrogen.programs.run import Sites, run_guide
from pyrogen.programs.structure import Structure

from ...weights.terms import Weighed, weigh

__all__ = ["BoundOfWeights", "BoundTask", "GradientEstimator", "Surrogate"]


class BoundOfWeights(Protocol):
    """The bound whose gradient is wanted; `EvidenceBound` is one."""

    name: str
    particles: int
    analytic: bool

    def bound(self, log_weight: Tensor) -> Tensor:
        """The bound from log weights (particles, ...), in nats, of shape (...)."""

    @property
    def order(self) -> float:
        """Order of the Renyi bound: the bound is linear in the log weight where it is 1."""


@dataclass(frozen=True)
class BoundTask:
    """A bound on a batch, whose gradient is to be estimated."""

    objective: BoundOfWeights
    pair: Pair
    batch: Batch
    structure: Structure
    state: Mapping[str, Tensor]
    """What the last call returned; empty before the first."""
    beta: float | Tensor = 1.0
    """Factor of the divergence."""

    def weigh(self, *, guide: Sites | None = None, latents: Mapping[str, Tensor] | None = None) -> Weighed:
        """Run the pair once for all particles, differentiably; see `pyrogen.inference.weights.terms.weigh`."""
        objective = self.objective
        closed = objective.analytic and guide is None
        return weigh(
            self.pair, self.batch, self.structure, objective.particles, analytic=closed, guide=guide, latents=latents
        )

    def run_guide(self, latents: Mapping[str, Tensor] | None = None, drawn: Sites | None = None) -> Sites:
        """Run the guide alone, for all particles.

        Args:
            latents: values of its latents; drawn anew if not given.
            drawn: an earlier run whose subsample of the data is kept.
        """
        args, kwargs = arguments(self.batch)
        particles = None if self.objective.particles == 1 else self.objective.particles
        indices = None if drawn is None else drawn.indices
        with self.pair.scope():
            return run_guide(
                self.pair, args, kwargs, particles=particles, nesting=self.structure.nesting, given=latents, indices=indices
            )

    def require_repeatable(self, use: str) -> None:
        """Refuse a pair whose guide is another function each time it is run.

        Raises:
            PairError: with the layer that changes.
        """
        for part in self.pair.modules():
            if part.training and isinstance(part, _DropoutNd | _BatchNorm):
                raise PairError(
                    f"gradient='{use}' runs the guide again, and an active {type(part).__name__} would change in between: "
                    "put it in evaluation mode or use gradient='pathwise'"
                )

    def log_weight(self, run: Weighed) -> Tensor:
        """The log weights to bound, in nats: (particles, data), each datum's own, or (particles,), of all data together.

        They are joint where data share a site: any draw may have moved it, and it may have moved any datum.
        """
        terms = run.log_weight(self.beta)
        return terms.local if terms.local is not None and terms.shared is None else terms.joint(run.scale)

    def total(self, bound: Tensor, run: Weighed) -> Tensor:
        """The bound of all data, (), from that of each datum, (data,), or from the joint one."""
        return bound.sum() * run.scale if bound.dim() else bound


class Surrogate(NamedTuple):
    """What to differentiate."""

    total: Tensor
    """(), the plain bound of all data, in nats, whose gradient is the estimator's."""
    run: Weighed
    """The run that it comes from."""
    state: Mapping[str, Tensor]
    """What the estimator carries to the next step."""


class GradientEstimator(ABC):
    """A way to estimate the gradient of a bound.

    To write one, implement `surrogate`: run the pair by ``task.weigh()``, and return a total whose *value* is the plain
    bound and whose *gradient* is the estimate; add terms of the form ``term - term.detach()``, which have the value zero.
    What is carried from step to step comes in as ``task.state`` and goes out with the surrogate: an estimator keeps nothing
    in itself, so that its steps can be recorded, saved and resumed.

    Example:
        The plain reparametrization trick::

            class Reparametrization(GradientEstimator):
                name = "reparametrization"

                def surrogate(self, task):
                    run = task.weigh()
                    bound = task.objective.bound(task.log_weight(run))
                    return Surrogate(task.total(bound, run), run, task.state)
    """

    name: str
    closed_forms: bool = True
    """Whether it can differentiate a KL divergence in closed form."""

    @abstractmethod
    def surrogate(self, task: BoundTask) -> Surrogate:
        """Run the pair and give what to differentiate.

        Raises:
            PairError: the pair's draws do not suit the estimator; the message names the site.
        """

    def biased(self, order: float) -> bool:
        """Whether its mean differs from the gradient of a Renyi bound of that order (1: ELBO, 0: IWAE)."""
        return False

    def __repr__(self) -> str:
        return self.name
