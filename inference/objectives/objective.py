"""What an objective is: a bound on the evidence, as a function of log weights, with an estimator of its gradient.

Axes: particles, data.

The value of the loss is always minus the plain bound. Its gradient is that of a surrogate with the same value:

- *pathwise*: through the draws of the guide (the reparametrization trick);
- *sticking the landing* (Roeder et al. 2017): pathwise, without the guide's score, whose expectation is zero;
- *doubly reparameterized* (Tucker et al. 2019): the score of an importance-weighted bound, itself reparameterized;
- *score function*: for guide sites whose draws carry no gradient, with the other particles as baseline
  (leave-one-out; VIMCO for importance-weighted bounds), or a running average where there is one particle.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from pyrogen.batch import Batch, arguments, length
from pyrogen.errors import ConfigurationError, NotPerDatum, PairError
from pyrogen.pair import Pair
from pyrogen.programs.run import Sites, run_guide
from pyrogen.programs.structure import Structure

from ..weights.terms import LogTerms, Weighed, reduce_site, scaled, weigh

__all__ = ["Gradient", "Objective"]

Gradient = Literal["pathwise", "sticking-the-landing", "doubly-reparameterized"]


class Objective(ABC):
    """A bound on the log evidence that training maximises.

    To write one, implement `bound`, and `order` where it is a power mean of the weights. What it carries from step to step
    (a baseline) is in `state`, tensors that a checkpoint saves.
    """

    name: str
    particles: int
    gradient: Gradient
    analytic: bool = False

    def __init__(self, particles: int, gradient: Gradient) -> None:
        if particles < 1:
            raise ConfigurationError(f"particles must be at least 1, not {particles}")
        if gradient not in ("pathwise", "sticking-the-landing", "doubly-reparameterized"):
            raise ConfigurationError(
                f"unknown gradient estimator {gradient!r}: use 'pathwise', 'sticking-the-landing' or "
                "'doubly-reparameterized'"
            )
        self.particles, self.gradient = particles, gradient
        self.state: dict[str, Tensor] = {}

    @abstractmethod
    def bound(self, log_weight: Tensor) -> Tensor:
        """The bound from log weights (particles, ...), in nats, of shape (...)."""

    @property
    @abstractmethod
    def order(self) -> float:
        """The order alpha of the Renyi bound that this is: 1 for the ELBO, 0 for IWAE."""

    def prepare(self, pair: Pair, batch: Batch) -> None:  # noqa: B027
        """Make what the objective needs before the first step; nothing, unless a subclass says so."""

    def loss(self, pair: Pair, batch: Batch, *, beta: float | Tensor = 1.0) -> Tensor:
        """Minus the bound, averaged over the data, in nats per datum; its gradient is the estimator's.

        A subsampled data plate is scaled up outside the bound; sites that all data share count once in the total that
        is divided by the number of data.

        Args:
            pair: the pair, in the mode (training or evaluation) that the caller chose.
            batch: the data.
            beta: factor of the divergence from guide to prior (KL warm-up); 1 gives a bound.

        Raises:
            NotPerDatum: the bound is not linear in the log weight, and the pair's log weight is tempered or is shared by
                data of which only a part is seen.
        """
        structure = pair.structure(batch)
        if self.order != 1.0:
            if isinstance(beta, Tensor) or beta != 1.0:
                raise ConfigurationError(f"beta weighs the divergence of an ELBO; {self.name} has none")
            self._require_exact(structure)
        weighed, correction = self._weigh(pair, batch, structure)
        terms = weighed.log_weight(beta)
        size = weighed.model.plate_size or length(batch)
        if terms.local is not None and terms.shared is None:
            total = (self.bound(terms.local) + self._score(terms.local, weighed, structure)).sum() * weighed.scale
        else:  # any draw may have moved what is shared, and what is shared may have moved any datum
            joint = terms.joint(weighed.scale)
            total = self.bound(joint) + self._score(joint, weighed, structure)
        correction.weights(self, terms)
        return -total / size

    def _require_exact(self, structure: Structure) -> None:
        structure.require_joint(self.name)
        if structure.subsampled and any(name not in structure.local for name in structure.latents):
            raise NotPerDatum(
                f"{self.name} of a subsample whose data share a global latent is no bound: {structure.objections[0]}. "
                "Use ELBO, or give the plate no subsample_size"
            )

    def _weigh(self, pair: Pair, batch: Batch, structure: Structure) -> tuple[Weighed, _PathGradient]:
        if structure.loop is not None and self.particles > 1:
            raise PairError(
                f"{self.name} needs {self.particles} particles at once, and {structure.loop}. Let the model "
                "broadcast over leading dimensions of its latents, or train with one particle"
            )
        correction = _PathGradient(self.gradient, structure)
        if self.gradient == "pathwise":
            return weigh(pair, batch, structure, self.particles, analytic=self.analytic), correction
        return correction.weigh(pair, batch, self.particles), correction

    def _score(self, log_weight: Tensor, weighed: Weighed, structure: Structure) -> Tensor | float:
        """A term of value zero whose gradient is the score-function estimator's.

        Args:
            log_weight: (particles, data), each datum's own, or (particles,), of all data together.
            weighed: the run.
            structure: of the pair.
        """
        log_prob: Tensor | float = 0.0
        for site in weighed.score_sites:
            value = reduce_site(site.log_prob(), site.dim, structure.nesting)  # (particles, data) or (particles,)
            log_prob = log_prob + (value.sum(-1) if value.dim() > log_weight.dim() else value)
        if not weighed.score_sites:
            return 0.0
        # One signal for all sites: the running average must not have seen the weight that it is subtracted from.
        term = (self._learning_signal(log_weight.detach()) * log_prob).sum(0)
        return term - term.detach()

    def _learning_signal(self, log_weight: Tensor) -> Tensor:
        """The bound minus a baseline that does not depend on the particle whose score it multiplies."""
        count = log_weight.shape[0]
        if count == 1:
            return log_weight - self._running_average(log_weight)
        if self.order == 1.0:
            others = (log_weight.sum(0) - log_weight) / (count - 1)
            return (log_weight - others) / count
        others = (log_weight.sum(0) - log_weight) / (count - 1)  # geometric mean of the other weights
        diagonal = torch.eye(count, dtype=torch.bool, device=log_weight.device)
        diagonal = diagonal.reshape(count, count, *(1,) * (log_weight.dim() - 1))
        replaced = torch.where(diagonal, others.unsqueeze(0), log_weight.unsqueeze(1))
        # (particles, left out, ...)
        return self.bound(log_weight).unsqueeze(0) - self.bound(replaced)

    def _running_average(self, log_weight: Tensor, decay: float = 0.9) -> Tensor:
        """The average log weight of earlier steps; the current one is taken in afterwards, so that it stays unbiased."""
        zero = log_weight.new_zeros(())
        total = self.state.get("baseline.total", zero)
        weight = self.state.get("baseline.weight", zero)
        baseline = total / weight.clamp(min=1e-8)
        self.state["baseline.total"] = decay * total + (1 - decay) * log_weight.mean()
        self.state["baseline.weight"] = decay * weight + (1 - decay)
        return baseline


class _PathGradient:
    """Log weights whose gradient flows through the draws of the guide alone, and not through its density.

    The latents that the model and the guide's density see are copies of the draws: a factor on the gradient that
    arrives at a copy is applied once, however the draws depend on each other.
    """

    def __init__(self, gradient: Gradient, structure: Structure) -> None:
        self.gradient, self.structure = gradient, structure
        self.factor: LogTerms | None = None

    def weigh(self, pair: Pair, batch: Batch, particles: int) -> Weighed:
        args, kwargs = arguments(batch)
        nesting = self.structure.nesting
        count = None if particles == 1 else particles
        with pair.scope():
            drawn = run_guide(pair, args, kwargs, particles=count, nesting=nesting)
        sites = [site for site in drawn.visited.values() if not site.observed]
        for site in sites:
            if site.name not in self.structure.reparameterized:
                raise PairError(
                    f"gradient='{self.gradient}' needs reparameterized draws, and {type(site.fn).__name__} at site "
                    f"'{site.name}' has none: use gradient='pathwise', which falls back to the score function"
                )
        copies = {site.name: site.value.view_as(site.value) for site in sites}
        if self.gradient == "doubly-reparameterized":
            for site in sites:
                if copies[site.name].requires_grad:
                    copies[site.name].register_hook(  # type: ignore[no-untyped-call]
                        self._hook(site.dim, site.fn.event_dim)
                    )
        if len(sites) == 1:
            live, fixed = drawn, drawn
        else:
            live = self._replay(pair, args, kwargs, copies, drawn, count)
            fixed = self._replay(pair, args, kwargs, {n: v.detach() for n, v in copies.items()}, drawn, count)
        weighed = weigh(pair, batch, self.structure, particles, guide=live, latents=copies)
        score = LogTerms()
        for site in sites:
            log_prob = fixed.visited[site.name].log_prob(site.value.detach())
            value = scaled(log_prob - log_prob.detach(), site, drawn)
            score.add(value, fixed.visited[site.name], self.structure)
        weighed.divergence = weighed.divergence.minus(score)
        return weighed

    def weights(self, objective: Objective, terms: LogTerms) -> None:
        """Fix the factor by which the gradient of each particle's draws is multiplied."""
        if self.gradient != "doubly-reparameterized":
            return
        order = objective.order
        if terms.shared is None or order == 1.0:
            whole = terms
        else:
            joint = terms.joint()
            whole = LogTerms(joint.unsqueeze(-1), joint)
        self.factor = LogTerms(
            *(
                None if value is None else order + (1 - order) * ((1 - order) * value.detach()).softmax(0)
                for value in (whole.local, whole.shared)
            )
        )

    def _hook(self, dim: int | None, event_dim: int) -> Any:
        def scale(gradient: Tensor) -> Tensor:
            if self.factor is None:
                raise RuntimeError("the gradient was taken before the weights were known")
            factor = self.factor.shared if dim is None else self.factor.local
            if factor is None or factor.shape[0] == 1:
                return gradient
            shape = [factor.shape[0]] + [1] * self.structure.nesting
            if dim is not None:
                shape[dim] = factor.shape[-1]
            return gradient * factor.reshape(shape + [1] * event_dim)  # (particles, plates..., event...)

        return scale

    def _replay(
        self,
        pair: Pair,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        latents: dict[str, Tensor],
        drawn: Sites,
        particles: int | None,
    ) -> Sites:
        for part in pair.modules():
            if part.training and isinstance(part, _DropoutNd | _BatchNorm):
                raise PairError(
                    f"gradient='{self.gradient}' with several latents runs the guide again, and an active "
                    f"{type(part).__name__} would change in between: put it in evaluation mode or use gradient='pathwise'"
                )
        with pair.scope():
            return run_guide(
                pair,
                args,
                kwargs,
                particles=particles,
                nesting=self.structure.nesting,
                given=latents,
                indices=drawn.indices,
            )
