"""Which plates hold cells that are independent of each other, as programs show that run on swapped values."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..batch import Batch, arguments
from .program import Program
from .run import Sites, run_guide, run_model

__all__ = ["independent_plates"]

_ROUNDS = 8


def independent_plates(pair: Program, batch: Batch, nesting: int) -> frozenset[str]:
    """Find the plates whose cells are independent given what is drawn outside, which does not follow from them either.

    In such a plate a draw's score needs the log densities of its own cell and of what lies outside alone. Only plates with a
    draw that carries no gradient are looked at; the data plate where data share a latent, for else it is known.

    Half of the cells get other values of the latents, drawn by the guide or from the prior in turn, and no other cell and no
    draw outside may notice, to the last bit. A latent whose values never differ leaves its plates out. The caller shakes the
    parameters (`pyrogen.programs.functional.shaken`), or one that begins at zero would hide what it will couple.
    """
    args, kwargs = arguments(batch)

    def run(given: Mapping[str, Tensor], indices: Mapping[str, Tensor], *, prior: bool = False) -> tuple[Sites, Sites]:
        guide = run_guide(pair, args, kwargs, nesting=nesting, given=given, indices=indices)
        rows, latents = {**indices, **guide.indices}, {} if prior else {**given, **guide.latents()}
        return guide, run_model(pair, args, kwargs, latents, indices=rows, nesting=nesting, draw=prior)

    programs = run({}, {})
    latents = [site for site in programs[0].visited.values() if not site.observed]
    scored = [site for site in latents if not getattr(site.fn, "has_rsample", False)]
    shared = any(site.dim is None for site in latents)
    plates = {name: dim for site in scored for dim, name in site.plates.items() if shared or name != pair.data_plate}
    inside = {name: {site.name for site in latents if site.plates.get(dim) == name} for name, dim in plates.items()}
    moved: dict[str, set[str]] = {name: set() for name in plates}
    coupled = set()
    for number in range(_ROUNDS if plates else 0):
        indices = {**programs[1].indices, **programs[0].indices}
        values = programs[0].latents()
        guide, model = run({}, indices, prior=number % 2 == 1)
        others = {**guide.latents(), **model.latents()}
        for plate, dim in plates.items():
            size = max(site.fn.batch_shape[dim] for site in scored if site.plates.get(dim) == plate)
            for swapped in _halves(size, next(iter(values.values())).device):
                mixed = dict(values)
                for name in inside[plate]:
                    cells = swapped.reshape(-1, *(1,) * (programs[0].visited[name].fn.event_dim - dim - 1))
                    mixed[name] = torch.where(cells, others[name], values[name])
                    moved[plate] |= set() if torch.equal(mixed[name], values[name]) else {name}
                if plate not in coupled and _noticed(programs, run(mixed, indices), values, plate, dim, ~swapped):
                    coupled.add(plate)
        programs = run({}, {})
    return frozenset(name for name in plates if name not in coupled and moved[name] == inside[name])


def _halves(size: int, device: torch.device) -> list[Tensor]:
    """Halves of the cells of a plate, of which one at least parts two cells at any distance, in either direction."""
    cells = torch.arange(size, device=device)
    halves = [cells % 2 == 0, cells // 2 % 2 == 0, cells < size // 2, cells >= size // 2]
    return [half for half in halves if not bool(half.all())]


def _noticed(
    before: tuple[Sites, Sites], after: tuple[Sites, Sites], values: Mapping[str, Tensor], plate: str, dim: int, kept: Tensor
) -> bool:
    """Whether the log density of a kept cell has changed, or of a draw of the guide outside, at the same values."""
    for role, programs in enumerate(zip(before, after, strict=True)):
        for name, site in programs[0].visited.items():
            inside = site.plates.get(dim) == plate
            if role == 1 and not inside:
                continue  # the model's log densities outside are part of every cell's signal
            once, again = (each.fn.log_prob(values.get(name, each.value)) for each in (site, programs[1].visited[name]))
            if inside:
                once, again = (shown.index_select(dim, kept.nonzero()[:, 0]) for shown in (once, again))
            if not torch.allclose(once, again, rtol=0.0, atol=0.0, equal_nan=True):
                return True
    return False
