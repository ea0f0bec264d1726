"""The joint density of all data and all of their latents, those that the data share too, on an unconstrained space.

Axes: points, data, dims (all latents of all data, unconstrained and laid side by side).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pyrogen.batch import Batch, arguments
from pyrogen.errors import PairError
from pyrogen.pair import Pair
from pyrogen.programs.run import Sites, run_guide, run_model
from pyrogen.programs.structure import Structure
from pyrogen.programs.traces import innermost
from pyrogen.randomness import forked

from ..weights.terms import LogTerms
from .bijections import bijection, is_discrete, unconstrained

__all__ = ["JointDensity"]

_POINTS = 256  # evaluated at once


class JointDensity:
    """The log joint density of all data and latents, as a function of unconstrained points (points, dims).

    Call it, and the methods below, inside ``pair.scope()`` and without gradients of the parameters.

    Args:
        pair: the pair.
        batch: all data.
        structure: what ``pair.structure(batch)`` says.

    Attributes:
        places: where each latent lies among the columns.

    Raises:
        PairError: a latent is discrete, or there is none.
    """

    def __init__(self, pair: Pair, batch: Batch, structure: Structure) -> None:
        self.pair, self.structure = pair, structure
        self.args, self.kwargs = arguments(batch)
        self.size = 1 if structure.loop is not None else _POINTS
        self.places: dict[str, slice] = {}
        self.own_dims: dict[str, int] = {}  # of a site's value, its plates and its event
        self.shapes: dict[str, torch.Size] = {}  # of a site's unconstrained value, (plates..., event...)
        self.outside: dict[str, int] = {}  # number of plate dimensions that a site does not lie in
        stop = 0
        with forked(batch):
            model = self._run(self._guide(None), None)
        for name, site in model.visited.items():
            if site.observed:
                continue
            if is_discrete(site.fn):
                raise PairError(
                    f"latent '{name}' is discrete ({type(innermost(site.fn)).__name__}), and NUTS moves latents by the "
                    "gradient of their density: sum it out in the model"
                )
            free = unconstrained(site)
            event_dims = free.dim() - (site.value.dim() - site.fn.event_dim)
            missing = structure.nesting - (free.dim() - event_dims)
            self.shapes[name], self.outside[name] = torch.Size((1,) * missing) + free.shape, missing
            self.own_dims[name] = site.value.dim()
            self.places[name] = slice(stop, stop := stop + free.numel())
        if not self.places:
            raise PairError("the pair has no latents: its log_prob is the evidence already")

    def __call__(self, points: Tensor) -> Tensor:
        """Log joint densities, (points,), in nats."""
        return torch.cat([self._at(part)[0] for part in torch.split(points, self.size)])

    def starts(self, count: int) -> Tensor:
        """Draws of the guide, (points, dims)."""
        found = []
        for _ in range(count):
            model = self._run(self._guide(None), None)
            latents = {name: model.visited[name] for name in self.places}
            found.append(torch.cat([unconstrained(site).flatten() for site in latents.values()]))
        return torch.stack(found)

    def latents(self, values: Tensor) -> dict[str, Tensor]:
        """The latents by site, (chains, draws, plates..., event...), of draws (chains, draws, dims)."""
        chains, draws = values.shape[:2]
        found: dict[str, list[Tensor]] = {name: [] for name in self.places}
        for part in torch.split(values.flatten(0, 1), self.size):
            for name, value in self._at(part)[1].items():
                found[name].append(value.reshape(len(part), *value.shape[value.dim() - self.own_dims[name] :]))
        return {name: torch.cat(parts).reshape(chains, draws, *parts[0].shape[1:]) for name, parts in found.items()}

    def _at(self, points: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Log joint densities (points,), and the latents by site as the model has them."""
        count = len(points) if len(points) > 1 else None
        volumes = LogTerms()
        given = {name: partial(self._constrain, name, points if count else points[0]) for name in self.places}
        model = self._run(given, count)
        terms = LogTerms()
        for name, site in model.visited.items():
            terms.add(site.log_prob(), site, self.structure)
            transform = bijection(site.fn, name) if name in self.places else None
            if transform is not None:
                free = self._free(name, points if count else points[0])
                volume = transform.log_abs_det_jacobian(free, site.value)  # type: ignore[no-untyped-call]
                extra = volume.dim() - (free.dim() - len(self.shapes[name]) + self.structure.nesting)
                volume = volume.flatten(-extra).sum(-1) if extra > 0 else volume  # ((points), plates...)
                volumes.add(volume, site, self.structure)
        total = (terms.joint() + volumes.joint()).expand(len(points))
        return total, {name: model.visited[name].value for name in self.places}

    def _free(self, name: str, points: Tensor) -> Tensor:
        """The unconstrained value of a site, ((points), plates..., event...)."""
        values, shape = points[..., self.places[name]], self.shapes[name]
        if points.dim() == 1:  # as the model draws it, without plates that it does not lie in: it may not broadcast
            return values.reshape(shape[self.outside[name] :])
        return values.reshape(*points.shape[:-1], *shape)

    def _constrain(self, name: str, points: Tensor, fn: Any) -> Tensor:
        transform, free = bijection(fn, name), self._free(name, points)
        return free if transform is None else transform(free)

    def _guide(self, count: int | None) -> dict[str, Tensor]:
        nesting = self.structure.nesting
        return run_guide(self.pair, self.args, self.kwargs, particles=count, nesting=nesting).latents()

    def _run(self, latents: Mapping[str, Any], count: int | None) -> Sites:
        return run_model(self.pair, self.args, self.kwargs, latents, particles=count, nesting=self.structure.nesting)
