"""Runs of a pair in evaluation mode that show what is random in it besides its sample statements.

One run is watched; the states of the generators before and after runs tell the rest.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np
import torch

from pyrogen.batch import Batch, arguments
from pyrogen.programs.run import Sites, run_guide, run_model
from pyrogen.programs.source_lines import program_line

from .simulated_step import few_rows
from .snapshot import preserved_generators
from .subject import Subject, memoize
from .watchers.random_operations import RandomOperation, watch_random_operations

__all__ = ["Randomness", "line_that_changes", "numpy_state", "randomness_of"]


@dataclass(frozen=True)
class Randomness:
    """What is random in runs in evaluation mode."""

    operations: tuple[RandomOperation, ...]
    other_generators: tuple[str, ...]
    """``"Python's random"`` and ``"numpy.random"``, where a run moves their generators."""
    differs: str | None
    """The first site whose value or log density differs between two runs with all generators seeded alike."""
    harmless: bool
    """Whether draws outside of sites change no log density, as unused initial values."""
    reseeds: bool
    """Whether torch's generator ends in one state, however it was seeded before."""


@memoize
def randomness_of(subject: Subject) -> Randomness:
    """Run the pair in evaluation mode four times and compare."""
    batch = few_rows(subject)

    def run() -> tuple[Sites, Sites]:
        with subject.running():
            return subject.run(batch=batch)

    with preserved_generators(seed=0), watch_random_operations() as seen:
        python, numpy = random.getstate(), numpy_state()
        first = run()
        moved = {"Python's random": random.getstate() != python, "numpy.random": numpy_state() != numpy}
    with preserved_generators(seed=0):
        second = run()
    harmless = any(one.kind == "draw" for one in seen) and _same_with_other_draws(subject, batch, first)
    ends = []
    for seed in (1, 2):
        with preserved_generators(seed=seed):
            run()
            ends.append(torch.default_generator.get_state())
    others = tuple(name for name in moved if moved[name])
    return Randomness(tuple(dict.fromkeys(seen)), others, _difference(first, second), harmless, torch.equal(*ends))


def line_that_changes(subject: Subject, state: Callable[[], Any]) -> str | None:
    """Find the line of the user's code that changes something, in one more run that is traced line by line.

    Args:
        subject: the pair.
        state: returns what to watch; compared by equality.
    """
    last, place, culprit = state(), None, None

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal last, place, culprit
        now = state()
        if culprit is None and now != last:
            culprit = place
        last, place = now, program_line(frame) or place
        return trace

    before = sys.gettrace()
    batch = few_rows(subject)
    with preserved_generators(seed=3), subject.running():
        last = state()
        sys.settrace(trace)
        try:
            subject.run(batch=batch)
        finally:
            sys.settrace(before)
    return culprit


def numpy_state() -> Any:
    """Return the state of NumPy's global generator, in a form that can be compared."""
    state = np.random.get_state()  # noqa: NPY002 the legacy generator is the one that programs share
    return tuple(value.tobytes() if isinstance(value, np.ndarray) else value for value in state)


def _same_with_other_draws(subject: Subject, batch: Batch, first: tuple[Sites, Sites]) -> bool:
    """Whether the log densities of the same latents stay the same under other random numbers."""
    guide = first[0]
    args, kwargs = arguments(batch)
    nesting, indices = subject.structure.nesting, guide.indices
    try:
        with preserved_generators(seed=4), subject.running():
            again = run_guide(subject.pair, args, kwargs, nesting=nesting, given=guide.latents(), indices=indices)
            after = run_model(subject.pair, args, kwargs, guide.latents(), nesting=nesting, indices=indices)
    except Exception:  # whatever the program raises for latents that are not its own
        return False
    return _difference(first, (again, after)) is None


def _difference(first: tuple[Sites, Sites], second: tuple[Sites, Sites]) -> str | None:
    """The first site that two runs do not share, or whose value or log density differs."""
    for earlier, later in zip(first, second, strict=True):
        for name, site in earlier.visited.items():
            other = later.visited.get(name)
            if other is None or other.value.shape != site.value.shape:
                return name
            pairs = ((site.value, other.value), (site.log_prob(), other.log_prob()))
            if not all(torch.allclose(a.double(), b.double(), rtol=1e-3, atol=1e-3, equal_nan=True) for a, b in pairs):
                return name
    return None
