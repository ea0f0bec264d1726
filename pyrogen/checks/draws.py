"""Random numbers that a pair draws besides its sample statements, and layers that go on as in training.

One run in evaluation mode is watched; the states of the generators before and after runs tell the rest.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from pyrogen.batch import Batch, arguments
from pyrogen.lines import program_line
from pyrogen.programs.run import Sites, run_guide, run_model

from .once import once
from .preservation import preserved_generators
from .rehearsal import few_rows

if TYPE_CHECKING:
    from .subject import Subject

__all__ = ["Draw", "Draws", "line_of_change", "numpy_state", "watch"]


@dataclass(frozen=True)
class Draw:
    """Random numbers drawn by a torch operation, or a layer in training mode."""

    kind: str
    """``"draw"``, ``"dropout"``, ``"batch norm"`` or ``"generator"``."""
    operation: str
    line: str | None


@dataclass(frozen=True)
class Draws:
    """What runs in evaluation mode show."""

    draws: tuple[Draw, ...]
    foreign: tuple[str, ...]
    """``"Python's random"`` and ``"numpy.random"``, where a run moves their generators."""
    differs: str | None
    """The first site whose log density differs between two runs with all generators seeded alike."""
    harmless: bool
    """Whether draws outside of sites change no log density, as initial values do that are thrown away."""
    reseeds: bool
    """Whether torch's generator ends in one state, however it was seeded before."""


@once
def watch(subject: Subject) -> Draws:
    """Run the pair in evaluation mode four times, and see what is random in it."""
    batch = few_rows(subject)

    def run() -> tuple[Sites, Sites]:
        with subject.running():
            return subject.run(batch=batch)

    seen: list[Draw] = []
    with preserved_generators(seed=0), _Calls() as calls, _Watch(seen, calls):
        python, numpy = random.getstate(), numpy_state()
        first = run()
        foreign = [
            name
            for name, moved in (("Python's random", random.getstate() != python), ("numpy.random", numpy_state() != numpy))
            if moved
        ]
    with preserved_generators(seed=0):
        second = run()
    harmless = any(draw.kind == "draw" for draw in seen) and _same_with_other_draws(subject, batch, first)
    ends = []
    for seed in (1, 2):
        with preserved_generators(seed=seed):
            run()
            ends.append(torch.default_generator.get_state())
    return Draws(tuple(dict.fromkeys(seen)), tuple(foreign), _difference(first, second), harmless, torch.equal(*ends))


def line_of_change(subject: Subject, state: Callable[[], Any]) -> str | None:
    """The line of the user's code that changes something, found by asking before each line that runs.

    Args:
        subject: the pair, which is run once more.
        state: what to watch; compared by equality.
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


class _Calls(TorchFunctionMode):
    """The name of the torch function that runs, and batch normalization by the batch's own statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.name = ""
        self.found: list[Draw] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before, self.name = self.name, getattr(func, "__name__", "")
        kwargs = kwargs or {}
        try:
            if func is torch.nn.functional.batch_norm and (args[5:6] == (True,) or kwargs.get("training")):
                self.found.append(Draw("batch norm", "batch_norm", program_line(sys._getframe(1))))
            return func(*args, **kwargs)
        finally:
            self.name = before


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Random operations outside sample statements."""

    def __init__(self, seen: list[Draw], calls: _Calls) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen, self.calls = seen, calls
        calls.found = seen

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or torch's compiler, which is slow to load, would be loaded to be told so

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags and not _is_still(func, args, kwargs):
            own = (kwargs or {}).get("generator") not in (None, torch.default_generator)
            dropping = any(word in f"{func}{self.calls.name}" for word in ("dropout", "attention"))
            kind = "generator" if own else "dropout" if dropping else "draw"
            if own or not _in_a_site():
                line = program_line(sys._getframe(1))
                self.seen.append(Draw(kind, self.calls.name or func.overloadpacket.__name__, line))
        return func(*args, **(kwargs or {}))


def _in_a_site() -> bool:
    """Whether a sample or param statement is at work."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "apply_stack" and frame.f_globals.get("__name__") == "pyro.poutine.runtime":
            return True
        frame = frame.f_back
    return False


def _is_still(func: Any, args: Any, kwargs: Any) -> bool:
    """Whether an operation that torch counts among the random ones is told not to be, as attention without dropout."""
    arguments = func._schema.arguments
    given = {argument.name: argument.default_value for argument in arguments}
    given |= {argument.name: value for argument, value in zip(arguments, args, strict=False)} | (kwargs or {})
    return any(name in given and not given[name] for name in ("dropout_p", "training", "train"))


def _same_with_other_draws(subject: Subject, batch: Batch, first: tuple[Sites, Sites]) -> bool:
    """Whether log densities stay as they were for the same latents and other random numbers."""
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
    for once_, again in zip(first, second, strict=True):
        for name, site in once_.visited.items():
            other = again.visited.get(name)
            if other is None or other.value.shape != site.value.shape:
                return name
            pairs = ((site.value, other.value), (site.log_prob(), other.log_prob()))
            if not all(torch.allclose(a.double(), b.double(), rtol=1e-3, atol=1e-3, equal_nan=True) for a, b in pairs):
                return name
    return None


def numpy_state() -> Any:
    """The state of NumPy's global generator, comparable."""
    state = np.random.get_state()  # noqa: NPY002 the legacy generator is the one that programs share
    return tuple(value.tobytes() if isinstance(value, np.ndarray) else value for value in state)
