"""An object by a short text: ``NAME[:VALUE|:NAME=VALUE]...``.

``iwae:50`` is ``IWAE(50)``, ``renyi:0.5:5`` is ``Renyi(0.5, 5)``, ``torch.optim.SGD:momentum=0.9`` is
``SGD(momentum=0.9)``, ``file.py:MyEstimator:draws=10`` is ``MyEstimator(draws=10)`` of that file.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from pyrogen.errors import ConfigurationError

from .names import is_code, resolve, unknown

__all__ = ["class_of", "is_a", "make", "split"]


def split(spec: str) -> tuple[str, list[str]]:
    """The name in a text, and its arguments.

    Example:
        >>> split("renyi:0.5:5")
        ('renyi', ['0.5', '5'])
        >>> split("my/own.py:Mine:draws=10")
        ('my/own.py:Mine', ['draws=10'])
        >>> split("package.module:Mine")
        ('package.module:Mine', [])
    """
    match = re.fullmatch(r"(.+\.py:[^:]*)(?::(.*))?", spec)
    if match is not None:
        return match[1], match[2].split(":") if match[2] else []
    name, *arguments = spec.split(":")
    if is_code(name) and arguments and arguments[0].isidentifier():
        name = f"{name}:{arguments.pop(0)}"
    return name, arguments


def make(
    what: str,
    spec: str,
    known: Mapping[str, type],
    kind: type,
    *,
    offered: Mapping[str, Any] | None = None,
    extra: Sequence[str] = (),
    last: str | None = None,
) -> Any:
    """The object of a text.

    Args:
        what: what the text should name, such as ``"estimator"``.
        spec: the text.
        known: classes by name.
        kind: what a class of the user's own must be a subclass of.
        offered: arguments that the caller has; a class is given those that its constructor names.
        extra: arguments as text, which those of `spec` win over.
        last: an argument that is still to come: the result is what makes the object from it.

    Raises:
        ConfigurationError: there is no such class, or it does not take such arguments.
    """
    target, arguments = split(spec)
    constructor = class_of(what, target, known, kind)
    parameters = inspect.signature(constructor).parameters
    given = {name: value for name, value in (offered or {}).items() if name in parameters}
    places = [
        name
        for name, parameter in parameters.items()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and name not in given and name != last
    ]
    tokens = []
    for number, text in enumerate(arguments):
        if "=" not in text and number >= len(places):
            takes = f"{', '.join(places)}, and more as NAME=VALUE" if places else "NAME=VALUE alone"
            raise ConfigurationError(f"{spec}: too many values: {constructor.__name__} takes {takes}")
        tokens.append(text if "=" in text else f"{places[number]}={text}")
    required = any(p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD for n, p in parameters.items() if n in places)
    if tokens or extra or required:
        from .construct import check  # here, for a model of defaults has nothing to check

        skip = frozenset(given if last is None else {*given, last})
        given |= check(constructor, {}, [*extra, *tokens], skip=skip).make()
    if last is None:
        return constructor(**given)
    factory = partial(constructor, **given)
    factory.__name__ = constructor.__name__  # type: ignore[attr-defined]  # what fit records
    return factory


def class_of(what: str, name: str, known: Mapping[str, type], kind: type) -> type:
    """The class that a name stands for: a known one, or that of a name of code, which must be of the kind."""
    if name in known:
        return known[name]
    if not is_code(name):
        raise unknown(what, name, known)
    found = resolve(name)
    if len(found) != 1 or not is_a(found[0], kind):
        raise ConfigurationError(f"{name} is no {what}: name a subclass of {kind.__module__}.{kind.__name__}")
    constructor: type = found[0]
    return constructor


def is_a(value: Any, kind: type) -> bool:
    """Whether a value is a class of a kind that can be made, and not the kind itself."""
    return isinstance(value, type) and issubclass(value, kind) and value is not kind and not inspect.isabstract(value)
