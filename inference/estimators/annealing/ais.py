"""Annealed importance sampling: the evidence by many small steps from a known distribution to the posterior.

Axes: temperatures, chains, data, dims.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from pyrogen.batch import Batch
from pyrogen.errors import require_at_least
from pyrogen.pair import Pair
from pyrogen.pareto import LogMean, log_mean

from ...weights.chunks import Block
from ...weights.memory import DEFAULT_MAX_BYTES
from ..estimate import BlockEstimate, Draws, Estimate, Estimator
from ..importance import ImportanceSampling
from ..latent_density import Initial, LatentDensity, require_initial
from .mover import Mover, rows_at_once
from .schedule import AnnealingPath, Schedule, plan, require_schedule
from .transition import HMC, State, Transition

__all__ = ["Annealed", "AnnealedEstimator", "AnnealedImportance", "anneal", "log_normal_mean"]

_RAISED = 1.25
_LOOKS = 2000  # particles that look for mass outside the guide
_LEAST_SIZE = 0.2  # of the effective number of chains, as a share


class AnnealedEstimator(Estimator):
    """What the estimators have in common that move `total` chains of each datum along a path of densities."""

    kind = "consistent"

    def __init__(self, name: str, total: int, initial: Initial, transition: Transition | None, max_bytes: int) -> None:
        require_initial(initial)
        self.name = name if initial == "prior" else f"{name} from the guide"
        self._total, self.initial, self.max_bytes = total, initial, max_bytes
        self.transition = HMC() if transition is None else transition

    @property
    def particles_per_datum(self) -> int:
        """See `Estimator.particles_per_datum`."""
        return self._total

    def require(self, pair: Pair, batch: Batch) -> None:
        """See `Estimator.require`."""
        LatentDensity(pair, batch, initial=self.initial)

    def begin(self, whole: Block) -> Block:
        """See `Estimator.begin`; the state is the path of densities."""
        density = LatentDensity(whole.pair, whole.batch, initial=self.initial)
        return whole.sized(rows_at_once(density, whole.batch, self._total, self.max_bytes), state=density)

    def judged(
        self, found: Estimate, whole: Block, fails: Tensor, freedom: int, what: str, notes: Sequence[str]
    ) -> Estimate:
        """An estimate with its degrees of freedom, flags and notes; `what` may have met values that are not finite.

        Chains that begin at the guide are held against importance sampling half of whose particles come from the prior.
        """
        found = replace(found, freedom=freedom)
        if self.initial == "guide":
            outside = ImportanceSampling(_LOOKS, defensive=0.5, draws=0, smoothing=False, max_bytes=self.max_bytes)
            looked = outside.estimate(whole.pair, whole.batch, compile=whole.graphs)
            missed = found.interval(0.95)[1] < looked.interval(0.95)[0]
            found = replace(found, evaluations=found.evaluations + looked.evaluations)
            fails = fails | missed
            if bool(missed.any()):
                share = f"{float(missed.double().mean()):.1%}"
                notes = (f"draws from the prior meet mass that {what} from the guide miss for {share} of the data", *notes)
        lost = found.diagnostics["lost"]
        if bool((lost > 0).any()):
            met = f"{int(lost.sum())} {what} of {int((lost > 0).sum())} data met a value that is not finite"
            notes = (f"{met}; they count with weight zero, which lowers the estimate", *notes)
        return replace(found, flagged=fails | (lost > 0), notes=tuple(notes))


class AnnealedImportance(AnnealedEstimator):
    r"""log p(x) by annealed importance sampling.

    Each chain begins at a draw from a known distribution, the prior or the guide, and moves along the path

    .. math:: f_\beta(z) = f_0(z)^{1 - \beta} \, p(x, z)^\beta, \qquad 0 = \beta_0 < \dots < \beta_T = 1,

    by transitions that leave each :math:`f_{\beta_t}` invariant, and its weight is
    :math:`\prod_t f_{\beta_t}(z_{t-1}) / f_{\beta_{t-1}}(z_{t-1})`. The mean weight is an unbiased estimate of the evidence,
    so that its logarithm is, in expectation, a lower bound that closes as temperatures and chains grow. Temperatures, step
    sizes and scales are chosen by a pilot run and then frozen.

    Reference:
        Neal 2001, Annealed Importance Sampling, https://arxiv.org/abs/physics/9803008
        Wu, Burda, Salakhutdinov & Grosse 2017, On the Quantitative Analysis of Decoder-Based Generative Models,
        https://arxiv.org/abs/1611.04273

    Args:
        temperatures: number T of steps.
        chains: chains for each datum.
        initial: ``"prior"`` or ``"guide"``.
        transition: `HMC` or `MALA`, once at each temperature.
        schedule: ``"sigmoid"``, ``"linear"``, ``"adaptive"`` (each datum its own temperatures, equally far apart by the
            pilot run's conditional effective sample size), or the temperatures themselves, from 0 to 1.
        max_bytes: memory that an estimate may use.

    Raises:
        ConfigurationError: no temperature, fewer than two chains, or temperatures that do not run from 0 to 1.

    Example:
        >>> from pyrogen.models import LinearGaussianVAE
        >>> estimator = AnnealedImportance(20, chains=4)
        >>> estimate = estimator.estimate(LinearGaussianVAE((4,), latent=2), torch.zeros(3, 4))
        >>> estimate.log_prob.shape, estimate.diagnostics["acceptance"].shape
        (torch.Size([3]), torch.Size([3]))
    """

    def __init__(
        self,
        temperatures: int = 1000,
        *,
        chains: int = 16,
        initial: Initial = "prior",
        transition: Transition | None = None,
        schedule: Schedule = "sigmoid",
        max_bytes: int = DEFAULT_MAX_BYTES,
    ) -> None:
        require_schedule(schedule)
        if not isinstance(schedule, str):
            temperatures = len(schedule) - 1
        require_at_least(1, temperatures=temperatures)
        require_at_least(2, chains=chains)
        super().__init__(f"AIS({temperatures})", chains, initial, transition, max_bytes)
        self.temperatures, self.chains, self.schedule = temperatures, chains, schedule

    def block(self, block: Block) -> BlockEstimate:
        """See `Estimator.block`."""
        density, batch = block.state, block.batch
        pilot, mover = Mover(density), Mover(density, block.graphs, calls=self.temperatures * block.blocks)
        path = plan(pilot, batch, self.transition, self.schedule, self.temperatures)
        done = anneal(mover, batch, mover.start(density.draw(batch, self.chains), batch), path, self.transition)
        log_weight = done.log_weight.nan_to_num(nan=-math.inf, neginf=-math.inf)
        log_prob, standard_error, ess = log_normal_mean(log_weight)
        gradients = pilot.gradients + mover.gradients
        return BlockEstimate(
            log_prob,
            standard_error,
            ess=ess,
            diagnostics={"acceptance": done.acceptance, "lost": torch.isnan(done.log_weight).sum(0)},
            draws=resampled(density, done.state.u, log_weight, batch),
            evaluations=gradients,
            gradients=gradients,
        )

    def finish(self, found: Estimate, whole: Block) -> Estimate:
        """See `Estimator.finish`."""
        uneven, notes = cast(Tensor, found.ess) < _LEAST_SIZE * self.chains, []
        if bool(uneven.any()):
            notes.append(
                f"a few of the {self.chains} chains carry most of the weight for {float(uneven.double().mean()):.1%} of the "
                "data: the estimate is then likely too low and its error too small; use more temperatures"
            )
        return self.judged(found, whole, uneven, self.chains - 1, "chains", notes)


@dataclass(frozen=True)
class Annealed:
    """Chains at the end of a path."""

    state: State
    log_weight: Tensor
    """(chains, data), in nats, double precision; ``nan`` where a chain met a value that is not finite."""
    acceptance: Tensor
    """Mean probability of acceptance, (data,)."""


def anneal(
    mover: Mover, batch: Batch, state: State, path: AnnealingPath, transition: Transition, *, backwards: bool = False
) -> Annealed:
    """Move chains from draws of the initial distribution along a path, and weigh them.

    `backwards` they go from draws of the posterior, from 1 to 0; the weights are still those of the way there.
    """
    betas, count = path.betas, len(path.betas) - 1
    log_weight = torch.zeros_like(state.slope, dtype=torch.float64)
    acceptance = torch.zeros_like(state.slope[0])
    for place in range(count, 0, -1) if backwards else range(1, count + 1):
        width = betas[place] - betas[place - 1]  # (data,)
        if not backwards:
            log_weight += width * state.slope
        beta = betas[place].to(state.u)
        moved = mover.move(batch, state, beta, path.steps[place].to(state.u), path.scales.at(beta), transition.steps)
        state = moved.state
        acceptance = acceptance + moved.acceptance.mean(0)
        if backwards:
            log_weight += width * state.slope
    return Annealed(state, log_weight, acceptance / count)


def log_normal_mean(log_weight: Tensor) -> LogMean:
    """The logarithm of the mean weight of chains, with an error for weights that are nearly log-normal.

    The error is that of the weights as they are, by the delta method, which knows nothing of weights that a few chains have
    not met; or that of log-normal weights, ``sqrt((exp(s^2) - 1) / K)`` with the variance ``s^2`` of the log weights, where
    that is larger, for log weights that are sums of many small terms are nearly normal. It is raised by a quarter at most,
    because a single chain that has lost its way makes ``s`` large without having any say in the mean.
    """
    mean, error, ess = log_mean(log_weight)
    normal = (log_weight.var(0).expm1() / len(log_weight)).sqrt().nan_to_num(nan=0.0)  # no number where a weight is zero
    return LogMean(mean, torch.maximum(error, torch.minimum(normal, _RAISED * error)), ess)


def resampled(density: LatentDensity, u: Tensor, log_weight: Tensor, batch: Batch) -> Draws:
    """As many draws from the posterior as there are chains, resampled by their weights.

    Args:
        density: the path.
        u: (chains, data, dims).
        log_weight: (chains, data).
        batch: the data.
    """
    chains = len(log_weight)
    weight = (log_weight - log_weight.amax(0)).exp().nan_to_num(nan=1.0)  # (chains, data)
    chosen = torch.multinomial(weight.T, chains, replacement=True).T  # (draws, data)
    latents, log_likelihood = density.constrained(u.gather(0, chosen[..., None].expand_as(u)), batch)
    return Draws(latents, log_likelihood)
