"""A watch on random operations outside sample statements, and on layers that act as in training."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from pyrogen.programs.source_lines import program_line

__all__ = ["RandomOperation", "watch_random_operations"]


@dataclass(frozen=True)
class RandomOperation:
    """An operation that draws random numbers outside a sample statement, or a layer in training mode."""

    kind: str
    """``"draw"``, ``"dropout"``, ``"batch norm"``, or ``"generator"`` for a draw from a generator of its own."""
    operation: str
    line: str | None


@contextmanager
def watch_random_operations() -> Iterator[list[RandomOperation]]:
    """Collect the random operations that run inside."""
    seen: list[RandomOperation] = []
    with _FunctionCalls(seen) as calls, _Operations(seen, calls):
        yield seen


class _FunctionCalls(TorchFunctionMode):
    """Knows the torch function that is running; records batch normalization by the batch's own statistics."""

    def __init__(self, seen: list[RandomOperation]) -> None:
        super().__init__()
        self.name, self.seen = "", seen

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before, self.name = self.name, getattr(func, "__name__", "")
        kwargs = kwargs or {}
        try:
            if func is torch.nn.functional.batch_norm and (args[5:6] == (True,) or kwargs.get("training")):
                self.seen.append(RandomOperation("batch norm", "batch_norm", program_line()))
            return func(*args, **kwargs)
        finally:
            self.name = before


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records random operations outside sample statements."""

    def __init__(self, seen: list[RandomOperation], calls: _FunctionCalls) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen, self.calls = seen, calls

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # otherwise torch would load its compiler, which is slow

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags and not _is_switched_off(func, args, kwargs):
            own = (kwargs or {}).get("generator") not in (None, torch.default_generator)
            dropping = any(word in f"{func}{self.calls.name}" for word in ("dropout", "attention"))
            kind = "generator" if own else "dropout" if dropping else "draw"
            if own or not _in_statement():
                self.seen.append(RandomOperation(kind, self.calls.name or func.overloadpacket.__name__, program_line()))
        return func(*args, **(kwargs or {}))


def _in_statement() -> bool:
    """Whether a sample or param statement is running."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "apply_stack" and frame.f_globals.get("__name__") == "pyro.poutine.runtime":
            return True
        frame = frame.f_back
    return False


def _is_switched_off(func: Any, args: Any, kwargs: Any) -> bool:
    """Whether an operation that torch tags as random is called so that it is not, as attention without dropout."""
    arguments = func._schema.arguments
    given = {argument.name: argument.default_value for argument in arguments}
    given |= {argument.name: value for argument, value in zip(arguments, args, strict=False)} | (kwargs or {})
    return any(name in given and not given[name] for name in ("dropout_p", "training", "train"))
