"""The joint density of each datum's latents on an unconstrained space, for the methods that move particles by its gradient.

Axes: chains, data, dims (all latents of a datum, unconstrained and laid side by side).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from pyrogen.batch import Batch, arguments, length
from pyrogen.errors import ConfigurationError, NotPerDatum, PairError
from pyrogen.pair import Pair
from pyrogen.programs.run import Sites, run_guide, run_model
from pyrogen.programs.traces import innermost
from pyrogen.programs.vectorization import close
from pyrogen.randomness import forked

from ..weights.evaluation import evaluation, require_per_datum
from ..weights.memory import first_data
from ..weights.terms import LogTerms, reduce_site
from .bijections import bijection, is_discrete, unconstrained

__all__ = ["Initial", "LatentDensity", "Terms", "require_initial"]

Initial: TypeAlias = Literal["prior", "guide"]


def require_initial(initial: str) -> None:
    """Refuse what is no place for a path to begin at.

    Raises:
        ConfigurationError: it is neither the prior nor the guide.
    """
    if initial not in ("prior", "guide"):
        raise ConfigurationError(f"unknown initial distribution {initial!r}: use 'prior' or 'guide'")


class Terms(NamedTuple):
    """The two ends of a path, ``log f_beta = base + beta * slope``, at some particles: each (chains, data), in nats."""

    base: Tensor
    """The log density of the initial distribution, a normalised one, on the unconstrained space."""
    slope: Tensor
    """``log p(x, z)`` minus the initial log density: log p(x | z) from the prior, the log weight from the guide."""


@dataclass(frozen=True)
class _Place:
    """Where a latent lies among the columns of the unconstrained space."""

    name: str
    dim: int
    """Dimension of the data plate, counted from the right of the batch shape."""
    batch_dims: int
    """Number of plate dimensions of the site."""
    outside: int
    """Number of plate dimensions that the site does not lie in, left of its own."""
    rest: tuple[int, ...]
    """Shape of a datum's unconstrained value: other plates, event."""
    columns: slice


