"""The compiled engine: a pair's Python is run once, and its tensor operations from then on."""

from .backend import CompilerMissing
from .drawing import dot
from .function import Compile, CompiledFunction, CompileReport, require_compile
from .step import Engine
from .svi import CompiledSVI, compiled_svi
from .tracing import Graph, PureProgram, record

__all__ = [
    "Compile",
    "CompileReport",
    "CompiledFunction",
    "CompiledSVI",
    "CompilerMissing",
    "Engine",
    "Graph",
    "PureProgram",
    "compiled_svi",
    "dot",
    "record",
    "require_compile",
]
