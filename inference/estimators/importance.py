"""Importance sampling from the guide and a few draws of the prior, with Pareto-smoothed weights and their diagnostics."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pyrogen.errors import ConfigurationError, require_at_least
from pyrogen.pareto import log_mean, smooth

from ..weights.chunks import Block, Chunk
from ..weights.defensive import Curvature, defensive_chunks, guide_is_gaussian, prior_can_stand_in
from ..weights.memory import DEFAULT_MAX_BYTES
from .estimate import BlockEstimate, Curve, Draws, Estimate, Estimator, Kind
from .standard_errors import central_quantile

__all__ = ["ImportanceSampling"]

_LEVEL = 0.999  # of the interval in which weight may lie that the guide's draws do not explain
_FEW = 25  # effective draws from the prior
_NARROW = 0.5  # curvature at which the weights have no variance


class ImportanceSampling(Estimator):
    """log p(x) by importance sampling from the guide, Pareto-smoothed, and from a few draws of the prior.

    ``log p(x) ~ log 1/K sum_k w_k,  w_k = p(x, z_k) / ((1 - d) q(z_k | x) + d p(z_k))``

    A share d of the particles comes from the prior, so that mass that the guide has none of can be met. Where these carry
    weight that the guide's do not explain, a note says so, and the datum is flagged if they are few. The weights of the
    guide's particles are smoothed; the standard error is that of all weights, by the delta method: ``sqrt(1/ESS - 1/K)``.
    It can be trusted where k-hat is at most 0.7 and a Gaussian guide is not too narrow in some direction. The same
    particles, resampled by their weights, are posterior draws.

    Reference:
        Vehtari et al. 2024, Pareto Smoothed Importance Sampling, https://arxiv.org/abs/1507.02646
        Hesterberg 1995, Weighted Average Importance Sampling and Defensive Mixture Distributions,
        https://doi.org/10.1080/00401706.1995.10484303

    Args:
        particles: particles K for each datum.
        draws: posterior draws to keep for each datum; 0 keeps none.
        smoothing: smooth the weights; without it the estimate is, in expectation, a lower bound.
        defensive: share d of the particles that are drawn from the prior. It counts as 0 where nothing can be drawn from it,
            or the guide does not know the density of what is drawn.
        max_bytes: memory that an estimate may use.

    Example:
        >>> from pyrogen.models import LinearGaussianVAE
        >>> estimate = ImportanceSampling(1000).estimate(LinearGaussianVAE((4,), latent=2), torch.zeros(3, 4))
        >>> estimate.khat.shape, estimate.draws.latents["z"].shape
        (torch.Size([3]), torch.Size([100, 3, 2]))
    """

    def __init__(
        self,
        particles: int = 5000,
        *,
        draws: int = 100,
        smoothing: bool = True,
        defensive: float = 0.1,
        max_bytes: int = DEFAULT_MAX_BYTES,
    ) -> None:
        require_at_least(2, particles=particles)
        require_at_least(0, draws=draws)
        if not 0 <= defensive < 1:
            raise ConfigurationError(f"defensive must be a share of the particles, from 0 to below 1, not {defensive}")
        self.particles, self.draws, self.smoothing, self.max_bytes = particles, draws, smoothing, max_bytes
        self.defensive = defensive
        self.name = f"IS({particles})" if smoothing else f"plain IS({particles})"

    @property
    def kind(self) -> Kind:
        """See `Estimator.kind`."""
        return "consistent" if self.smoothing else "lower"

    def begin(self, whole: Block) -> Block:
        """See `Estimator.begin`."""
        whole = super().begin(whole)
        outside = min(round(self.defensive * self.particles), self.particles - 1)
        outside = outside if whole.structure.latents and outside and prior_can_stand_in(whole) else 0
        narrow = bool(whole.structure.latents) and guide_is_gaussian(whole)
        return replace(whole, state=_Shared(outside, narrow, _Ladder(self.particles, self.particles - outside)))

    def block(self, block: Block) -> BlockEstimate:
        """See `Estimator.block`."""
        shared: _Shared = block.state
        inside = self.particles - shared.outside
        parts: list[Tensor] = []
        own: list[Tensor] = []  # the guide's weights, as if there were no other particles
        curvature = Curvature()
        reservoir = _Reservoir(self.draws, self.max_bytes // 4) if self.draws and block.structure.latents else None
        for chunk, log_weight in defensive_chunks(block, self.particles, shared.outside):
            parts.append(chunk.log_weight)
            if log_weight is not None:
                own.append(log_weight)
                if shared.gaussian:
                    curvature.add(chunk, log_weight)
            if reservoir is not None:
                reservoir.add(chunk)
        draws = None if reservoir is None else reservoir.drawn()
        log_weight, guided = torch.cat(parts).double(), torch.cat(own)
        shared.ladder.add(guided)
        smoothed, khat = smooth(log_weight[:inside])
        mean = log_mean(torch.cat([smoothed, log_weight[inside:]]) if self.smoothing else log_weight)
        diagnostics = {}
        if shared.outside:
            alone, others = log_mean(guided.double()), log_mean(log_weight[inside:])
            error = (mean.standard_error.square() + alone.standard_error.square()).sqrt()
            excess = mean.value - alone.value - central_quantile(_LEVEL) * error
            diagnostics["missed"] = torch.where(excess > 0, -torch.expm1(alone.value - mean.value), 0.0)
            diagnostics["met"] = others.ess
        if (largest := curvature.largest()) is not None:
            diagnostics["curvature"] = largest
        return BlockEstimate(*mean[:2], khat, mean.ess, draws=draws, diagnostics=diagnostics)

    def finish(self, found: Estimate, whole: Block) -> Estimate:
        """See `Estimator.finish`."""
        flagged, notes = torch.zeros_like(found.log_prob, dtype=torch.bool), []
        missed, curvature = found.diagnostics.get("missed"), found.diagnostics.get("curvature")
        if missed is not None and bool((missed > 0).any()):
            flagged = (missed > 0) & (found.diagnostics["met"] < _FEW)
            notes.append(
                f"draws from the prior carry weight that the guide's do not explain for {_share(missed > 0)} of the data, "
                f"{float(missed[missed > 0].mean()):.0%} of the evidence on average: the guide misses part of the posterior"
            )
        if curvature is not None and bool((curvature > _NARROW).any()):
            flagged = flagged | (curvature > _NARROW)
            notes.append(
                f"for {_share(curvature > _NARROW)} of the data the posterior's variance is more than twice the guide's in "
                "some direction, so that the weights have no variance: no importance estimate can be trusted there"
            )
        return replace(found, curve=whole.state.ladder.curve(), flagged=flagged, notes=(*found.notes, *notes))


@dataclass(frozen=True)
class _Shared:
    """What all blocks share."""

    outside: int
    """Particles from the prior."""
    gaussian: bool
    """Whether the guide is Gaussian, so that the curvature of its log weights can be told."""
    ladder: _Ladder


class _Reservoir:
    """Draws from the particles of a stream, in proportion to their weights, without keeping the stream.

    Particles are buffered up to a number of bytes and then folded in: each draw is replaced by one from the buffer with the
    probability that the buffer's total weight has in the total so far.
    """

    def __init__(self, draws: int, max_bytes: int) -> None:
        self.draws, self.max_bytes = draws, max_bytes
        self.buffer: list[tuple[Tensor, dict[str, Tensor]]] = []
        self.bytes = 0
        self.total: Tensor | None = None  # (data,), log of the weight folded in
        self.values: dict[str, Tensor] = {}  # (draws, data, event...)

    def add(self, chunk: Chunk) -> None:
        """Buffer a chunk's latents and log likelihoods."""
        found = {"": chunk.log_likelihood, **chunk.latents}
        self.buffer.append((chunk.log_weight, found))
        self.bytes += sum(value.numel() * value.element_size() for value in found.values())
        if self.bytes > self.max_bytes:
            self.fold()

    def fold(self) -> None:
        """Take the buffer in."""
        if not self.buffer:
            return
        log_weight = torch.cat([weights for weights, _ in self.buffer]).double()  # (particles, data)
        values = {name: torch.cat([found[name] for _, found in self.buffer]) for name in self.buffer[0][1]}
        self.buffer, self.bytes = [], 0
        total = log_weight.logsumexp(0)  # (data,)
        chosen = torch.multinomial((log_weight - total).exp().T, self.draws, replacement=True).T  # (draws, data)
        column = torch.arange(log_weight.shape[1], device=log_weight.device)
        fresh = {name: value[chosen, column] for name, value in values.items()}
        if self.total is None:
            self.total, self.values = total, fresh
            return
        self.total = torch.logaddexp(self.total, total)
        replace = torch.rand(chosen.shape, dtype=total.dtype, device=total.device) < (total - self.total).exp()
        for name, value in fresh.items():
            where = replace.reshape(replace.shape + (1,) * (value.dim() - 2))  # (draws, data, 1...)
            self.values[name] = torch.where(where, value, self.values[name])

    def drawn(self) -> Draws:
        """The draws of all that was added."""
        self.fold()
        latents = dict(self.values)
        return Draws(log_likelihood=latents.pop(""), latents=latents)


