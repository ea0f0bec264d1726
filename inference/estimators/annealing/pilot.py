"""A short run before the real one, which chooses temperatures, step sizes and scales; then they are frozen.

Adapting them during the real run would make its estimate of the evidence biased. The pilot's own chains are thrown away.

Axes: temperatures, chains, data, dims.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pyrogen.batch import Batch

from .mover import Mover
from .schedule import Schedule, equal_lengths, interpolate, temperatures
from .transition import Transition

__all__ = ["Plan", "Scales", "plan"]

_DRAWS = 64  # of prior and guide, for their scales
_FIRST_STEP = 0.3
_GAIN = 0.3  # of the logarithm of the step size, for each unit of missed acceptance
_WARM_UP = 15  # transitions at the first temperature
_WINDOW = 9  # temperatures over which the noise of few chains is smoothed
_CHAINS = 4


@dataclass(frozen=True)
class Scales:
    """About the standard deviation of each dimension, at the two ends of a path: each (data, dims)."""

    first: Tensor
    last: Tensor

    def at(self, beta: Tensor) -> Tensor:
        """Between the ends the precision is interpolated, as it is between two Gaussians: (data, dims) for beta (data,)."""
        share = beta[:, None].to(self.first)
        return ((1 - share) / self.first.square() + share / self.last.square()).rsqrt()


@dataclass(frozen=True)
class Plan:
    """What a run goes by."""

    betas: Tensor
    """(temperatures + 1, data), from 0 to 1."""
    steps: Tensor
    """(temperatures + 1, data), the step size at each."""
    scales: Scales


def scales_of(mover: Mover, batch: Batch) -> Scales:
    """The scales of prior and guide; of the guide alone on a path that begins there."""
    density = mover.density
    last = _spread(density.draw_guide(batch, _DRAWS))
    return Scales(last if density.initial == "guide" else _spread(density.draw_prior(batch, _DRAWS)), last)


def plan(mover: Mover, batch: Batch, transition: Transition, schedule: Schedule, count: int) -> Plan:
    """Choose temperatures and step sizes by a run with fewer temperatures and chains.

    Args:
        mover: moves chains.
        batch: the data.
        transition: the transition to plan for.
        schedule: the schedule asked for.
        count: number of temperatures.
    """
    fixed = temperatures(schedule, count).to(mover.density.draw_prior(batch, 1).device)
    coarse = fixed if len(fixed) <= 21 else fixed[_even(len(fixed), max(20, len(fixed) // 4))]
    scales = scales_of(mover, batch)
    state = mover.start(mover.density.draw(batch, _CHAINS), batch)
    rows = state.u.shape[1]
    log_step = state.base.new_full((rows,), math.log(_FIRST_STEP))
    log_steps, spreads = [], []
    for place, beta in enumerate(coarse):
        here = beta.to(log_step).expand(rows)
        if place:
            spreads.append(state.slope.double().nan_to_num(nan=0.0, posinf=0.0, neginf=0.0))
        for _ in range(_WARM_UP if place <= 1 else 1):
            moved = mover.move(batch, state, here, log_step.exp(), scales.at(here), transition.steps)
            state = moved.state
            log_step = log_step + _GAIN * (moved.acceptance.mean(0) - transition.target)
        if not place:
            spreads.append(state.slope.double().nan_to_num(nan=0.0, posinf=0.0, neginf=0.0))
        log_steps.append(log_step)
    smooth = _smoothed(torch.stack(log_steps).double())  # (coarse, data)
    wide = coarse[:, None].expand(-1, rows)
    betas = fixed[:, None].expand(-1, rows)
    if isinstance(schedule, str) and schedule == "adaptive":
        betas = equal_lengths(wide, _smoothed(torch.stack([s.var(0) for s in spreads])).sqrt(), count)
    steps = interpolate(wide, smooth, betas).exp()
    return Plan(betas, steps, scales)


def _spread(u: Tensor) -> Tensor:
    """Standard deviations over chains, (data, dims); one where they are not known."""
    found = u.std(0)
    return torch.where(torch.isfinite(found) & (found > 0), found, 1.0)


def _even(size: int, count: int) -> Tensor:
    """Places spread evenly over so many, the first and the last among them."""
    return torch.tensor(sorted({round(place * (size - 1) / count) for place in range(count + 1)}))


def _smoothed(values: Tensor) -> Tensor:
    """A moving average along the first axis, over fewer at the ends."""
    total = torch.cat([torch.zeros_like(values[:1]), values.cumsum(0)])
    place = torch.arange(len(values), device=values.device)
    low, high = (place - _WINDOW // 2).clamp(min=0), (place + _WINDOW // 2 + 1).clamp(max=len(values))
    return (total[high] - total[low]) / (high - low)[:, None]
