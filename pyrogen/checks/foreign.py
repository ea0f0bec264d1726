"""The name of a tensor that a pair uses without owning it as parameter or buffer."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from types import MethodType
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

if TYPE_CHECKING:
    from .subject import Subject

__all__ = ["name_of"]


def name_of(tensor: Tensor, subject: Subject) -> str | None:
    """What the pair's code calls a tensor: an attribute, a closure's variable or a global.

    Args:
        tensor: the tensor, or a view of it.
        subject: the pair and its batch.

    Returns:
        Such as ``"attribute 'prior_mean'"``, or None where no name is found.
    """
    storage = tensor.untyped_storage()._cdata
    for name, value in _names(subject.pair):
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
    """Closure and globals of a function, and attributes of the object that it is a method of."""
    if isinstance(program, MethodType):
        for name, value in getattr(program.__self__, "__dict__", {}).items():
            yield f"attribute '{name}'", value
        program = program.__func__
    if not inspect.isfunction(program):
        return
    try:
        names = inspect.getclosurevars(program)
    except ValueError:  # a variable without a value yet
        return
    for kind, found in (("variable", names.nonlocals), ("global", names.globals)):
        for name, value in found.items():
            yield f"{kind} '{name}'", value
            if isinstance(value, nn.Module):  # what it holds besides parameters and buffers
                for path, module in value.named_modules():
                    for key, held in vars(module).items():
                        if isinstance(held, Tensor):
                            yield f"attribute '{key}' of '{'.'.join(filter(None, (name, path)))}'", held
            elif inspect.isfunction(value) and value.__module__ == program.__module__ and value is not program:
                yield from ((n, v) for n, v in _plain(value))


def _plain(function: Any) -> Iterator[tuple[str, Any]]:
    """Tensors that a function called by a program names."""
    try:
        names = inspect.getclosurevars(function)
    except ValueError:
        return
    for kind, found in (("variable", names.nonlocals), ("global", names.globals)):
        yield from ((f"{kind} '{name}'", value) for name, value in found.items())


def _within(value: Any) -> Iterator[Tensor]:
    """The tensors of a value: itself, a network's, those of lists and dicts, and a distribution's."""
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
