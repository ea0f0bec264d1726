"""Resampling: which particles have offspring, so that many of little weight give way to few of much.

Axes: particles, data. All is done for each datum apart, and for all data at once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pyrogen.errors import ConfigurationError

__all__ = ["effective_size", "inherit", "systematic"]


def effective_size(log_weight: Tensor) -> Tensor:
    r"""The number of equally weighted particles that are worth as much, ``(sum w)^2 / sum w^2``.

    Reference:
        Kong, Liu, Wong (1994), *Sequential Imputations and Bayesian Missing Data Problems*,
        https://doi.org/10.1080/01621459.1994.10476469

    Args:
        log_weight: (particles, data), in nats, up to a constant for each datum. NaN counts as no weight.

    Returns:
        (data,), in double precision, between 1 and the number of particles; 0 where no particle has a weight.

    Raises:
        ConfigurationError: the weights have another shape.

    Example:
        >>> effective_size(torch.tensor([[0.0, 0.0], [0.0, -float("inf")]]))
        tensor([2., 1.], dtype=torch.float64)
    """
    weight = _relative(log_weight)  # (particles, data)
    return weight.sum(0).square() / weight.square().sum(0).clamp(min=1.0)


def systematic(log_weight: Tensor, uniform: Tensor | None = None) -> Tensor:
    r"""Ancestors by systematic resampling: particle k has floor or ceil of ``K w_k`` offspring, and ``K w_k`` on average.

    With the cumulated weights :math:`C_k = K \sum_{j \le k} w_j` and one uniform number u for all particles of a datum,
    particle k has :math:`\lceil C_k - u \rceil - \lceil C_{k-1} - u \rceil` offspring. The weights are cumulated in double
    precision and the offspring counted in integers, so that 1,000,000 particles have 1,000,000 offspring.

    A particle of weight zero (-inf) or NaN has none. Where no particle has a weight, each is its own ancestor: nothing is
    known there that could choose between them. Infinite weights share the offspring.

    Reference:
        Kitagawa (1996), *Monte Carlo Filter and Smoother for Non-Gaussian Nonlinear State Space Models*,
        https://doi.org/10.1080/10618600.1996.10474692

    Args:
        log_weight: (particles, data), in nats, up to a constant for each datum.
        uniform: (data,), numbers in [0, 1); drawn if not given.

    Returns:
        (particles, data), int64: the ancestor of each new particle, sorted for each datum.

    Raises:
        ConfigurationError: there are no particles, or a shape is another.

    Example:
        >>> log_weight = torch.tensor([[0.1], [0.6], [0.3]], dtype=torch.float64).log()
        >>> systematic(log_weight, uniform=torch.tensor([0.5])).T
        tensor([[1, 1, 2]])
    """
    weight = _relative(log_weight)  # (particles, data)
    particles, data = weight.shape
    if uniform is None:
        uniform = torch.rand(data, dtype=torch.float64, device=weight.device)
    elif uniform.shape != (data,):
        raise ConfigurationError(f"uniform must have shape ({data},), one number for each datum, not {tuple(uniform.shape)}")
    # A parallel sum need not grow with every term: a particle without weight is passed over, whatever its sum says.
    total = torch.where(weight > 0, weight.cumsum(0), 0.0)  # (particles, data)
    last = total.amax(0)  # (data,)
    due = total * (particles / last.clamp(min=1.0))  # (particles, data), of a particle and all before
    whole = due.floor()
    ends = (whole + (due - whole > uniform)).clamp(max=particles).long()  # the ceiling of due - uniform, without rounding
    # Up to and with the last particle that has a weight, all offspring are born, whatever rounding has made of its sum.
    ends = torch.where((total >= last) & (weight > 0), particles, ends).cummax(0).values
    places = torch.arange(particles, device=weight.device).unsqueeze(1)  # (particles, 1)
    ends = torch.where(last > 0, ends, places + 1)
    offspring = ends.diff(dim=0, prepend=ends.new_zeros(1, data))  # (particles, data)
    flat = places.T.expand(data, particles).reshape(-1)  # (data * particles,)
    chosen = flat.repeat_interleave(offspring.T.reshape(-1), output_size=particles * data)
    return chosen.reshape(data, particles).T  # (particles, data)


def inherit(value: Tensor, ancestors: Tensor) -> Tensor:
    """What the ancestors had: ``result[k, i] = value[ancestors[k, i], i]``.

    Args:
        value: (particles, data, ...).
        ancestors: (new particles, data), int64.

    Returns:
        (new particles, data, ...).

    Example:
        >>> inherit(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[0, 1], [0, 1]]))
        tensor([[1., 4.],
                [1., 4.]])
    """
    return value[ancestors, torch.arange(ancestors.shape[1], device=ancestors.device)]


def _relative(log_weight: Tensor) -> Tensor:
    """Weights relative to each datum's largest, (particles, data), in double precision; zero where there are none."""
    if log_weight.dim() != 2 or log_weight.shape[0] < 1:
        raise ConfigurationError(
            f"log weights must have shape (particles, data), with at least one particle, not {tuple(log_weight.shape)}"
        )
    log_weight = torch.where(log_weight.isnan(), -torch.inf, log_weight).double()
    largest = log_weight.amax(0)  # (data,)
    weight = (log_weight - largest).exp()
    # At infinities the difference is NaN: of the largest there, which share all, or of all, which have none.
    return torch.where(log_weight == largest, (largest > -torch.inf).double(), weight)
