"""A table of classes by name, which users add to."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Generic, TypeVar

from pyrogen.errors import ConfigurationError

from .names import is_code
from .specs import make

__all__ = ["Registry"]

T = TypeVar("T")
C = TypeVar("C", bound=type)


class Registry(Mapping[str, type[T]], Generic[T]):
    """Classes of one kind by name.

    Args:
        what: what a member is, for messages, such as ``"prior"``.
        kind: what each member is a subclass of.
        members: the first ones.

    Example:
        >>> SHAPES = Registry("shape", object)
        >>> @SHAPES.register("square")
        ... class Square:
        ...     def __init__(self, colour: str, side: float = 1.0) -> None:
        ...         self.colour, self.side = colour, side
        >>> vars(SHAPES.make("square:side=3", colour="red", corners=4))
        {'colour': 'red', 'side': 3.0}
    """

    def __init__(self, what: str, kind: type, members: Mapping[str, type[T]] | None = None) -> None:
        self.what, self.kind = what, kind
        self._members: dict[str, Any] = {}
        for name, member in (members or {}).items():
            self.register(name)(member)

    def register(self, name: str) -> Callable[[C], C]:
        """Add a class under a name: as a decorator, or as ``register("name")(Class)``.

        Raises:
            ConfigurationError: the name is taken or has the form of a name of code, or the class is of another kind.
        """

        def add(member: C) -> C:
            if name in self._members or is_code(name):
                why = "taken" if name in self._members else "no plain word, for it has a dot or a colon"
                raise ConfigurationError(
                    f"a {self.what} cannot be registered as {name!r}, which is {why}: choose another name"
                )
            if not issubclass(member, self.kind):
                raise ConfigurationError(f"{member!r} is no {self.what}: register a subclass of {self.kind.__name__}")
            self._members[name] = member
            return member

        return add

    def make(self, spec: str | T | Callable[..., T], **offered: Any) -> T:
        """An object of the kind.

        Args:
            spec: a name, with options as in ``"mixture:components=5"``; a class of one's own as ``"my_file.py:MyPrior"``;
                a class or another callable that makes the object; or the object itself.
            offered: arguments that the caller has; whatever makes the object is given those that it names.

        Raises:
            ConfigurationError: there is no such name, or it does not take such options.
        """
        if isinstance(spec, str):
            made: T = make(self.what, spec, self, self.kind, offered=offered)
            return made
        if isinstance(spec, self.kind):
            return spec  # type: ignore[return-value]  # the kind is that of T
        if not isinstance(spec, type | partial) and not inspect.isroutine(spec):
            raise ConfigurationError(
                f"a {self.what} cannot be a {type(spec).__name__}: give a name, an object of {self.kind.__name__}, or a "
                "class or function that makes one"
            )
        given = spec.keywords if isinstance(spec, partial) else ()
        named = inspect.signature(spec).parameters
        built: T = spec(**{name: value for name, value in offered.items() if name in named and name not in given})
        return built

    def __getitem__(self, name: str) -> type[T]:
        found: type[T] = self._members[name]
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)
