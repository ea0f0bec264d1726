"""Pareto smoothing of importance weights, for all data at once.

The largest weights of each datum are replaced by the expected order statistics of a generalized Pareto distribution
fitted to them; its tail index k-hat says whether the weights have enough moments for an estimate to be trusted.

Axes: particles, data; tail (the largest weights, ascending), grid (values of the profile likelihood).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["fit_generalized_pareto", "smooth"]

_FEWEST_TAIL_WEIGHTS = 5


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
