"""Temperatures: the inverse temperatures ``0 = beta_0 < beta_1 < ... < beta_T = 1`` of a path.

Axes: temperatures, data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from pyrogen.errors import ConfigurationError

__all__ = ["Schedule", "equal_lengths", "require_schedule", "temperatures"]

Schedule: TypeAlias = Literal["sigmoid", "linear", "adaptive"] | Sequence[float] | Tensor

_SHAPES = ("sigmoid", "linear", "adaptive")
_REACH = 4.0


def require_schedule(schedule: Schedule) -> None:
    """Refuse what is no schedule.

    Raises:
        ConfigurationError: an unknown name, or temperatures that do not run from 0 to 1.
    """
    if isinstance(schedule, str):
        if schedule not in _SHAPES:
            raise ConfigurationError(f"unknown schedule {schedule!r}: use one of {_SHAPES}, or give the temperatures")
        return
    values = torch.as_tensor(schedule, dtype=torch.float64)
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
        return torch.as_tensor(schedule, dtype=torch.float64)
    line = torch.linspace(0, 1, count + 1, dtype=torch.float64)
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
