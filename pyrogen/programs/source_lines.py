"""The line of the user's own code from which something was called: the first frame outside Pyro, torch and pyrogen."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from traceback import walk_stack, walk_tb
from types import FrameType
from typing import Any

import pyro
import torch
from pyro.poutine.messenger import Messenger

__all__ = ["CALLERS", "WATCHERS", "LineRecorder", "line_at", "line_of_error", "program_line"]

_PACKAGE = Path(__file__).parents[1]


def _path(module: str) -> str:
    """The file of a module of this package, or the folder of a subpackage with a separator at its end."""
    place = _PACKAGE.joinpath(*module.split("."))
    return f"{place}.py" if place.with_suffix(".py").exists() else f"{place}{os.sep}"


CALLERS = tuple(map(_path, ("programs", "checks", "pair")))
"""Modules that call the programs: the frames outside of theirs are those of the code that asked for a run."""
WATCHERS = (_path("checks.watchers"),)
"""Modes that stand between a program and the operations that it calls, and count as a library."""
_LIBRARIES = tuple(f"{folder}{os.sep}" for folder in (*pyro.__path__, *torch.__path__, _PACKAGE))
_STANDARD = str(Path(os.__file__).parent)


def program_line(start: FrameType | None = None) -> str | None:
    """Find the line at which a running program, a pair's model or guide, is now.

    Args:
        start: the innermost frame to look at; the caller's if not given.

    Returns:
        Such as ``"my_file.py:12"``: the innermost line outside Pyro, torch and pyrogen, or, in a pair of the zoo, the
        innermost line of the zoo; None where there is neither.
    """
    return _innermost(walk_stack(start or sys._getframe(1)))


def line_of_error(error: BaseException) -> str | None:
    """Find the innermost line of the user's own code on the way to an error that was caught, or None."""
    return _innermost(reversed(list(walk_tb(error.__traceback__))))


def _innermost(frames: Iterable[tuple[FrameType, int]]) -> str | None:
    """The first line of the user's own code, or else of the zoo, in frames from the innermost outwards."""
    zoo: str | None = None
    for frame, number in frames:
        file = frame.f_code.co_filename
        kind = _kind(file)
        if kind == "caller":
            break  # what lies outside of it is the code that asked for the run
        if kind == "own":
            return line_at(file, number)
        if kind == "zoo" and zoo is None:
            zoo = line_at(file, number)
    return zoo


@cache
def line_at(file: str, number: int) -> str:
    """Write a place as ``file.py:12``; the file relative to the working folder if it lies inside."""
    if not file.startswith("<"):
        path = os.path.relpath(file)
        file = file if path.startswith("..") else path
    return f"{file}:{number}"


@cache
def _kind(file: str) -> str:
    """``"own"``, ``"zoo"``, ``"caller"`` or ``"library"``."""
    if _in_zoo(file):
        return "zoo"
    if file.startswith(WATCHERS):
        return "library"
    if file.startswith(CALLERS):
        return "caller"
    if file.startswith(("<frozen", *_LIBRARIES)) or (file.startswith(_STANDARD) and "site-packages" not in file):
        return "library"
    return "own"


def _in_zoo(file: str) -> bool:
    for name in ("pyrogen.models", "pyrogen.inference"):
        module = sys.modules.get(name)
        if module is not None and module.__file__ and file.startswith(str(Path(module.__file__).parent) + os.sep):
            return True
    return False


class LineRecorder(Messenger):
    """Writes the line of the user's code into the message of every sample statement, as ``msg["line"]``.

    In that of a plate's indices it writes, as ``msg["own"]``, the indices that the program itself gives.
    """

    def _pyro_sample(self, msg: Any) -> None:
        msg["line"] = program_line(sys._getframe(1))
        msg["own"] = msg["value"]
