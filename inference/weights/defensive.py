"""Particles from a mixture of the guide and the prior, so that mass where the guide has none can be met.

Axes: particles, data, dims (the guide's latents side by side).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from pyro.distributions import LowRankMultivariateNormal, MultivariateNormal, Normal
from torch import Tensor

from pyrogen.programs.run import Sites
from pyrogen.programs.traces import innermost
from pyrogen.randomness import forked

from .chunks import Block, Chunk
from .memory import first_data
from .terms import visit

__all__ = ["Curvature", "defensive_chunks", "guide_is_gaussian", "prior_can_stand_in"]

_MOST_DIMS = 128


def defensive_chunks(block: Block, particles: int, outside: int) -> Iterator[tuple[Chunk, Tensor | None]]:
    """Chunks of particles, the last `outside` of them from the prior, with log weights of the mixture.

    Beside each chunk of the guide's particles stand their log weights as if there were no others, (particles, data).

    ``w = p(x, z) / ((1 - d) q(z | x) + d p(z))``, where d is the prior's share of the particles: at most
    ``p(x | z) / d``, however narrow the guide.

    Reference:
        Hesterberg 1995, Weighted Average Importance Sampling and Defensive Mixture Distributions,
        https://doi.org/10.1080/00401706.1995.10484303
        Owen & Zhou 2000, Safe and Effective Importance Sampling, https://doi.org/10.1080/01621459.2000.10473909
    """
    share = outside / particles
    for chunk in block.chunks(particles - outside):
        own = chunk.log_weight
        if outside:
            chunk.log_weight = _mixed(chunk, share)
        yield chunk, own
    for chunk in block.chunks(outside, from_prior=True) if outside else ():
        chunk.log_weight = _mixed(chunk, share)
        yield chunk, None


def _mixed(chunk: Chunk, share: float) -> Tensor:
    likelihood = chunk.log_likelihood
    inside = math.log1p(-share) + likelihood - chunk.log_weight  # (particles, data), of the guide's density over the prior's
    mixed = likelihood - torch.logaddexp(inside, inside.new_full((), math.log(share)))
    return mixed.masked_fill((likelihood == -math.inf) | (chunk.log_weight == -math.inf), -math.inf)


def prior_can_stand_in(block: Block) -> bool:
    """Whether latents can be drawn from the prior, and the guide knows their density: not where it draws auxiliary ones."""
    try:
        with forked(block.batch), block.pair.scope():
            guide, model = visit(block.pair, first_data(block.batch, block.structure), block.structure, from_prior=True)
            densities = [site.log_prob() for site in guide.visited.values()]
    except Exception:  # whatever a prior or a guide's density does that was never asked for before
        return False
    return guide.visited.keys() == model.latents().keys() and not any(bool(value.isnan().any()) for value in densities)


def guide_is_gaussian(block: Block) -> bool:
    """Whether the guide's latents are normal ones, the parameters of which depend on the datum alone."""
    with forked(block.batch), block.pair.scope():
        few = first_data(block.batch, block.structure)
        guide: Sites = visit(block.pair, few, block.structure, 1 if block.structure.loop is not None else 2)[0]
    return all(
        isinstance(innermost(site.fn), Normal | MultivariateNormal | LowRankMultivariateNormal)
        and len(site.fn.batch_shape) <= block.structure.nesting
        for site in guide.visited.values()
    )


class Curvature:
    r"""How much wider than a Gaussian guide the posterior is, in the direction where it is so the most.

    By Stein's identity, ``E_q[(log w - E_q log w) e e'] = E_q[\nabla^2 log w]`` for the guide's draws e, whitened: all
    particles tell of the curvature, where k-hat looks at the few largest weights. An eigenvalue of one half means that the
    posterior's variance is twice the guide's in that direction, if it is Gaussian, so that the weights have no variance.
    """

    def __init__(self) -> None:
        self.origin: Tensor | None = None
        self.count = 0
        self.sums: list[Tensor] = []

    def add(self, chunk: Chunk, log_weight: Tensor) -> None:
        """Take in the guide's draws of a chunk, with its own log weights (particles, data)."""
        shape = log_weight.shape
        z = torch.cat([value.reshape(*shape, -1) for value in chunk.latents.values()], -1)
        if z.shape[-1] > _MOST_DIMS:
            return
        if self.origin is None:
            self.origin = z.double().mean(0)  # (data, dims)
        z = (z.double() - self.origin).transpose(0, 1)  # (data, particles, dims)
        w = log_weight.double().T  # (data, particles)
        weighted = (w[..., None] * z).transpose(1, 2)  # (data, dims, particles)
        terms = [z.sum(1), z.transpose(1, 2) @ z, w.sum(1), w.square().sum(1), weighted.sum(2), weighted @ z]
        self.sums = [old + new for old, new in zip(self.sums, terms, strict=True)] if self.sums else terms
        self.count += len(log_weight)

    def largest(self) -> Tensor | None:
        """The largest eigenvalue less its noise, (data,); ``-inf`` where it is not known, None where no datum's is."""
        if not self.sums:
            return None
        mean, square, weight, weight_square, cross, cube = (value / self.count for value in self.sums)
        covariance = square - mean[:, :, None] * mean[:, None]
        cross = cross - weight[:, None] * mean  # the covariance of weight and latents
        product = cross[:, :, None] * mean[:, None]
        moment = cube - weight[:, None, None] * square - product - product.transpose(1, 2)
        root, failed = torch.linalg.cholesky_ex(covariance)
        known = torch.isfinite(moment).flatten(1).all(1) & (failed == 0)
        root = torch.where(known[:, None, None], root, torch.eye(len(root[0]), dtype=root.dtype, device=root.device))
        half = torch.linalg.solve_triangular(root, moment.nan_to_num(0.0, 0.0, 0.0), upper=False)
        hessian = torch.linalg.solve_triangular(root, half.transpose(1, 2), upper=False)
        largest = torch.linalg.eigvalsh(hessian)[:, -1]
        noise = 2 * ((weight_square - weight.square()).clamp(min=0) * len(root[0]) / self.count).sqrt()
        return torch.where(known, largest - noise, -math.inf)
