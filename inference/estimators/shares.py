"""An estimate by several processes, each of which takes its share of the data.

Axes: data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from pyrogen.batch import Batch, device_of, index, length
from pyrogen.pair import Pair
from pyrogen.processes import Processes, stream

from ..graphs import Compile, SharedGraphs
from ..weights.evaluation import check_extremes
from .estimate import Curve, Draws, Estimate, Estimator

__all__ = ["estimate_in_shares", "share"]


def share(rows: int, processes: Processes) -> slice:
    """The rows, of so many, that are this process's; the first processes have one more where they do not divide.

    Example:
        >>> [share(5, Processes(rank, 3)) for rank in range(3)]
        [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    each, rest = divmod(rows, processes.size)
    start = processes.rank * each + min(processes.rank, rest)
    return slice(start, start + each + (processes.rank < rest))


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
    Every process has all data and the same parameters; see `Estimator.estimate`.
    """

    def made(part: Batch, seed: int) -> Estimate:
        torch.manual_seed(seed)
        return estimator.estimate(pair, part, compile=compile, progress=progress and processes.first)

    if processes.size == 1:
        return made(batch, seed)
    host, place = torch.device("cpu"), device_of(batch)
    if length(batch) < processes.size or not pair.structure(batch).amortized:
        return _moved(processes.from_first(lambda: _moved(made(batch, seed), host)), place)
    check_extremes(pair, batch)  # which names the row by its place in all data
    found = made(index(batch, share(length(batch), processes)), stream(seed, processes.rank))
    return _moved(_joined(processes.gather(_moved(found, host))), place)


def _joined(parts: Sequence[Estimate]) -> Estimate:
    """The estimates of consecutive data as one."""
    found: Estimate = _with_tensors(parts, lambda tensors, axis: torch.cat(list(tensors), axis))
    return replace(
        found,
        curve=_joined_curves(parts),
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
        evaluations=sum(part.evaluations for part in parts),
        gradients=sum(part.gradients for part in parts),
        seconds=max(part.seconds for part in parts),
    )


def _joined_curves(parts: Sequence[Estimate]) -> Curve | None:
    """The mean of bounds over all data, and its error, from those over parts of them."""
    curves = [(len(part.log_prob), part.curve) for part in parts if part.curve is not None]
    if len(curves) < len(parts):
        return None
    total, steps = sum(rows for rows, _ in curves), range(len(curves[0][1].particles))
    return Curve(
        particles=curves[0][1].particles,
        bound=[sum(rows * curve.bound[i] for rows, curve in curves) / total for i in steps],
        error=[math.hypot(*(rows * curve.error[i] for rows, curve in curves)) / total for i in steps],
    )


def _moved(estimate: Estimate, device: torch.device) -> Estimate:
    found: Estimate = _with_tensors([estimate], lambda tensors, axis: tensors[0].to(device))
    return found


def _with_tensors(parts: Sequence[Any], make: Callable[[Sequence[Tensor], int], Tensor], axis: int = 0) -> Any:
    """The first of several results of one form, its tensors made of theirs; `axis` is the data's."""
    first = parts[0]
    if any(part is None for part in parts):
        return None
    if isinstance(first, Tensor):
        return make(parts, axis)
    if isinstance(first, Mapping):
        return {name: _with_tensors([part[name] for part in parts], make, axis) for name in first}
    if isinstance(first, Estimate | Draws):
        axis = 1 if isinstance(first, Draws) else 0
        values = {f.name: _with_tensors([getattr(part, f.name) for part in parts], make, axis) for f in fields(first)}
        return replace(first, **values)
    return first
