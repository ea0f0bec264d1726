"""Temperatures ``0 = beta_0 < beta_1 < ... < beta_T = 1`` of a path, and the pilot run that chooses how to move along it.

The pilot is a short run before the real one; it stretches an adaptive schedule and sets step sizes and scales, which are
then frozen. Adapting them during the real run would bias its estimate of the evidence. The pilot's chains are thrown away.

Axes: temperatures, chains, data, dims.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from pyrogen.batch import Batch
from pyrogen.errors import ConfigurationError

from .mover import Mover
from .transition import Transition

__all__ = ["AnnealingPath", "Scales", "Schedule", "equal_lengths", "plan", "require_schedule", "scales_of", "temperatures"]

Schedule: TypeAlias = Literal["sigmoid", "linear", "adaptive"] | Sequence[float] | Tensor

_SHAPES = ("sigmoid", "linear", "adaptive")
_REACH = 4.0
_DRAWS = 64  # of prior and guide, for their scales
_FIRST_STEP = 0.3
_GAIN = 0.3  # of the logarithm of the step size, for each unit of missed acceptance
_WARM_UP = 15  # transitions at the first temperature
_WINDOW = 9  # temperatures over which the noise of few chains is smoothed
_CHAINS = 4


def require_schedule(schedule: Schedule) -> None:
    """Refuse what is no schedule.

    Raises:
        ConfigurationError: an unknown name, or temperatures that do not run from 0 to 1.
    """
    if isinstance(schedule, str):
        if schedule not in _SHAPES:
            raise ConfigurationError(f"unknown schedule {schedule!r}: use one of {_SHAPES}, or give the temperatures")
        return
    values = torch.as_tensor(schedule, dtype=torch.float64, device="cpu")
    if values.dim() != 1 or len(values) < 2:
        raise ConfigurationError(f"temperatures must be a list of at least two numbers, not of shape {tuple(values.shape)}")
    if values[0] != 0 or values[-1] != 1 or not bool((values.diff() > 0).all()):
        raise ConfigurationError(
            f"temperatures must grow from 0 to 1; these run from {float(values[0]):.6g} to {float(values[-1]):.6g}"
            + ("" if bool((values.diff() > 0).all()) else " and do not grow throughout")
        )


def temperatures(schedule: Schedule, count: int) -> Tensor:
    """The inverse temperatures, in double precision: (count + 1,), or as many as were given.

    An adaptive schedule begins as a sigmoid one, which a pilot run then stretches.

    Example:
        >>> temperatures("linear", 4).tolist()
        [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    if not isinstance(schedule, str):
        return torch.as_tensor(schedule, dtype=torch.float64, device="cpu")
    line = torch.linspace(0, 1, count + 1, dtype=torch.float64, device="cpu")
    if schedule == "linear":
        return line
    curve = torch.sigmoid(_REACH * (2 * line - 1))
    return ((curve - curve[0]) / (curve[-1] - curve[0])).clamp(0, 1)


def equal_lengths(betas: Tensor, spread: Tensor, count: int) -> Tensor:
    """Temperatures between which the path has equal lengths ``integral of sd_beta(slope) d beta``.

    Equal lengths give every temperature the same conditional effective sample size, to second order.

    Reference:
        Grosse, Maddison & Salakhutdinov 2013, Annealing between distributions by averaging moments,
        https://papers.nips.cc/paper/5102; Zhou, Johansen & Aston 2016, https://arxiv.org/abs/1303.3123

    Args:
        betas: (coarse + 1, data), the temperatures of a pilot run.
        spread: (coarse + 1, data), the standard deviation of the slope at each.
        count: number of steps wanted.

    Returns:
        (count + 1, data).
    """
    floor = 1e-3 * spread.mean(0) + 1e-6
    width = betas.diff(dim=0) * (0.5 * (spread[1:] + spread[:-1]) + floor)  # (coarse, data)
    length = torch.cat([torch.zeros_like(width[:1]), width.cumsum(0)])
    length = length / length[-1]
    wanted = torch.linspace(0, 1, count + 1, dtype=betas.dtype, device=betas.device)[:, None].expand(-1, betas.shape[1])
    return interpolate(length, betas, wanted)


def interpolate(x: Tensor, y: Tensor, at: Tensor) -> Tensor:
    """Piecewise linear interpolation along the first axis, of each column alone: x, y (points, data), at (wanted, data)."""
    right = torch.searchsorted(x.T.contiguous(), at.T.contiguous()).T.clamp(1, len(x) - 1)  # (wanted, data)
    low, high = x.gather(0, right - 1), x.gather(0, right)
    share = ((at - low) / (high - low).clamp(min=torch.finfo(x.dtype).tiny)).clamp(0, 1)
    return torch.lerp(y.gather(0, right - 1), y.gather(0, right), share)


class Scales(NamedTuple):
    """About the standard deviation of each dimension, at the two ends of a path: each (data, dims)."""

    first: Tensor
    last: Tensor

    def at(self, beta: Tensor) -> Tensor:
        """Between the ends the precision is interpolated, as it is between two Gaussians: (data, dims) for beta (data,)."""
        share = beta[:, None].to(self.first)
        return ((1 - share) / self.first.square() + share / self.last.square()).rsqrt()


class AnnealingPath(NamedTuple):
    """Temperatures, and how to move at each; frozen before the run that goes by them."""

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


def plan(mover: Mover, batch: Batch, transition: Transition, schedule: Schedule, count: int) -> AnnealingPath:
    """Choose `count` temperatures, and step sizes for a transition, by a run with fewer temperatures and chains."""
    fixed = temperatures(schedule, count).to(mover.density.draw_prior(batch, 1).device)
    coarse = fixed
    if len(fixed) > 21:  # spread evenly, the first and the last among them
        fewer = max(20, len(fixed) // 4)
        coarse = fixed[sorted({round(place * (len(fixed) - 1) / fewer) for place in range(fewer + 1)})]
    scales = scales_of(mover, batch)
    state = mover.start(mover.density.draw(batch, _CHAINS), batch)
    rows = state.u.shape[1]
    log_step = state.base.new_full((rows,), math.log(_FIRST_STEP))
    log_steps, spreads = [], []
    for place, beta in enumerate(coarse):
        here = beta.to(log_step).expand(rows)
        before = state
        for _ in range(_WARM_UP if place <= 1 else 1):
            moved = mover.move(batch, state, here, log_step.exp(), scales.at(here), transition.steps)
            state = moved.state
            log_step = log_step + _GAIN * (moved.acceptance.mean(0) - transition.target)
        slope = (before if place else state).slope
        spreads.append(slope.double().nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).var(0))
        log_steps.append(log_step)
    smooth = _smoothed(torch.stack(log_steps).double())  # (coarse, data)
    wide = coarse[:, None].expand(-1, rows)
    betas = fixed[:, None].expand(-1, rows)
    if isinstance(schedule, str) and schedule == "adaptive":
        betas = equal_lengths(wide, _smoothed(torch.stack(spreads)).sqrt(), count)
    steps = interpolate(wide, smooth, betas).exp()
    return AnnealingPath(betas, steps, scales)


def _spread(u: Tensor) -> Tensor:
    """Standard deviations over chains, (data, dims); one where they are not known."""
    found = u.std(0)
    return torch.where(torch.isfinite(found) & (found > 0), found, 1.0)


def _smoothed(values: Tensor) -> Tensor:
    """A moving average along the first axis, over fewer at the ends."""
    total = torch.cat([torch.zeros_like(values[:1]), values.cumsum(0)])
    place = torch.arange(len(values), device=values.device)
    low, high = (place - _WINDOW // 2).clamp(min=0), (place + _WINDOW // 2 + 1).clamp(max=len(values))
    return (total[high] - total[low]) / (high - low)[:, None]
