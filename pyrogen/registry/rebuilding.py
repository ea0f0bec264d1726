"""How an object was made, as plain values that YAML holds, and the object made again from them."""

from __future__ import annotations

import inspect
import re
import sys
from contextlib import suppress
from functools import cache, wraps
from pathlib import Path
from typing import Any

from pyrogen.errors import ConfigurationError

from .names import absolute, resolve

__all__ = ["Rebuildable", "Recipe", "rebuild", "recipe"]

Recipe = dict[str, Any]
"""What makes an object again.

``class_path``, a name of code; ``init_args``, plain values, recipes of other objects, and functions and classes as
``{"code": NAME}``; ``tuples``, which of them are tuples and not lists. ``missing``: what cannot be written down, and why.
"""

_MOST = 1000  # elements of a list: what is longer is data


class Rebuildable:
    """An object that remembers the arguments of its constructor.

    Example:
        >>> class Coin(Rebuildable):
        ...     def __init__(self, bias, sides=("head", "tail"), toss=None): ...
        >>> recipe(Coin(0.5, sides=("a", "b"), toss=object()))["missing"]["toss"]
        'is an object'
        >>> from fractions import Fraction
        >>> made = Coin(0.5, toss=Fraction)
        >>> recipe(made)["init_args"]
        {'bias': 0.5, 'toss': {'code': 'fractions:Fraction'}}
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Have the constructor note its arguments, as they are when it is called."""
        super().__init_subclass__(**kwargs)
        construct = cls.__dict__.get("__init__")
        if construct is None:
            return
        signature = inspect.signature(construct)

        @wraps(construct)
        def noting(self: Any, *given: Any, **named: Any) -> None:
            if "_recipe" not in self.__dict__:  # else this is the constructor of a base class
                with suppress(TypeError):  # which the constructor raises, too
                    # Not by setattr: a module has no parameters yet.
                    self.__dict__["_recipe"], self.__dict__["_made_of"] = _described(
                        type(self), signature.bind(self, *given, **named)
                    )
            construct(self, *given, **named)

        cls.__init__ = noting  # type: ignore[method-assign]


def recipe(made: Any) -> Recipe:
    """What makes an object again; where that is not known, what is ``missing``."""
    found: Recipe = getattr(made, "_recipe", None) or {"missing": {"class": f"{type(made).__name__} does not note it"}}
    return found


def rebuild(found: Recipe) -> Any:
    """Make an object again; the code that the recipe names is run.

    Raises:
        ConfigurationError: the recipe lacks something, or its code is not where it was.

    Example:
        >>> rebuild({"class_path": "fractions:Fraction", "init_args": {"numerator": 1, "denominator": 3}})
        Fraction(1, 3)
    """
    if found.get("missing"):
        raise ConfigurationError("; ".join(f"{name} {why}" for name, why in found["missing"].items()))
    arguments = {name: _made(value) for name, value in found.get("init_args", {}).items()}
    arguments |= {name: tuple(arguments[name]) for name in found.get("tuples", ())}
    (constructor,) = resolve(found["class_path"])
    try:
        return constructor(**arguments)
    except TypeError as error:
        raise ConfigurationError(f"{found['class_path']} does not take these arguments any more: {error}") from error


def _described(cls: type, bound: inspect.BoundArguments) -> tuple[Recipe, list[int]]:
    """The recipe of an object, and the identities of all objects in it."""
    given: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for name, value in list(bound.arguments.items())[1:]:
        kind = bound.signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            given |= value
        elif kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY):
            given[name] = value
        else:
            missing[name] = "is given by position alone"
    path = _name_of_code(cls)
    if path is None:
        missing["class"] = f"{cls.__name__} is defined in a function, a notebook, or a script without an if __name__ ..."
    seen: list[int] = []
    arguments = {}
    for name, value in given.items():
        try:
            arguments[name] = _value(value, seen)
        except ConfigurationError as error:
            missing[name] = str(error)
    found: Recipe = {"class_path": path, "init_args": arguments}
    tuples = [name for name, value in given.items() if isinstance(value, tuple) and name in arguments]
    return {**found, **({"tuples": tuples} if tuples else {}), **({"missing": missing} if missing else {})}, seen


def _value(value: Any, seen: list[int]) -> Any:
    """An argument as YAML holds it.

    Raises:
        ConfigurationError: it cannot be held; the message goes on from the argument's name.
    """
    if value is None or type(value) in (bool, int, float):
        return value
    if isinstance(value, str | Path):
        return absolute(str(value)) if ".py:" in str(value) else str(value)
    if isinstance(value, list | tuple) and len(value) <= _MOST:
        return [_value(element, seen) for element in value]
    if isinstance(value, dict) and len(value) <= _MOST and all(isinstance(key, str) for key in value):
        return {key: _value(element, seen) for key, element in value.items()}
    if isinstance(value, type) or inspect.isfunction(value) or inspect.isbuiltin(value):
        name = _name_of_code(value)
        if name is None:
            raise ConfigurationError(f"is {value.__name__}, which no module holds under its name")
        return {"code": name}
    if isinstance(value, Rebuildable):
        found = recipe(value)
        if found.get("missing"):
            inner = "; ".join(f"its {name} {why}" for name, why in found["missing"].items())
            raise ConfigurationError(f"is a {type(value).__name__}, and {inner}")
        own = [id(value), *getattr(value, "_made_of", ())]
        if set(own) & set(seen):
            raise ConfigurationError(f"is a {type(value).__name__} that shares an object with another argument")
        seen += own
        return found
    kind = type(value).__name__
    raise ConfigurationError(f"is {'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}")


def _made(value: Any) -> Any:
    """An argument from what `_value` has made of it."""
    if isinstance(value, list):
        return [_made(element) for element in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"code"}:
        return resolve(value["code"])[0]
    if {"class_path", "init_args"} <= set(value):
        return rebuild(value)
    return {key: _made(element) for key, element in value.items()}


def _name_of_code(target: Any) -> str | None:
    """The name by which `resolve` finds a class or a function in another process; None where it cannot."""
    module, name = target.__module__, target.__qualname__
    found = sys.modules.get(module)
    if getattr(found, name, None) is not target:
        return None
    file = getattr(found, "__file__", None)
    if module == "__main__":
        return f"{Path(file).resolve()}:{name}" if file is not None and _can_be_imported(file) else None
    by_path = module.startswith("pyrogen_file_") and file is not None  # a module that `resolve` has made of a file
    return f"{file}:{name}" if by_path else f"{module}:{name}"


@cache
def _can_be_imported(file: str) -> bool:
    """Whether a script may be imported: without a guard around what it does, it would do it again."""
    try:
        return re.search(r"^if __name__\b", Path(file).read_text(encoding="utf-8"), re.MULTILINE) is not None
    except (OSError, UnicodeDecodeError):
        return False
