"""Names of tensors that a pair uses and that are neither its parameters nor its buffers."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from types import MethodType
from typing import Any

from torch import Tensor, nn

__all__ = ["name_of"]


def name_of(tensor: Tensor, pair: nn.Module) -> str | None:
    """Find the name by which a pair's code reaches a tensor: an attribute, a closure's variable or a global.

    Args:
        tensor: the tensor, or a view of it.
        pair: the pair.

    Returns:
        Such as ``"attribute 'prior_mean'"``, or None where no name is found.
    """
    storage = tensor.untyped_storage()._cdata
    for name, value in _names(pair):
        if any(found.untyped_storage()._cdata == storage for found in _within(value)):
            return name
    return None


def _names(pair: nn.Module) -> Iterator[tuple[str, Any]]:
    programs = []
    for path, module in pair.named_modules():
        for name, value in vars(module).items():
            if not name.startswith("_") or isinstance(value, Tensor):
                yield f"attribute '{path}.{name}'" if path else f"attribute '{name}'", value
        programs += [type(module).__dict__.get(name) for name in ("model", "guide", "forward")]
    for program in (*getattr(pair, "_programs", ()), *programs):
        yield from _named_by(program)


def _named_by(program: Any) -> Iterator[tuple[str, Any]]:
    """Variables of a function, of the functions of its module that it calls, and attributes of a method's object."""
    if isinstance(program, MethodType):
        for name, value in getattr(program.__self__, "__dict__", {}).items():
            yield f"attribute '{name}'", value
        program = program.__func__
    if not inspect.isfunction(program):
        return
    for label, name, value in _variables(program):
        yield label, value
        if isinstance(value, nn.Module):  # its plain attributes
            for path, module in value.named_modules():
                for key, held in vars(module).items():
                    if isinstance(held, Tensor):
                        yield f"attribute '{key}' of '{'.'.join(filter(None, (name, path)))}'", held
        elif inspect.isfunction(value) and value.__module__ == program.__module__ and value is not program:
            yield from ((inner, reached) for inner, _, reached in _variables(value))


def _variables(function: Any) -> Iterator[tuple[str, str, Any]]:
    """Label, name and value of the variables of a function's closure and of the globals that it uses."""
    try:
        names = inspect.getclosurevars(function)
    except ValueError:  # a variable without a value yet
        return
    for kind, found in (("variable", names.nonlocals), ("global", names.globals)):
        yield from ((f"{kind} '{name}'", name, value) for name, value in found.items())


def _within(value: Any) -> Iterator[Tensor]:
    """The tensors in a value: itself, or those of a network, a list, a dict or a distribution."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, nn.Module):
        yield from (*value.parameters(), *value.buffers())
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _within(part)
    elif isinstance(value, Mapping):
        yield from _within(list(value.values()))
    elif hasattr(value, "log_prob") and hasattr(value, "support"):
        yield from _within([part for part in vars(value).values() if isinstance(part, Tensor)])
        yield from _within(getattr(value, "base_dist", None))