class LatentDensity:
    """The density of a pair's latents on the unconstrained space, along a path from an initial distribution to the joint.

    ``log f_beta(u) = (1 - beta) log f_0(u) + beta log f_1(u)``, where ``f_0`` is the prior or the guide, ``f_1(u)`` is
    ``p(x, z(u)) |dz/du|``, and ``z(u)`` is `bijection` of each latent's support. A pair that does not run for several
    particles at once is run for each chain: under ``torch.vmap`` where that gives the same numbers, and else in turn.

    Args:
        pair: the pair.
        batch: data of the kind that is to come; a look at it tells the shapes.
        initial: where the path begins.

    Raises:
        NotPerDatum: the pair's latents are not each datum's own.
        PairError: a latent is discrete; the pair has no latents; the guide draws what the model does not know, and the
            path begins at it.

    Example:
        >>> from pyrogen.models import LinearGaussianVAE
        >>> pair, x = LinearGaussianVAE((4,), latent=2), torch.zeros(3, 4)
        >>> density = LatentDensity(pair, x)
        >>> u = density.draw(x, chains=5)
        >>> u.shape, density.terms(u, x).slope.shape
        (torch.Size([5, 3, 2]), torch.Size([5, 3]))
    """

    def __init__(self, pair: Pair, batch: Batch, *, initial: Initial = "prior") -> None:
        require_initial(initial)
        self.pair, self.initial = pair, initial
        self.structure = require_per_datum(pair, batch, "moving each datum's latents")
        self.in_turn = False
        """Whether the pair is run for one chain after the other."""
        self._mapped = self.structure.loop is not None
        self._places: list[_Place] = []
        with evaluation(pair), pair.scope(), forked(batch):
            few = first_data(batch, self.structure)
            guide = self._guide(few, 1 if self._mapped else 2)
            model = self._model(few, 1 if self._mapped else 2, guide.latents())
            self._look(guide, model)
            if self._mapped:
                self.in_turn = not self._maps(few)

    @property
    def dims(self) -> int:
        """Number of unconstrained dimensions of a datum's latents."""
        last: int = self._places[-1].columns.stop
        return last

    def draw(self, batch: Batch, chains: int) -> Tensor:
        """Unconstrained draws from the initial distribution, (chains, data, dims)."""
        return self.draw_prior(batch, chains) if self.initial == "prior" else self.draw_guide(batch, chains)

    def draw_prior(self, batch: Batch, chains: int) -> Tensor:
        """Unconstrained draws from the prior, (chains, data, dims)."""
        with evaluation(self.pair), self.pair.scope():
            runs = [(self._model(batch, count, {}, draw=True), count) for count in self._runs(chains)]
            return torch.cat([self._pack(model, batch, count) for model, count in runs])

    def draw_guide(self, batch: Batch, chains: int) -> Tensor:
        """Unconstrained draws from the guide, (chains, data, dims)."""
        with evaluation(self.pair), self.pair.scope():
            runs = [(self._model(batch, count, self._guide(batch, count).latents()), count) for count in self._runs(chains)]
            return torch.cat([self._pack(model, batch, count) for model, count in runs])

    def terms(self, u: Tensor, batch: Batch) -> Terms:
        """The path's base and slope at unconstrained latents, differentiable where gradients are enabled.

        Args:
            u: (chains, data, dims).
            batch: the data.
        """
        with self.pair.scope():
            if not self._mapped or len(u) == 1:
                return self._terms(u, batch)
            if not self.in_turn:
                base, slope = torch.vmap(lambda chain: self._terms(chain[None], batch))(u)  # (chains, 1, data)
                return Terms(base.flatten(0, 1), slope.flatten(0, 1))
            terms = [self._terms(chain, batch) for chain in torch.split(u, 1)]
            return Terms(torch.cat([term.base for term in terms]), torch.cat([term.slope for term in terms]))

    def constrained(self, u: Tensor, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        """The latents, by site, each (chains, data, other plates..., event...), and log p(x | z), (chains, data)."""
        if self._mapped and len(u) > 1:
            latents, likelihoods = zip(*(self.constrained(chain, batch) for chain in torch.split(u, 1)), strict=True)
            return {name: torch.cat([part[name] for part in latents]) for name in latents[0]}, torch.cat(likelihoods)
        with evaluation(self.pair), self.pair.scope():
            model, _ = self._at(u, batch)
            likelihood = LogTerms()
            found = {}
            for site in model.visited.values():
                if site.observed:
                    likelihood.add(site.log_prob(), site, self.structure)
            for place in self._places:
                site = model.visited[place.name]
                value = _padded(site.value, site.fn.event_dim, place.batch_dims)
                found[place.name] = value.movedim(place.dim - site.fn.event_dim, 1)
            return found, _local(likelihood, u)

    def unconstrained(self, latents: dict[str, Tensor], batch: Batch) -> Tensor:
        """The inverse of `constrained`: (chains, data, dims)."""
        chains = len(next(iter(latents.values())))
        if self._mapped and chains > 1:
            parts = ({name: value[chain : chain + 1] for name, value in latents.items()} for chain in range(chains))
            return torch.cat([self.unconstrained(part, batch) for part in parts])
        given = {}
        with evaluation(self.pair), self.pair.scope():
            for place in self._places:
                value = latents[place.name]  # (chains, data, other plates..., event...)
                given[place.name] = self._as_drawn(value, place)
            return self._pack(self._model(batch, chains, given), batch, chains)

    def _look(self, guide: Sites, model: Sites) -> None:
        """Learn the shape of each latent, and refuse what cannot be moved by a gradient."""
        start = 0
        for name, site in model.visited.items():
            if site.observed:
                continue
            if is_discrete(site.fn):
                raise PairError(
                    f"latent '{name}' is discrete ({type(innermost(site.fn)).__name__}), and cannot be moved by the "
                    "gradient of its density: sum it out (Enumeration does where it is finite), or use ImportanceSampling"
                )
            if site.dim is None:
                raise NotPerDatum(f"latent '{name}' lies outside plate '{self.pair.data_plate}': all data share it")
            free = unconstrained(site)
            batch_dims = self.structure.nesting
            event_dims = free.dim() - (site.value.dim() - site.fn.event_dim)
            outside = batch_dims + (not self._mapped) - (free.dim() - event_dims)
            value = _padded(free, event_dims, batch_dims)
            rest = value.movedim(site.dim - (value.dim() - 1 - batch_dims), 1).shape[2:]
            stop = start + int(torch.Size(rest).numel())
            self._places.append(_Place(name, site.dim, batch_dims, outside, tuple(rest), slice(start, stop)))
            start = stop
        if not self._places:
            raise PairError("the pair has no latents: its log_prob is the evidence already, which ELBO or Exact report")
        extra = [name for name in guide.visited if name not in model.visited]
        if extra and self.initial == "guide":
            raise PairError(
                f"site '{extra[0]}' of the guide is no latent of the model, so that its density of the latents alone "
                "is not known: begin at the prior (initial='prior')"
            )

    def _terms(self, u: Tensor, batch: Batch) -> Terms:
        """See `terms`; of one chain where the pair does not broadcast."""
        model, volume = self._at(u, batch)
        prior, likelihood = LogTerms(), LogTerms()
        for site in model.visited.values():
            (likelihood if site.observed else prior).add(site.log_prob(), site, self.structure)
        log_prior, log_likelihood = _local(prior, u), _local(likelihood, u)
        if self.initial == "prior":
            return Terms(log_prior + volume, log_likelihood)
        posterior = LogTerms()
        for site in self._guide(batch, len(u), model.latents()).visited.values():
            posterior.add(site.log_prob(), site, self.structure)
        log_guide = _local(posterior, u)
        return Terms(log_guide + volume, log_likelihood + log_prior - log_guide)

    def _at(self, u: Tensor, batch: Batch) -> tuple[Sites, Tensor | float]:
        """A run of the model at unconstrained latents, and the log volume of the transforms, (chains, data)."""
        volumes: list[Tensor] = []
        given = {place.name: partial(self._constrain, place, u, volumes) for place in self._places}
        model = self._model(batch, len(u), given)
        return model, sum(volumes)

    def _constrain(self, place: _Place, u: Tensor, volumes: list[Tensor], fn: Any) -> Tensor:
        """A latent's value, given its distribution; adds the log volume of its transform to `volumes`."""
        start, stop = place.columns.start, place.columns.stop
        value = u.narrow(-1, start, stop - start)  # (chains, data, columns)
        value = self._as_drawn(value.reshape(*value.shape[:2], *place.rest), place)
        transform = bijection(fn, place.name)
        if transform is None:
            return value
        result: Tensor = transform(value)
        # (chains, plates..., part of the event...)
        volume: Tensor = transform.log_abs_det_jacobian(value, result)  # type: ignore[no-untyped-call]
        batch_dims = place.batch_dims - place.outside if self._mapped else place.batch_dims + 1
        if volume.dim() > batch_dims:
            volume = volume.flatten(batch_dims).sum(-1)  # (chains, plates...)
        volumes.append(reduce_site(volume, place.dim, self.structure.nesting))  # (chains, data)
        return result

    def _as_drawn(self, value: Tensor, place: _Place) -> Tensor:
        """Put the data of a latent, (chains, data, ...), where the model has them: (chains, plates..., event...).

        A pair that does not broadcast gets the one chain's without dimensions that the site itself has not.
        """
        value = value.movedim(1, place.batch_dims + 1 + place.dim)
        return value.reshape(value.shape[1 + place.outside :]) if self._mapped else value

    def _maps(self, batch: Batch) -> bool:
        """Whether ``torch.vmap`` gives the terms, and their gradients, that the chains have in turn."""

        def both(in_turn: bool) -> list[Tensor]:
            self.in_turn = in_turn
            with torch.enable_grad():
                at = u.clone().requires_grad_()
                terms = self.terms(at, batch)
                return [*terms, *torch.autograd.grad((terms.base + terms.slope).sum(), at)]

        try:
            u = self.draw(batch, 3)
            return all(close(turn, mapped) for turn, mapped in zip(both(True), both(False), strict=True))
        except Exception:  # whatever the program does that vmap cannot
            return False

    def _runs(self, chains: int) -> list[int]:
        """How many chains each run of the pair has."""
        return [1] * chains if self._mapped else [chains]

    def _pack(self, model: Sites, batch: Batch, chains: int) -> Tensor:
        columns = []
        for place in self._places:
            site = model.visited[place.name]
            free = unconstrained(site)
            event_dims = free.dim() - (site.value.dim() - site.fn.event_dim)
            value = _padded(free, event_dims, place.batch_dims).movedim(place.dim - event_dims, 1)
            columns.append(value.expand(chains, length(batch), *place.rest).flatten(2) if place.rest else value[..., None])
        return torch.cat(columns, -1)  # (chains, data, dims)

    def _guide(self, batch: Batch, chains: int, latents: Mapping[str, Tensor] | None = None) -> Sites:
        args, kwargs = arguments(batch)
        count = None if self._mapped else chains
        return run_guide(self.pair, args, kwargs, particles=count, nesting=self.structure.nesting, given=latents)

    def _model(self, batch: Batch, chains: int, latents: Any, *, draw: bool = False) -> Sites:
        args, kwargs = arguments(batch)
        count = None if self._mapped else chains
        return run_model(self.pair, args, kwargs, latents, particles=count, nesting=self.structure.nesting, draw=draw)


def _local(terms: LogTerms, u: Tensor) -> Tensor:
    """A sum of log densities of each datum, (chains, data), for latents (chains, data, dims)."""
    shape = u.shape[:2]
    return u.new_zeros(shape) if terms.local is None else terms.local.expand(shape)


def _padded(value: Tensor, event_dims: int, batch_dims: int) -> Tensor:
    """A value with all plate dimensions and the chains' in front: (chains, plates..., event...)."""
    missing = batch_dims + 1 - (value.dim() - event_dims)
    return value.reshape((1,) * missing + value.shape)
