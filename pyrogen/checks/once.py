"""Computing something about a subject once, for all the rules that ask for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from .subject import Subject

__all__ = ["once"]

Value = TypeVar("Value")


def once(compute: Callable[[Subject], Value]) -> Callable[[Subject], Value]:
    """A function of a subject that computes its value at the first call and gives that one again afterwards.

    An exception is kept and raised again, too.
    """
    known: WeakKeyDictionary[Subject, tuple[Value | None, Exception | None]] = WeakKeyDictionary()

    @wraps(compute)
    def look_up(subject: Subject) -> Value:
        if subject not in known:
            try:
                known[subject] = compute(subject), None
            except Exception as error:  # whatever the program raises
                known[subject] = None, error
        value, failure = known[subject]
        if failure is not None:
            raise failure
        return value  # type: ignore[return-value]

    return look_up
