"""What of the data each process takes: its share of a batch in training, its share of all data in an estimate.

Axes: data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from pyrogen.batch import Batch, device_of, index, length
from pyrogen.errors import PairError
from pyrogen.pair import Pair
from pyrogen.processes import Processes, stream

from ..estimators.estimate import Curve, Draws, Estimate, Estimator
from ..graphs import Compile, SharedGraphs
from ..objectives.objective import Objective
from ..weights.evaluation import check_extremes, evaluation
from ..weights.terms import weigh

__all__ = ["estimate_in_shares", "require_divisible", "share"]


def share(rows: int, processes: Processes) -> slice:
    """The rows, of so many, that are this process's; the first processes have one more where they do not divide.

    Example:
        >>> [share(5, Processes(rank, 3)) for rank in range(3)]
        [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    each, rest = divmod(rows, processes.size)
    start = processes.rank * each + min(processes.rank, rest)
    return slice(start, start + each + (processes.rank < rest))


def require_divisible(pair: Pair, batch: Batch, objective: Objective, processes: Processes) -> None:
    """Refuse a pair whose loss on a batch is not the mean of its losses on the parts of the batch.

    It is where all sites lie in the data plate. What all data share (a global latent) would be counted in each part; with a
    data plate of the full size, which scales the parts up, that is right for an ELBO.

    Raises:
        PairError: with the site that prevents it.
    """
    if processes.size == 1:
        return
    structure = pair.structure(batch)
    many = f"{processes.size} processes"
    if not structure.amortized:
        raise PairError(
            f"{type(pair).__name__} runs on a whole batch only (it has parameters for each datum, as an autoguide with "
            f"local latents has), which cannot be split over {many}: start one process, or use a guide that computes its "
            "parameters from the data"
        )
    with evaluation(pair), torch.random.fork_rng(devices=_cuda(batch)):
        weighed = weigh(pair, batch, structure)
    whole = weighed.model.plate_size not in (None, length(batch))
    shared = [site.name for sites in (weighed.model, weighed.guide) for site in sites.visited.values() if site.dim is None]
    if shared and not whole:
        raise PairError(
            f"site '{shared[0]}' is shared by all data, and a batch split over {many} would count it {processes.size} "
            f"times: give the plate its full size, pyro.plate('{pair.data_plate}', size=N, subsample_size=len(x)), or start "
            "one process"
        )
    if whole and objective.divides_by == "batch":
        raise PairError(
            f"plate '{pair.data_plate}' scales a batch up, and {objective.name} then divides by the batch's length, which "
            f"differs for a batch split over {many}: use ELBO, or start one process"
        )


def estimate_in_shares(
    estimator: Estimator,
    pair: Pair,
    batch: Batch,
    processes: Processes,
    *,
    seed: int,
    compile: Compile | SharedGraphs = False,
    progress: bool = False,
) -> Estimate:
    """An estimate for all data, of which each process has made its share; all of them get the whole.

    Data that cannot be split (too few, or a pair that runs on all of them together only) are left to the first process.

    Args:
        estimator: what to estimate with.
        pair: the pair, with the same parameters in every process.
        batch: all data, in every process.
        processes: the processes.
        seed: seeds the particles.
        compile: see `pyrogen.inference.compare`.
        progress: show a progress bar, in the first process.
    """
    if processes.size == 1:
        torch.manual_seed(seed)
        return estimator.estimate(pair, batch, compile=compile, progress=progress)
    place = device_of(batch)
    if length(batch) < processes.size or not pair.structure(batch).amortized:

        def alone() -> Estimate:
            torch.manual_seed(seed)
            return _moved(estimator.estimate(pair, batch, compile=compile, progress=progress), torch.device("cpu"))

        return _moved(processes.from_first(alone), place)
    check_extremes(pair, batch)  # which names the row by its place in all data
    torch.manual_seed(stream(seed, processes.rank))
    part = index(batch, share(length(batch), processes))
    found = estimator.estimate(pair, part, compile=compile, progress=progress and processes.first)
    return _moved(_joined(processes.gather(_moved(found, torch.device("cpu")))), place)


def _joined(parts: Sequence[Estimate]) -> Estimate:
    """The estimates of consecutive data as one."""
    rows = [len(part.log_prob) for part in parts]
    found: dict[str, Any] = {}
    for field in fields(parts[0]):
        values = [getattr(part, field.name) for part in parts]
        if any(value is None for value in values):
            found[field.name] = None
        elif isinstance(values[0], Tensor):
            found[field.name] = torch.cat(values)  # (data,)
        elif field.name == "diagnostics":
            found[field.name] = {name: torch.cat([part.diagnostics[name] for part in parts]) for name in values[0]}
        elif field.name == "notes":
            found[field.name] = tuple(dict.fromkeys(note for part in parts for note in part.notes))
        elif isinstance(values[0], Curve):
            found[field.name] = _joined_curves(values, rows)
        elif isinstance(values[0], Draws):
            found[field.name] = Draws(
                {name: torch.cat([draws.latents[name] for draws in values], 1) for name in values[0].latents},
                torch.cat([draws.log_likelihood for draws in values], 1),
                values[0].chains,
            )
    return replace(
        parts[0],
        **found,
        evaluations=sum(part.evaluations for part in parts),
        gradients=sum(part.gradients for part in parts),
        seconds=max(part.seconds for part in parts),
    )


def _joined_curves(curves: Sequence[Curve], rows: Sequence[int]) -> Curve:
    """The mean of bounds over all data, and its error, from those over parts of them."""
    total, steps = sum(rows), range(len(curves[0].particles))
    return Curve(
        particles=curves[0].particles,
        bound=[sum(n * curve.bound[i] for n, curve in zip(rows, curves, strict=True)) / total for i in steps],
        error=[math.hypot(*(n * curve.error[i] for n, curve in zip(rows, curves, strict=True))) / total for i in steps],
    )


def _moved(estimate: Estimate, device: torch.device) -> Estimate:
    """An estimate whose tensors are on a device."""
    found: dict[str, Any] = {}
    for field in fields(estimate):
        value = getattr(estimate, field.name)
        if isinstance(value, Tensor):
            found[field.name] = value.to(device)
        elif isinstance(value, Draws):
            latents = {name: drawn.to(device) for name, drawn in value.latents.items()}
            found[field.name] = Draws(latents, value.log_likelihood.to(device), value.chains)
        elif field.name == "diagnostics":
            found[field.name] = {name: column.to(device) for name, column in value.items()}
    return replace(estimate, **found)


def _cuda(batch: Batch) -> list[torch.device]:
    return [device_of(batch)] if device_of(batch).type == "cuda" else []
