"""Recorded graphs of several functions, which whoever is handed them shares."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping

from torch import Tensor

from pyrogen.pair import Pair

from .compiled_function import Compile, CompiledFunction, CompileReport, require_compile
from .tracing import Function

__all__ = ["SharedGraphs"]

_COMPILE_AFTER = 20  # calls of one shape


class SharedGraphs:
    """How functions of a pair are to be computed, and the graphs recorded so far; false where the pair itself is to run.

    Estimates that are handed one object record and compile each function once for all of them.

    Args:
        compile: as in `pyrogen.inference.fit`.

    Attributes:
        report: what was recorded and compiled.

    Raises:
        ConfigurationError: there is no such way to compile.
    """

    def __init__(self, compile: Compile) -> None:
        self.compile, self.report = require_compile(compile), CompileReport()
        self._functions: dict[Hashable, CompiledFunction] = {}

    @staticmethod
    def of(compile: Compile | SharedGraphs) -> SharedGraphs:
        """The graphs given, or none yet."""
        return compile if isinstance(compile, SharedGraphs) else SharedGraphs(compile)

    def __bool__(self) -> bool:
        return bool(self.compile)

    def function(
        self,
        key: Hashable,
        pair: Pair,
        make: Callable[[], Function],
        *,
        differs: Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], str | None],
        calls: int,
    ) -> CompiledFunction:
        """The compiled function of a key, made of ``make()`` where there is none; see `CompiledFunction`."""
        if key not in self._functions:
            self._functions[key] = CompiledFunction(
                pair,
                make(),
                self.compile,
                self.report,
                differs=differs,
                calls=calls,
                compile_after=(_COMPILE_AFTER, _COMPILE_AFTER),
            )
        return self._functions[key]
