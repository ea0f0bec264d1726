"""The line of the user's own code from which something was called: the first frame outside Pyro, torch and pyrogen."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
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


CALLERS = tuple(map(_path, ("programs", "checks")))
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
    frame = start or sys._getframe(1)
    zoo: str | None = None
    walked: FrameType | None = frame
    while walked is not None:
        kind = _kind(walked.f_code.co_filename)
        if kind == "caller":
            break
        if kind == "own":
            return line_at(walked.f_code.co_filename, walked.f_lineno)
        if kind == "zoo" and zoo is None:
            zoo = line_at(walked.f_code.co_filename, walked.f_lineno)
        walked = walked.f_back
    return zoo


def line_of_error(error: BaseException) -> str | None:
    """Find the innermost line of the user's own code on the way to an error, or None.

    Args:
        error: an exception that was caught.
    """
    own, zoo = None, None
    trace = error.__traceback__
    while trace is not None:
        kind = _kind(trace.tb_frame.f_code.co_filename)
        line = line_at(trace.tb_frame.f_code.co_filename, trace.tb_lineno)
        if kind == "caller":
            own, zoo = None, None  # what lies outside of it is the code that asked for the run
        elif kind == "own":
            own = line
        elif kind == "zoo":
            zoo = line
        trace = trace.tb_next
    return own or zoo


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
