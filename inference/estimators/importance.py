"""Importance sampling from the guide, with Pareto-smoothed weights and their diagnostics."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from pyrogen.errors import require_at_least

from ..weights.chunks import Block, Chunk
from ..weights.memory import DEFAULT_MAX_BYTES
from ..weights.pareto import diagnosed_log_mean, log_mean
from .estimate import BlockEstimate, Curve, Draws, Estimate, Estimator, Kind

__all__ = ["ImportanceSampling"]


class ImportanceSampling(Estimator):
    """log p(x) by importance sampling from the guide, Pareto-smoothed.

    ``log p(x) ~ log 1/K sum_k w_k,  w_k = p(x, z_k) / q(z_k | x)``

    The standard error is that of the smoothed weights, by the delta method: ``sqrt(1/ESS - 1/K)``. It can be trusted where
    k-hat is at most 0.7. The same particles, resampled by their weights, are posterior draws.

    Reference:
        Vehtari et al. 2024, Pareto Smoothed Importance Sampling, https://arxiv.org/abs/1507.02646

    Args:
        particles: particles K for each datum.
        draws: posterior draws to keep for each datum; 0 keeps none.
        smoothing: smooth the weights; without it the estimate is, in expectation, a lower bound.
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
        max_bytes: int = DEFAULT_MAX_BYTES,
    ) -> None:
        require_at_least(2, particles=particles)
        require_at_least(0, draws=draws)
        self.particles, self.draws, self.smoothing, self.max_bytes = particles, draws, smoothing, max_bytes
        self.name = f"IS({particles})" if smoothing else f"plain IS({particles})"

    @property
    def kind(self) -> Kind:
        """See `Estimator.kind`."""
        return "consistent" if self.smoothing else "lower"

    def begin(self, whole: Block) -> Block:
        """See `Estimator.begin`."""
        return replace(super().begin(whole), state=_Ladder(self.particles))

    def block(self, block: Block) -> BlockEstimate:
        """See `Estimator.block`."""
        parts: list[Tensor] = []
        reservoir = _Reservoir(self.draws, self.max_bytes // 4) if self.draws and block.structure.latents else None
        for chunk in block.chunks(self.particles):
            parts.append(chunk.log_weight)
            if reservoir is not None:
                reservoir.add(chunk)
        draws = None if reservoir is None else reservoir.drawn()
        log_weight = torch.cat(parts)
        block.state.add(log_weight)
        (log_prob, standard_error, ess), khat = diagnosed_log_mean(log_weight, smoothing=self.smoothing)
        return BlockEstimate(log_prob, standard_error, khat, ess, draws=draws)

    def finish(self, found: Estimate, whole: Block) -> Estimate:
        """See `Estimator.finish`."""
        return replace(found, curve=whole.state.curve())


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


class _Ladder:
    """The importance-weighted bound for growing numbers of particles, from one set of weights."""

    def __init__(self, particles: int) -> None:
        steps = [m * 10**e for e in range(9) for m in (1, 2, 5)]
        self.steps = [*(k for k in steps if k <= particles // 10), particles]
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
