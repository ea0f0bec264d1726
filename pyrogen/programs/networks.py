"""Which networks a Pyro program owns or names, found by reading it and without running it, and which hold a parameter."""

from __future__ import annotations

import dis
import gc
from collections.abc import Collection, Iterator
from contextlib import suppress
from functools import partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from torch import Tensor, nn

__all__ = ["holders_of", "networks_of"]


def networks_of(program: Any, name: str, seen: set[int] | None = None) -> Iterator[tuple[str, nn.Module]]:
    """The networks that a program owns or names, and those of the functions that it names, found without a run."""
    seen = set() if seen is None else seen
    if id(program) in seen or isinstance(program, type | ModuleType | Tensor):
        return
    seen.add(id(program))
    if isinstance(program, nn.Module):
        yield name, program
    elif isinstance(program, FunctionType):
        for inner, value in _named_by(program):
            yield from networks_of(value, inner, seen)
    elif isinstance(program, MethodType):
        yield from networks_of(program.__self__, name, seen)
        yield from networks_of(program.__func__, name, seen)
    elif isinstance(program, partial):  # the handlers of pyro.poutine are such, too
        for inner, value in [(name, program.func), *((name, arg) for arg in program.args), *program.keywords.items()]:
            yield from networks_of(value, inner, seen)
    else:
        if isinstance(program, list | tuple):
            program = {f"{name}_{place}": value for place, value in enumerate(program)}
        items = program if isinstance(program, dict) else getattr(program, "__dict__", {})
        yield from ((str(key).replace(".", "_"), value) for key, value in items.items() if isinstance(value, nn.Module))


def holders_of(parameters: Collection[Tensor]) -> Iterator[tuple[Tensor, nn.Module, str]]:
    """The parameters, each with a module that holds it and its name there: all modules, however a program reaches them."""
    wanted = {id(parameter) for parameter in parameters}
    for module in gc.get_objects() if wanted else ():
        if issubclass(type(module), nn.Module):  # isinstance would ask proxies for what they stand for
            for name, parameter in module.__dict__.get("_parameters", {}).items():
                if id(parameter) in wanted:
                    yield parameter, module, name


def _named_by(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """What a function's closure, defaults and code name."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # a variable that has no value yet
            yield name, cell.cell_contents
    parameters = function.__code__.co_varnames[: function.__code__.co_argcount]
    defaults = function.__defaults__ or ()
    yield from zip(parameters[len(parameters) - len(defaults) :], defaults, strict=True)
    yield from (function.__kwdefaults__ or {}).items()
    package = _package_of(function)
    if package in ("torch", "pyro"):
        return
    for name in _global_names(function.__code__):
        value = function.__globals__.get(name)
        if not isinstance(value, FunctionType) or _package_of(value) == package:
            yield name, value


def _package_of(function: FunctionType) -> str:
    return (function.__module__ or "").partition(".")[0]  # None for what `exec` has made


def _global_names(code: CodeType) -> Iterator[str]:
    """Names that code, and code nested in it, loads as globals; attributes of the same names are not meant."""
    yield from dict.fromkeys(step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL")
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _global_names(constant)
