"""The log evidence from posterior draws of Markov chains, by bridge sampling.

Axes: chains, draws, points, dims (all latents, unconstrained and laid side by side).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from pyrogen.errors import ConfigurationError

from .chains import effective_draws

__all__ = ["Bridge", "LogDensity", "bridge"]

LogDensity: TypeAlias = Callable[[Tensor], Tensor]
"""From unconstrained points (points, dims) to the log of a density that is not normalised, (points,), in nats."""

_FEWEST_DRAWS = 8  # of a chain
_ROUNDS = 10_000
_TOLERANCE = 1e-9  # nats


class Bridge(NamedTuple):
    """A bridge-sampling estimate."""

    log_evidence: float
    """Log of the integral of the density, in nats; ``nan`` where no point told anything."""
    standard_error: float
    """Of `log_evidence`, in nats."""
    evaluations: int
    """Number of points at which the density was evaluated."""
    lost: int
    """Points of the proposal at which the log density was not a number; they count as outside the support."""


def bridge(values: Tensor, log_density: LogDensity) -> Bridge:
    r"""The log of the integral of a density from draws of its Markov chains.

    With draws :math:`u` from the density :math:`\tilde p = Z p` and :math:`v` from a normalised proposal :math:`g`, and
    shares :math:`s_1 + s_2 = 1`,

    .. math::
        Z = \frac{\mathrm E_g\, [\tilde p / (s_1 \tilde p + s_2 Z g)]}{\mathrm E_p\, [g / (s_1 \tilde p + s_2 Z g)]},

    iterated to its fixed point. The proposal is a Gaussian fitted to the first half of each chain, and the bridge stands on
    the second, so that neither has seen the other. (To let the halves change places and to average gains little: the two
    errors are products of the same deviations, and would go into no standard error.) Autocorrelation enters by
    effective numbers of draws: in :math:`s_1`, and in the standard error, which is the relative root mean square error of
    Fruehwirth-Schnatter. It knows only the modes that the chains have found.

    Reference:
        Meng & Wong 1996, Simulating Ratios of Normalizing Constants via a Simple Identity,
        https://www3.stat.sinica.edu.tw/statistica/j6n4/j6n43/j6n43.htm
        Fruehwirth-Schnatter 2004, Estimating Marginal Likelihoods for Mixture and Markov Switching Models Using Bridge
        Sampling Techniques, https://doi.org/10.1111/j.1368-423X.2004.00125.x
        Gronau et al. 2017, A Tutorial on Bridge Sampling, https://arxiv.org/abs/1703.05984

    Args:
        values: the draws, (chains, draws, dims), at least eight of a chain, on the unconstrained space.
        log_density: the density that they come from, not normalised, in nats.

    Returns:
        The estimate with its error.

    Raises:
        ConfigurationError: there are too few draws to fit a proposal.

    Example:
        >>> draws = torch.randn(4, 500, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        >>> found = bridge(draws, lambda u: -u.square().sum(-1) / 2)
        >>> abs(found.log_evidence - math.log(2 * math.pi)) < 5 * found.standard_error
        True
    """
    draws = values.shape[1]
    if draws < _FEWEST_DRAWS:
        raise ConfigurationError(f"bridge sampling needs at least {_FEWEST_DRAWS} draws of each chain, not {draws}")
    fitted, used = values.detach().tensor_split([draws // 2], dim=1)  # (chains, half the draws, dims)
    proposal = _gaussian(fitted)
    points = proposal.sample(torch.Size([2 * used[..., 0].numel()]))  # (points, dims)
    at_draws = log_density(used.flatten(0, 1)).detach().double().reshape(used.shape[:2])  # (chains, half the draws)
    at_points = log_density(points.to(values.dtype)).detach().double()  # (points,)
    strays = torch.isnan(at_points)
    at_points = torch.where(strays, -math.inf, at_points)
    of_draws, of_points = (proposal.log_prob(u) for u in (used.double(), points))  # type: ignore[no-untyped-call]
    estimate, variance = _fixed_point(at_draws - of_draws, at_points - of_points)
    return Bridge(estimate, math.sqrt(variance), at_draws.numel() + at_points.numel(), int(strays.sum()))


def _fixed_point(of_draws: Tensor, of_points: Tensor) -> tuple[float, float]:
    """The log of Z and its variance, from the log of ``p~ / g`` at draws (chains, draws) and at the proposal's (points,)."""
    count = min(effective_draws(of_draws), of_draws.numel())
    share = count / (count + len(of_points))  # s_1
    ours, theirs = math.log(share), math.log1p(-share)
    log_ratio = torch.cat([of_draws.flatten(), of_points]).nan_to_num(neginf=-1e300, posinf=1e300).median()
    for _ in range(_ROUNDS):
        above = (of_points - torch.logaddexp(ours + of_points, theirs + log_ratio)).logsumexp(0) - math.log(len(of_points))
        below = (-torch.logaddexp(ours + of_draws, theirs + log_ratio)).flatten().logsumexp(0) - math.log(of_draws.numel())
        before, log_ratio = log_ratio, above - below
        if not bool((log_ratio - before).abs() > _TOLERANCE):
            break
    at_points = (of_points - log_ratio - torch.logaddexp(ours + of_points - log_ratio, log_ratio.new_tensor(theirs))).exp()
    at_draws = (-torch.logaddexp(ours + of_draws - log_ratio, log_ratio.new_tensor(theirs))).exp()
    variance = at_points.var() / at_points.mean().square() / len(of_points)
    variance = variance + at_draws.var() / at_draws.mean().square() / effective_draws(at_draws)
    return float(log_ratio), float(variance)


def _gaussian(values: Tensor) -> MultivariateNormal:
    """A Gaussian in double precision, fitted to draws (chains, draws, dims); correlations shrink where draws are few."""
    points = values.flatten(0, 1).double()  # (points, dims)
    dims = points.shape[-1]
    centred = points - points.mean(0)
    covariance = centred.mT @ centred / (len(points) - 1)  # (dims, dims)
    floor = torch.finfo(torch.float64).tiny ** 0.5
    diagonal = covariance.diagonal().clamp(min=floor).diag_embed()
    shrinkage = dims / (dims + len(points))
    return MultivariateNormal(points.mean(0), (1 - shrinkage) * covariance + shrinkage * diagonal, validate_args=False)
