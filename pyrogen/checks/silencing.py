"""Comments in the user's code that silence findings: ``# pyrogen: ignore[PG101]``."""

from __future__ import annotations

import inspect
import linecache
import re
from typing import Any

from pyrogen.pair import Pair

from .findings import Finding

__all__ = ["Silencer"]

_COMMENT = re.compile(r"#\s*pyrogen:\s*ignore(?:\[(?P<codes>[^\]]*)\])?")


class Silencer:
    """Knows which findings of a pair its author has silenced.

    A comment counts on the line that a finding names, and on the ``def`` and ``class`` lines of the programs. Without codes
    in brackets it silences all findings; with codes, those whose codes begin with one of them.
    """

    def __init__(self, pair: Pair) -> None:
        self.everywhere = [codes for line in _heads(pair) for codes in _codes(line)]

    def silences(self, finding: Finding) -> bool:
        """Whether a comment silences a finding."""
        codes = [*self.everywhere, *(code for line in _line(finding) for code in _codes(line))]
        return any(finding.code.startswith(code) for code in codes)


def _codes(line: str) -> list[str]:
    """Beginnings of the codes that a line silences; the empty string silences all."""
    found = _COMMENT.search(line)
    if found is None:
        return []
    return [""] if found["codes"] is None else [code for part in found["codes"].split(",") if (code := part.strip())]


def _line(finding: Finding) -> list[str]:
    if finding.line is None:
        return []
    file, _, number = finding.line.rpartition(":")
    return [linecache.getline(file, int(number))]


def _heads(pair: Pair) -> list[str]:
    """The ``def`` lines of the pair's programs, and the ``class`` line around them."""
    programs: list[Any] = [pair.model, pair.guide]
    if type(pair).__name__ == "_FunctionPair":
        programs = [getattr(program, "forward", program) for program in vars(pair)["_programs"] if program is not None]
    heads = []
    for program in programs:
        code = getattr(inspect.unwrap(program), "__code__", None)
        if code is None:  # an object that is called, or a partial
            continue
        lines = linecache.getlines(code.co_filename)
        heads += _statement(lines, code.co_firstlineno - 1)
        owner = re.compile(rf"\s*class {re.escape(type(pair).__name__)}\b")
        heads += [line for place, text in enumerate(lines) if owner.match(text) for line in _statement(lines, place)]
    return heads


def _statement(lines: list[str], start: int) -> list[str]:
    """The lines of a statement from its decorator, ``def`` or ``class`` to the colon."""
    for end in range(start, min(start + 20, len(lines))):
        if lines[end].partition("#")[0].rstrip().endswith(":"):
            return lines[start : end + 1]
    return lines[start : start + 1]