def _share(found: Tensor) -> str:
    return f"{float(found.double().mean()):.1%}"


class _Ladder:
    """The importance-weighted bound for growing numbers of particles, from the guide's `count` weights."""

    def __init__(self, particles: int, count: int) -> None:
        steps = [m * 10**e for e in range(9) for m in (1, 2, 5)]
        self.steps = [*(k for k in steps if k <= min(particles // 10, count // 2)), count]
        self.sums = [0.0] * len(self.steps)
        self.variances = [0.0] * len(self.steps)
        self.rows = 0

    def add(self, log_weight: Tensor) -> None:
        """Take in the weights (particles, data) of some data."""
        self.rows += log_weight.shape[1]
        for i, k in enumerate(self.steps):
            groups = log_weight.shape[0] // k
            grouped = log_weight[: groups * k].double().reshape(k, groups, -1)  # (k, groups, data)
            bound = grouped.logsumexp(0) - math.log(k)  # (groups, data)
            variance = log_mean(log_weight.double()).standard_error.square() if groups == 1 else bound.var(0) / groups
            self.sums[i] += bound.mean(0).sum().item()
            self.variances[i] += variance.sum().item()

    def curve(self) -> Curve:
        """The bound against the number of particles."""
        return Curve(
            particles=self.steps,
            bound=[total / self.rows for total in self.sums],
            error=[math.sqrt(variance) / self.rows for variance in self.variances],
        )
