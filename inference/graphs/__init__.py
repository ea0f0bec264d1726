"""Recorded graphs: a function of a pair is run once in Python, and by its tensor operations from then on."""

from .backend import CompilerMissing
from .compiled_function import Compile, CompiledFunction, CompileReport, require_compile
from .graphviz import dot
from .shared import SharedGraphs
from .tracing import Graph, PureProgram, record

__all__ = [
    "Compile",
    "CompileReport",
    "CompiledFunction",
    "CompilerMissing",
    "Graph",
    "PureProgram",
    "SharedGraphs",
    "dot",
    "record",
    "require_compile",
]
