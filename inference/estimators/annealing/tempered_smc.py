"""Tempered sequential Monte Carlo: a population that is reweighted, resampled and moved towards the posterior.

Axes: islands, particles, data, dims. Islands are populations that never meet; chains are all particles of all islands.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from pyrogen.batch import Batch
from pyrogen.errors import ConfigurationError, require_at_least

from ...weights.chunks import Block
from ...weights.memory import DEFAULT_MAX_BYTES
from ...weights.resampling import effective_size, systematic
from ..estimate import BlockEstimate, Estimate
from ..latent_density import Initial
from .ais import AnnealedEstimator, log_normal_mean, resampled
from .mover import Mover
from .schedule import scales_of
from .transition import State, Transition

__all__ = ["TemperedSMC"]

_HALVINGS = 40  # of the interval in which the next temperature lies
_MOST_TEMPERATURES = 2000
_FIRST_STEP = 0.3
_GAIN = 0.5
_LARGEST_ERROR = 0.5  # nats


class TemperedSMC(AnnealedEstimator):
    """log p(x) by sequential Monte Carlo along tempered densities, with temperatures chosen by effective sample size.

    Particles begin at the prior (or the guide). Each step raises the inverse temperature as far as leaves the effective
    number of particles at a share of all, reweighs, resamples systematically and moves every particle by a few transitions.
    The evidence is the product of the mean weights of all steps.

    Temperatures, step sizes and scales follow a pilot population and are then frozen, so that the estimate of the evidence
    is unbiased. Several islands, populations that never meet, give its error; the evidence is the mean over islands.

    Reference:
        Del Moral, Doucet & Jasra 2006, Sequential Monte Carlo samplers, https://doi.org/10.1111/j.1467-9868.2006.00553.x
        Beskos, Jasra, Kantas & Thiery 2016, On the convergence of adaptive sequential Monte Carlo methods,
        https://arxiv.org/abs/1306.6462

    Args:
        particles: particles of an island for each datum.
        islands: number of islands.
        keep: share of the particles that a step leaves effective.
        moves: transitions after each step.
        initial: ``"prior"`` or ``"guide"``.
        transition: `HMC` or `MALA`.
        max_bytes: memory that an estimate may use.

    Raises:
        ConfigurationError: an argument is out of its range.

    Example:
        >>> from pyrogen.models import LinearGaussianVAE
        >>> estimate = TemperedSMC(32, islands=2).estimate(LinearGaussianVAE((4,), latent=2), torch.zeros(3, 4))
        >>> estimate.kind, estimate.draws.latents["z"].shape
        ('consistent', torch.Size([64, 3, 2]))
    """

    def __init__(
        self,
        particles: int = 64,
        *,
        islands: int = 8,
        keep: float = 0.8,
        moves: int = 2,
        initial: Initial = "prior",
        transition: Transition | None = None,
        max_bytes: int = DEFAULT_MAX_BYTES,
    ) -> None:
        require_at_least(4, particles=particles)
        require_at_least(2, islands=islands)
        require_at_least(1, moves=moves)
        if not 0 < keep < 1:
            raise ConfigurationError(f"keep must be a share between 0 and 1, not {keep}")
        super().__init__(f"SMC({particles * islands})", particles * islands, initial, transition, max_bytes)
        self.particles, self.islands, self.keep, self.moves = particles, islands, keep, moves

    def block(self, block: Block) -> BlockEstimate:
        """See `Estimator.block`."""
        density, batch = block.state, block.batch
        pilot = Mover(density)
        stages = self._plan(pilot, batch)
        mover = Mover(density, block.graphs, calls=self.moves * len(stages) * block.blocks)
        done = self._run(mover, batch, stages)
        log_prob, standard_error, _ = log_normal_mean(done.log_evidence)
        count = torch.stack([stage.beta for stage in stages]).less(1).sum(0) + 1
        weight = done.log_evidence.nan_to_num(neginf=-1e300).repeat_interleave(self.particles, 0)  # (chains, data)
        gradients = pilot.gradients + mover.gradients
        return BlockEstimate(
            log_prob,
            standard_error,
            ess=done.lineages,
            diagnostics={"acceptance": done.acceptance, "lost": done.lost, "temperatures": count},
            draws=resampled(density, done.state.u, weight, batch),
            evaluations=gradients,
            gradients=gradients,
        )

    def finish(self, found: Estimate, whole: Block) -> Estimate:
        """See `Estimator.finish`."""
        wide, notes = found.standard_error > _LARGEST_ERROR, []
        if bool((found.diagnostics["temperatures"] >= _MOST_TEMPERATURES).any()):
            notes.append(
                f"some data did not reach the posterior within {_MOST_TEMPERATURES} temperatures: use more particles"
            )
        if bool(wide.any()):
            notes.append(
                f"the islands disagree by more than {_LARGEST_ERROR} nats for {float(wide.double().mean()):.1%} of the "
                "data: use more particles or moves"
            )
        return self.judged(found, whole, wide, self.islands - 1, "particles", notes)

    def _plan(self, mover: Mover, batch: Batch) -> list[_Stage]:
        """Temperatures, step sizes and scales, by a population of its own that is then thrown away."""
        state = mover.start(mover.density.draw(batch, self.particles), batch)
        rows = state.u.shape[1]
        beta = torch.zeros(rows, dtype=torch.float64, device=state.u.device)
        log_step = torch.full_like(beta, math.log(_FIRST_STEP)).to(state.u)
        scale = scales_of(mover, batch).first
        stages: list[_Stage] = []
        while len(stages) < _MOST_TEMPERATURES and not bool((beta >= 1).all()):
            slope = _weights(state.slope)
            width = _next_width(slope, 1 - beta, self.keep)  # (data,)
            beta = torch.where(width >= 1 - beta, 1.0, beta + width)
            state = _chosen(state, systematic(_raised(slope, width)))
            scale = _spread(state.u, scale)
            for _ in range(self.moves):
                moved = mover.move(batch, state, beta.to(scale), log_step.exp(), scale, self.transition.steps)
                state = moved.state
                log_step = log_step + _GAIN * (moved.acceptance.mean(0) - self.transition.target)
            stages.append(_Stage(beta, log_step.exp(), scale))
        return stages

    def _run(self, mover: Mover, batch: Batch, stages: list[_Stage]) -> _Done:
        islands, particles = self.islands, self.particles
        state = mover.start(mover.density.draw(batch, islands * particles), batch)
        rows = state.u.shape[1]
        log_evidence = torch.zeros(islands, rows, dtype=torch.float64, device=state.u.device)
        first = torch.arange(islands, device=state.u.device)[:, None] * particles  # the first chain of each island
        lineage = torch.arange(islands * particles, device=state.u.device)[:, None].expand(-1, rows)  # (chains, data)
        lost = torch.isnan(state.slope).sum(0).double()
        acceptance, reached = torch.zeros_like(lost), torch.zeros_like(lost)
        for stage in stages:
            slope = _weights(state.slope).view(islands, particles, rows).transpose(0, 1).flatten(1)
            log_weight = _raised(slope, (stage.beta - reached).repeat(islands))  # (particles, islands data)
            log_evidence += (log_weight.logsumexp(0) - math.log(particles)).view(islands, rows)
            reached = stage.beta
            ancestors = systematic(log_weight).view(particles, islands, rows) + first  # numbered over all islands
            ancestors = ancestors.transpose(0, 1).flatten(0, 1)  # (chains, data)
            state, lineage = _chosen(state, ancestors), lineage.gather(0, ancestors)
            for _ in range(self.moves):
                moved = mover.move(batch, state, reached.to(state.u), stage.step, stage.scale, self.transition.steps)
                state, acceptance = moved.state, moved.acceptance.double().mean(0)
        return _Done(state, log_evidence.where(reached >= 1, torch.nan), _lineages(lineage), acceptance, lost)


class _Stage(NamedTuple):
    """One temperature, and how to move at it."""

    beta: Tensor
    """(data,)."""
    step: Tensor
    """(data,)."""
    scale: Tensor
    """(data, dims)."""


class _Done(NamedTuple):
    """Populations that have reached the posterior."""

    state: State
    log_evidence: Tensor
    """(islands, data), in nats; ``nan`` for a datum that did not arrive."""
    lineages: Tensor
    """Effective number of first ancestors, (data,)."""
    acceptance: Tensor
    """At the last temperature, (data,)."""
    lost: Tensor
    """Particles whose weight was no number, (data,)."""


def _weights(slope: Tensor) -> Tensor:
    """Slopes in double precision, minus infinity where they are no number."""
    return slope.double().nan_to_num(nan=-math.inf, neginf=-math.inf)


def _raised(slope: Tensor, width: Tensor) -> Tensor:
    """Log weights of a step of the inverse temperature; no step leaves a weight of zero at zero."""
    return torch.where(slope == -math.inf, -math.inf, width * slope)


def _next_width(slope: Tensor, left: Tensor, keep: float) -> Tensor:
    """By how much the inverse temperature may grow, (data,): as far as keeps a share of the particles effective, or all that
    is left.
    """
    # Particles without weight are gone at any temperature: the share to keep is one of those that are left.
    wanted = keep * (slope != -math.inf).sum(0)  # (data,)
    low, high = torch.zeros_like(left), left.clone()
    enough = effective_size(_raised(slope, left)) >= wanted
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        fine = effective_size(_raised(slope, middle)) >= wanted
        low, high = torch.where(fine, middle, low), torch.where(fine, high, middle)
    return torch.where(enough, left, low)


def _chosen(state: State, ancestors: Tensor) -> State:
    """The chains of those numbers, each datum's own: ancestors (chains, data)."""
    return State(*(v.gather(0, ancestors[..., None].expand_as(v) if v.dim() == 3 else ancestors) for v in state))


def _spread(u: Tensor, before: Tensor) -> Tensor:
    """Standard deviations of the particles, (data, dims); those of before where all are one."""
    found = u.std(0)
    return torch.where(torch.isfinite(found) & (found > 1e-6 * before), found, before)


def _lineages(lineage: Tensor) -> Tensor:
    """Effective number of first ancestors that have offspring: (data,)."""
    counts = torch.zeros_like(lineage, dtype=torch.float64).scatter_add_(0, lineage, torch.ones_like(lineage).double())
    return counts.sum(0).square() / counts.square().sum(0)
