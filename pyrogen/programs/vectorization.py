"""Whether a pair runs on a part of its batch, and on several particles at once, with the same numbers as before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from pyro.distributions import Delta
from torch import Tensor

from ..batch import Batch, arguments, index, length
from ..errors import PyrogenError
from . import faults
from .program import Program
from .run import Sites, run_guide, run_model
from .traces import data_dim, innermost, is_sizeless, samples

__all__ = ["close", "log_probs", "run_of_part", "vectorization_failure"]

_PART_ROWS = 64


def run_of_part(pair: Program, batch: Batch, nesting: int, guide: Any, model: Any) -> tuple[bool, str | None]:
    """Whether the pair runs on a part of the batch, and, if so, which site tells the part from the whole.

    A datum whose log probability depends on the other data, for the same latents, has none of its own.
    """
    rows = length(batch)
    if rows < 2:
        return True, None
    part = index(batch, slice(min(_PART_ROWS, max(1, rows // 2))))
    args, kwargs = arguments(part)
    try:
        drawn = run_guide(pair, args, kwargs, nesting=nesting)
        seen = run_model(pair, args, kwargs, drawn.latents(), indices=drawn.indices, nesting=nesting)
        size = seen.subsample_size or length(part)
        if pair.data_plate in seen.indices and seen.subsample_size == seen.plate_size == rows:
            return False, None  # the plate has a size of its own, that of the whole
        for site in (*drawn.visited.values(), *seen.visited.values()):
            shape = site.log_prob().shape
            if site.dim is not None and shape[site.dim] != size:
                return False, None
    except Exception:  # whatever the program raises when its rows are missing
        return False, None
    plate = model.nodes.get(pair.data_plate)
    taken = rows if is_sizeless(pair, model) else None if plate is None else len(plate["value"])
    if size != length(part) or taken != rows:
        return True, None  # no plate, or the whole and the part have drawn other rows
    values = {
        name: _narrow(site["value"], data_dim(pair, site), site["fn"].event_dim, size)
        for name, site in {**dict(samples(model)), **dict(samples(guide))}.items()  # what Pyro sums out is the model's alone
        if not site["is_observed"] and not isinstance(innermost(site["fn"]), Delta)
    }
    whole = {
        (role, name): _narrow(site["log_prob"], data_dim(pair, site), 0, size)
        for role, trace in (("guide", guide), ("model", model))
        for name, site in samples(trace)
        if not site["infer"].get("_deterministic")
    }
    try:
        seen_twice = [log_probs(pair, part, nesting, values) for _ in range(2)]
    except PyrogenError:
        raise
    except Exception:  # a guide may be able to score its own draws alone, as a flow without an inverse
        return True, None
    for key, (dim, once) in seen_twice[0].items():
        if key not in seen_twice[1]:
            raise faults.SITES_VARY.error(f"site '{key[1]}' comes and goes from run to run of the {key[0]}", site=key[1])
        again = seen_twice[1][key][1]
        # What differs from run to run anyway, as under noise that is no site, says nothing.
        if dim is not None and key in whole and close(once, again) and not close(once, whole[key], slack=10.0):
            return True, key[1]
    return True, None


def vectorization_failure(pair: Program, batch: Batch, nesting: int, seen: Any) -> str | None:
    """Run particles at once and one after the other on the same latents: do they agree?

    The latents are the guide's, and then the prior's: those of a guide that has collapsed hardly differ. Sizes that a trace
    of the guide has `seen` are no number of particles, or a particle could pass for one of these dimensions.
    """
    args, kwargs = arguments(batch)
    taken = {length(batch), *(size for _, site in samples(seen) for size in site["value"].shape)}
    count = next(number for number in (2, 3, 5, 7, 11, 13, 17) if number not in taken or number == 17)
    run = partial(run_model, pair, args, kwargs, nesting=nesting)
    try:
        guide = run_guide(pair, args, kwargs, particles=count, nesting=nesting)
        model = run(guide.latents(), indices=guide.indices, particles=count)
        indices = {**model.indices, **guide.indices}

        def both(given: dict[str, Tensor]) -> list[Sites]:
            drawn = run_guide(pair, args, kwargs, nesting=nesting, given=given, indices=indices)
            return [drawn, run({**given, **drawn.latents()}, indices=indices)]

        if different := _difference(both, [guide, model], count, nesting):
            return different
    except Exception as error:  # whatever the program raises on tensors with one more dimension
        reason = (str(error).splitlines() or ["no reason given"])[0]
        return f"{count} particles do not run at once: {type(error).__name__}: {reason}"
    try:
        prior = run({}, indices=indices, particles=count, draw=True)
        return _difference(lambda given: [run(given, indices=indices, draw=True)], [prior], count, nesting)
    except Exception:  # a prior that cannot be drawn from, or draws that the model cannot bear
        return None


def log_probs(
    pair: Program, batch: Batch, nesting: int, latents: dict[str, Tensor], indices: Mapping[str, Tensor] | None = None
) -> dict[tuple[str, str], tuple[int | None, Tensor]]:
    """Data dimension and log probability, not masked, of each site of guide and model, for given latents and rows."""
    args, kwargs = arguments(batch)
    guide = run_guide(pair, args, kwargs, nesting=nesting, given=latents, indices=indices)
    rows = {**(indices or {}), **guide.indices}
    model = run_model(pair, args, kwargs, {**latents, **guide.latents()}, indices=rows, nesting=nesting)
    return {
        (role, name): (site.dim, site.fn.log_prob(site.value))
        for role, sites in (("guide", guide), ("model", model))
        for name, site in sites.visited.items()
    }


def _narrow(value: Tensor, dim: int | None, event_dim: int, size: int) -> Tensor:
    return value if dim is None else value.narrow(dim - event_dim, 0, size)


def _of_particle(programs: list[Sites], particle: int, nesting: int) -> dict[str, Tensor]:
    """The latents of one particle, those left out that follow from others and are the same but for rounding."""
    visited = {name: site for sites in reversed(programs) for name, site in sites.visited.items()}  # the guide's come first
    return {
        name: site.value[particle] if site.value.dim() > nesting + site.fn.event_dim else site.value
        for name, site in visited.items()
        if not site.observed and not isinstance(innermost(site.fn), Delta)
    }


def _difference(
    alone: Callable[[dict[str, Tensor]], list[Sites]], together: list[Sites], count: int, nesting: int
) -> str | None:
    """The site at which a particle that runs alone, again and again, has another log probability than in the run of all."""
    for particle in range(count):
        given = _of_particle(together, particle, nesting)
        runs = zip(alone(given), together, strict=True)
        apart = [
            (which, name, site.log_prob())
            for which, (one, many) in enumerate(runs)
            for name, site in one.visited.items()
            if not _same(site.log_prob(), many.visited[name].log_prob(), particle, nesting)
        ]
        again = alone(given) if apart else []  # what differs from run to run anyway says nothing
        for which, name, once in apart:
            if close(once, again[which].visited[name].log_prob()):
                return f"site '{name}' has another log probability when several particles run at once"
    return None


def _same(once: Tensor, many: Tensor, particle: int, nesting: int) -> bool:
    """Whether a log probability of one particle is that in a run of several, but for plates of size one."""
    many = many[particle] if many.dim() > nesting else many
    first, second = (
        values.reshape((1,) * (nesting - values.dim()) + values.shape) for values in (once, many)
    )  # (plates...)
    return close(first, second)


def close(first: Tensor, second: Tensor, slack: float = 1.0) -> bool:
    """Whether two tensors have one shape and the same numbers, up to rounding."""
    if first.shape != second.shape:
        return False
    tolerance = slack * (1e-8 if first.dtype == torch.float64 else 1e-3)
    return torch.allclose(first, second, rtol=tolerance, atol=tolerance, equal_nan=True)
