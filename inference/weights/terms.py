"""Log weights: ``log_weight[k, i] = log p(x_i, z_k) - log q(z_k | x_i)``, the quantity that all of inference is made of.

Axes: particles, data. Sites outside the data plate are shared by all data and weigh in with shape (particles,).

`weigh` does one run of a pair, differentiably; `pyrogen.inference.weights.chunks` evaluates any number of particles by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pyrogen.batch import Batch, arguments
from pyrogen.errors import PairError
from pyrogen.pair import Pair
from pyrogen.programs.run import Site, Sites, run_guide, run_model
from pyrogen.programs.structure import Structure

from .divergence import kl_divergence

__all__ = ["LogTerms", "Weighed", "reduce_site", "scaled", "visit", "weigh"]

_HALF = (torch.float16, torch.bfloat16)  # summed over sites in single precision


@dataclass(slots=True)
class LogTerms:
    """A sum of log densities, kept apart by whether they belong to one datum or to all."""

    local: Tensor | None = None
    """(particles or 1, data), in nats, not scaled by the data plate."""
    shared: Tensor | None = None
    """(particles or 1,), in nats."""

    def add(self, value: Tensor, site: Site, structure: Structure) -> None:
        """Add a quantity of a site's batch shape."""
        value = reduce_site(value, site.dim, structure.nesting)
        if value.dtype in _HALF:
            value = value.float()
        if site.dim is None:
            self.shared = value if self.shared is None else self.shared + value
        else:
            self.local = value if self.local is None else self.local + value

    def joint(self, scale: float = 1.0) -> Tensor:
        """What is shared plus `scale` times that of all data: (particles or 1,)."""
        local = 0.0 if self.local is None else self.local.sum(-1) * scale
        return torch.as_tensor(local if self.shared is None else self.shared + local)

    def minus(self, other: LogTerms, factor: float | Tensor = 1.0) -> LogTerms:
        """``self - factor * other``."""
        return LogTerms(_minus(self.local, other.local, factor), _minus(self.shared, other.shared, factor))


@dataclass(slots=True)
class Weighed:
    """One run of a pair, weighed."""

    likelihood: LogTerms
    """``log p(x | z)``: the observed sites."""
    divergence: LogTerms
    """``log q(z | x) - log p(z)``: the latents; of analytic ones their KL divergence."""
    guide: Sites
    model: Sites
    score_sites: list[Site] = field(default_factory=list)
    """Guide sites whose draws carry no pathwise gradient."""
    cells: list[tuple[Site, Tensor, bool]] = field(default_factory=list)
    """Each term of the likelihood and of the divergence by site, of its batch shape, and whether it is of the divergence."""

    def add(self, value: Tensor, site: Site, structure: Structure, *, divergence: bool = True) -> None:
        """Add a term of a site's batch shape."""
        (self.divergence if divergence else self.likelihood).add(value, site, structure)
        if structure.independent and torch.is_grad_enabled():
            self.cells.append((site, value.float() if value.dtype in _HALF else value, divergence))

    def log_weight(self, beta: float | Tensor = 1.0) -> LogTerms:
        """The log weight; `beta` multiplies the divergence."""
        return self.likelihood.minus(self.divergence, beta)

    @property
    def scale(self) -> float:
        """Full size of the data plate over its subsample's."""
        return self.model.scale


