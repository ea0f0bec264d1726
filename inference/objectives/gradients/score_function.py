"""The score function gradient, for draws that carry no gradient, with its baselines.

Axes: particles, data.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor

from pyrogen.errors import ConfigurationError
from pyrogen.programs.run import Site

from ...weights.terms import Weighed, reduce_site
from .estimator import BoundOfWeights, BoundTask, GradientEstimator, Surrogate

__all__ = ["Baseline", "LeaveOneOut", "NoBaseline", "RunningAverage", "ScoreFunction"]


class Baseline(ABC):
    """What a learning signal is measured against, so that it varies less; independent of the draw whose score it meets."""

    @abstractmethod
    def signal(
        self, log_weight: Tensor, objective: BoundOfWeights, state: Mapping[str, Tensor]
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The learning signal of each particle, and what is carried on.

        Args:
            log_weight: (particles, ...), without gradients, in nats.
            objective: the bound.
            state: what the last call returned.

        Returns:
            The bound minus the baseline, (particles, ...), and the new state.
        """


class NoBaseline(Baseline):
    """No baseline: the signal is the bound itself."""

    def signal(
        self, log_weight: Tensor, objective: BoundOfWeights, state: Mapping[str, Tensor]
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """See `Baseline.signal`."""
        if objective.order == 1.0:  # a particle's draw moves its own weight alone
            return log_weight / len(log_weight), state
        return objective.bound(log_weight).expand_as(log_weight), state


class RunningAverage(Baseline):
    """The average signal of earlier steps; the present one is taken in afterwards, so that the gradient stays unbiased.

    Args:
        decay: what is left of an earlier step at the next, at least 0 and below 1.

    Raises:
        ConfigurationError: `decay` is out of its range.
    """

    def __init__(self, decay: float = 0.9) -> None:
        if not 0 <= decay < 1:
            raise ConfigurationError(f"decay must be at least 0 and below 1, not {decay}")
        self.decay = decay

    def signal(
        self, log_weight: Tensor, objective: BoundOfWeights, state: Mapping[str, Tensor]
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """See `Baseline.signal`."""
        plain, _ = NoBaseline().signal(log_weight, objective, {})
        zero = log_weight.new_zeros(())
        total, weight = state.get("baseline.total", zero), state.get("baseline.weight", zero)
        carried = {
            "baseline.total": self.decay * total + (1 - self.decay) * plain.mean(),
            "baseline.weight": self.decay * weight + (1 - self.decay),
        }
        return plain - total / weight.clamp(min=1e-8), {**state, **carried}


class LeaveOneOut(Baseline):
    """The bound with a particle's weight replaced by the geometric mean of the others'.

    For an ELBO that is the leave-one-out baseline; for importance-weighted bounds it is VIMCO.

    Reference:
        Mnih & Rezende 2016, Variational Inference for Monte Carlo Objectives, https://arxiv.org/abs/1602.06725
        Kool, van Hoof & Welling 2019, Buy 4 REINFORCE Samples, Get a Baseline for Free,
        https://openreview.net/forum?id=r1lgTGL5DE
    """

    def signal(
        self, log_weight: Tensor, objective: BoundOfWeights, state: Mapping[str, Tensor]
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """See `Baseline.signal`.

        Raises:
            ConfigurationError: there is no other particle.
        """
        count = len(log_weight)
        if count < 2:
            raise ConfigurationError(f"a leave-one-out baseline needs at least 2 particles, and {objective.name} has 1")
        others = (log_weight.sum(0) - log_weight) / (count - 1)  # log of the geometric mean of the other weights
        if objective.order == 1.0:
            return (log_weight - others) / count, state
        diagonal = torch.eye(count, dtype=torch.bool, device=log_weight.device)
        diagonal = diagonal.reshape(count, count, *(1,) * (log_weight.dim() - 1))
        replaced = torch.where(diagonal, others.unsqueeze(0), log_weight.unsqueeze(1))  # (particles, left out, ...)
        return objective.bound(log_weight).unsqueeze(0) - objective.bound(replaced), state


class ScoreFunction(GradientEstimator):
    """The score function gradient (REINFORCE), at the guide's sites whose draws carry no gradient; pathwise at the others.

    ``grad E_q[f(z)] = E_q[(f(z) - baseline) grad log q(z)] + E_q[grad f(z)]``

    Reference:
        Williams 1992, Simple Statistical Gradient-Following Algorithms, https://doi.org/10.1007/BF00992696

    Args:
        baseline: what the learning signal is measured against; if not given, `LeaveOneOut` for several particles and
            `RunningAverage` for one.
        everywhere: take the score function's gradient at all latents, those whose draws carry a gradient as well.
    """

    name = "score-function"

    def __init__(self, baseline: Baseline | None = None, *, everywhere: bool = False) -> None:
        self.baseline, self.everywhere = baseline, everywhere

    def surrogate(self, task: BoundTask) -> Surrogate:
        """See `GradientEstimator.surrogate`."""
        run = self._scored(task) if self.everywhere else task.weigh()
        log_weight = task.log_weight(run)
        bound, state = task.objective.bound(log_weight), task.state
        if run.score_sites:
            # One signal for all sites: a running average must not have seen the weight that it is subtracted from.
            baseline = self.baseline or (LeaveOneOut() if task.objective.particles > 1 else RunningAverage())
            if task.structure.independent and task.objective.order == 1.0:
                term, state = _by_cells(task, run, baseline, shared=log_weight.dim() == 1)
                return Surrogate(task.total(bound, run) + (term - term.detach()), run, state)
            signal, state = baseline.signal(log_weight.detach(), task.objective, state)
            term = (signal * _log_prob(run, log_weight.dim(), task.structure.nesting)).sum(0)  # (data,) or ()
            bound = bound + (term - term.detach())
        return Surrogate(task.total(bound, run), run, state)

    def _scored(self, task: BoundTask) -> Weighed:
        """A weighed run of draws that carry no gradient."""
        task.require_repeatable(self.name)
        with torch.no_grad():
            drawn = task.run_guide()
        guide = task.run_guide(drawn.latents(), drawn)
        run = task.weigh(guide=guide)
        run.score_sites = [site for site in guide.visited.values() if not site.observed]
        return run


def _by_cells(task: BoundTask, run: Weighed, baseline: Baseline, *, shared: bool) -> tuple[Tensor, Mapping[str, Tensor]]:
    """The score term of an ELBO, (), where a draw answers for its own cell of independent plates, and what is carried on.

    What other cells add to the log weight is no consequence of the draw, so that leaving it out changes no mean.

    Reference:
        Schulman, Heess, Weber & Abbeel 2015, Gradient Estimation Using Stochastic Computation Graphs,
        https://arxiv.org/abs/1506.05254
    """
    nesting = task.structure.nesting
    own = set(task.structure.independent) | (set() if shared else {task.pair.data_plate})
    groups: dict[tuple[tuple[int, str], ...], list[Site]] = {}
    for site in run.score_sites:
        kept = tuple(sorted((dim, plate) for dim, plate in site.plates.items() if plate in own))
        groups.setdefault(kept, []).append(site)
    total, state = run.cells[0][1].new_zeros(()), dict(task.state)
    for kept, sites in groups.items():
        cells = dict(kept)
        weight = total.new_zeros(())
        for site, value, divergence in run.cells:
            value = -task.beta * value if divergence else value
            value = value.detach() * (run.scale if site.dim is not None else 1.0)
            value = value.reshape((1,) * (nesting + 1 - value.dim()) + value.shape)  # (particles or 1, plates...)
            summed = [dim for dim in range(-nesting, 0) if dim not in cells or site.plates.get(dim) != cells[dim]]
            weight = weight + (value.sum(summed, keepdim=True) if summed else value)
        prefix = "/".join(plate for _, plate in kept) + ":"
        before = {name.removeprefix(prefix): value for name, value in task.state.items() if name.startswith(prefix)}
        weight = weight.expand(task.objective.particles, *weight.shape[1:])
        signal, after = baseline.signal(weight, task.objective, before)
        state |= {prefix + name: value for name, value in after.items()}
        for site in sites:
            total = total + (signal * site.log_prob()).sum()
    return total, state


def _log_prob(run: Weighed, dims: int, nesting: int) -> Tensor:
    """Log density of all draws without a gradient: (particles, data), or (particles,) where `dims` is 1."""
    values = [reduce_site(site.log_prob(), site.dim, nesting) for site in run.score_sites]
    parts = [value.sum(-1) if value.dim() > dims else value for value in values]
    return sum(parts[1:], parts[0])
