"""Mean importance weights, their errors and their diagnosis by Pareto smoothing, for all data at once.

The largest weights of each datum are replaced by the expected order statistics of a generalized Pareto distribution
fitted to them; its tail index k-hat says whether the weights have enough moments for an estimate to be trusted.

Axes: particles, data; tail (the largest weights, ascending), grid (values of the profile likelihood).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["LogMean", "diagnosed_log_mean", "fit_generalized_pareto", "log_mean", "smooth"]

_FEWEST_TAIL_WEIGHTS = 5


class LogMean(NamedTuple):
    """The logarithm of a mean weight, each (data,)."""

    value: Tensor
    """In nats."""
    standard_error: Tensor
    """By the delta method, ``sqrt(1 / ESS - 1 / K)`` for K particles, in nats."""
    ess: Tensor
    """The effective number of particles."""


def log_mean(log_weight: Tensor) -> LogMean:
    """The logarithm of the mean weight of each datum, from log weights (particles, data) in double precision.

    Where no particle has any weight they are minus infinity, infinity and zero.
    """
    count = len(log_weight)
    total = log_weight.logsumexp(0)  # (data,)
    dead = total == -math.inf
    ess = (-(2 * (log_weight - total)).logsumexp(0)).exp().masked_fill(dead, 0.0)
    spread = (1 / ess - 1 / count).clamp(min=0) * count / (count - 1)
    return LogMean(total - math.log(count), spread.sqrt(), ess)


def diagnosed_log_mean(log_weight: Tensor, *, smoothing: bool) -> tuple[LogMean, Tensor]:
    """The logarithm of the mean weight of each datum, and k-hat, which says whether it can be trusted, (data,).

    Args:
        log_weight: (particles, data), in nats.
        smoothing: take the mean of the smoothed weights.
    """
    smoothed, khat = smooth(log_weight)
    return log_mean(smoothed if smoothing else log_weight.double()), khat


def smooth(log_weight: Tensor) -> tuple[Tensor, Tensor]:
    """Pareto-smooth log weights, datum by datum.

    Reference:
        Vehtari, Simpson, Gelman, Yao & Gabry 2024, Pareto Smoothed Importance Sampling,
        https://arxiv.org/abs/1507.02646

    Args:
        log_weight: (particles, data), in nats.

    Returns:
        The smoothed log weights, (particles, data), not normalized, and k-hat, (data,): ``-inf`` where the
        largest weights are all equal, ``nan`` where fewer than five of them differ from the rest.
    """
    count, rows = log_weight.shape
    peak = log_weight.max(0).values  # (data,)
    values = (log_weight - peak).double()
    khat = values.new_full((rows,), math.nan)
    tail_size = min(math.ceil(min(count / 5, 3 * math.sqrt(count))), count - 1)
    equal = values.min(0).values > -1e-6
    if tail_size < _FEWEST_TAIL_WEIGHTS:
        return log_weight.double(), khat.masked_fill(equal, -math.inf)
    largest, where = values.topk(tail_size + 1, dim=0)  # (tail + 1, data), descending
    floor = math.log(torch.finfo(torch.float64).tiny)
    cutoff = largest[-1].clamp(min=floor)  # (data,)
    sizes = (largest > cutoff).sum(0)  # (data,), smaller than the tail where weights are tied
    khat[equal | (sizes == 0)] = -math.inf
    for size in sorted(set(sizes.tolist())):
        if size < _FEWEST_TAIL_WEIGHTS:
            continue
        columns = ((sizes == size) & torch.isnan(khat)).nonzero()[:, 0]
        tail = largest[:size, columns].flip(0).exp() - cutoff[columns].exp()  # (tail, data)
        shape, scale = fit_generalized_pareto(tail)
        khat[columns] = shape
        quantile = (torch.arange(size, dtype=tail.dtype, device=tail.device) + 0.5) / size
        smoothed = _quantile(quantile.unsqueeze(-1), shape, scale) + cutoff[columns].exp()
        usable = torch.isfinite(shape) & (scale > 0)
        ranks = where[:size, columns].flip(0)  # (tail, data)
        replaced = torch.where(usable, smoothed.log().clamp(max=0.0), values[ranks, columns])
        values[ranks, columns] = replaced
    return values + peak, khat


def fit_generalized_pareto(tail: Tensor) -> tuple[Tensor, Tensor]:
    """Fit generalized Pareto distributions to positive samples, with a weak prior that draws k towards 0.5.

    Reference:
        Zhang & Stephens 2009, A New and Efficient Estimation Method for the Generalized Pareto Distribution,
        https://doi.org/10.1198/tech.2009.08017

    Args:
        tail: (tail, data), ascending, positive.

    Returns:
        Shape k and scale sigma, each (data,).
    """
    count = tail.shape[0]
    grid_size = 30 + int(math.sqrt(count))
    steps = torch.arange(1, grid_size + 1, dtype=tail.dtype, device=tail.device).unsqueeze(-1)  # (grid, 1)
    quartile = tail[int(count / 4 + 0.5) - 1]
    grid = (1 - (grid_size / (steps - 0.5)).sqrt()) / (3 * quartile) + 1 / tail[-1]  # (grid, data)
    shapes = torch.stack([torch.log1p(-row * tail).mean(0) for row in grid])  # (grid, data)
    profile = count * ((-grid / shapes).log() - shapes - 1)
    weight = profile.softmax(0)
    weight = torch.where(weight >= 10 * torch.finfo(tail.dtype).eps, weight, 0.0)
    weight = weight / weight.sum(0)
    best = (grid * weight).sum(0)  # (data,)
    shape = torch.log1p(-best * tail).mean(0)
    scale = -shape / best
    return (count * shape + 5.0) / (count + 10.0), scale


def _quantile(probability: Tensor, shape: Tensor, scale: Tensor) -> Tensor:
    """Quantiles of the generalized Pareto distribution: (tail, data)."""
    exponential = -torch.log1p(-probability)
    small = shape.abs() < 1e-12
    safe = torch.where(small, 1.0, shape)
    return scale * torch.where(small, exponential, torch.expm1(safe * exponential) / safe)