def weigh(
    pair: Pair,
    batch: Batch,
    structure: Structure,
    particles: int = 1,
    *,
    analytic: bool = False,
    guide: Sites | None = None,
    latents: Mapping[str, Tensor] | None = None,
    from_prior: bool = False,
) -> Weighed:
    """Run guide and model once, for all particles together, and weigh each latent and observed site.

    Args:
        pair: the pair.
        batch: the data.
        structure: what ``pair.structure(batch)`` says.
        particles: number of particles; with one, latents have no particle dimension.
        analytic: take the KL divergence of a latent in closed form where that is right.
        guide: a run of the guide to weigh instead of a new one.
        latents: values of latents that the model sees in place of the guide's own draws.
        from_prior: draw the latents from the model's prior, and have the guide weigh them.
    """
    guide, model = visit(pair, batch, structure, particles, guide=guide, latents=latents, from_prior=from_prior)
    result = Weighed(LogTerms(), LogTerms(), guide, model)
    for name, prior in model.visited.items():
        if prior.observed:
            result.add(scaled(prior.log_prob(), prior, model), prior, structure, divergence=False)
        elif name not in guide.visited:
            raise PairError(
                f"site '{name}' of the model is not sampled by the guide, for Pyro's enumeration to sum over it: fit with "
                "objective=PyroLoss(pyro.infer.TraceEnum_ELBO()), or give the guide a site of that name"
            )
        else:
            posterior = guide.visited[name]
            if analytic and name in structure.analytic:
                divergence = kl_divergence(posterior.fn, prior.fn)
                if not isinstance(divergence, Tensor):  # Pyro's where a distribution has the mask False
                    divergence = posterior.value.new_zeros(posterior.fn.batch_shape)
                divergence = posterior.masked(divergence)
                divergence = scaled(divergence, posterior, guide)
            else:
                value = None if latents is None else latents[name]
                divergence = scaled(posterior.log_prob(value), posterior, guide) - scaled(prior.log_prob(), prior, model)
            result.add(divergence, posterior, structure)
    for name, site in guide.visited.items():
        if name not in model.visited:
            result.add(scaled(site.log_prob(), site, guide), site, structure)
        if name not in structure.reparameterized:
            result.score_sites.append(site)
    return result


def visit(
    pair: Pair,
    batch: Batch,
    structure: Structure,
    particles: int = 1,
    *,
    guide: Sites | None = None,
    latents: Mapping[str, Tensor] | None = None,
    from_prior: bool = False,
) -> tuple[Sites, Sites]:
    """Run guide and model once, and give the sites of both; see `weigh`."""
    args, kwargs = arguments(batch)
    count = None if particles == 1 else particles
    with pair.scope():
        if from_prior:
            model = run_model(pair, args, kwargs, {}, particles=count, nesting=structure.nesting, draw=True)
            given = model.latents()
            return run_guide(pair, args, kwargs, particles=count, nesting=structure.nesting, given=given), model
        if guide is None:
            guide = run_guide(pair, args, kwargs, particles=count, nesting=structure.nesting)
        model = run_model(
            pair,
            args,
            kwargs,
            guide.latents() if latents is None else latents,
            indices=guide.indices,
            particles=count,
            nesting=structure.nesting,
        )
    return guide, model


def reduce_site(value: Tensor, dim: int | None, nesting: int) -> Tensor:
    """Sum a site's quantity over all plates but the data plate.

    Args:
        value: of the site's batch shape: (plates...) or (particles, plates...), the plates at most `nesting` many.
        dim: the data plate's dimension, counted from the right, or None for a global site.
        nesting: number of plate dimensions of the pair.

    Returns:
        (particles or 1, data) for a local site, (particles or 1,) for a global one.
    """
    if nesting == 1 and dim == -1:
        return value if value.dim() == 2 else value.unsqueeze(0)  # (particles or 1, data)
    missing = nesting + 1 - value.dim()
    value = value.reshape((1,) * missing + value.shape)  # (particles or 1, plates...)
    summed = [d for d in range(-nesting, 0) if d != dim]
    return value.sum(summed) if summed else value


def scaled(value: Tensor, site: Site, sites: Sites) -> Tensor:
    """A site's quantity with its own scale, the data plate's left out (it multiplies the bound, not the weight)."""
    if isinstance(site.scale, Tensor) or site.scale != 1.0:
        return value * (site.scale / (sites.scale if site.dim is not None else 1.0))
    return value


def _minus(first: Tensor | None, second: Tensor | None, factor: float | Tensor) -> Tensor | None:
    if second is None:
        return first
    if isinstance(factor, Tensor) or factor != 1.0:
        second = second * factor
    return -second if first is None else first - second
