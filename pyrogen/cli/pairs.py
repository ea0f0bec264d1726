"""PAIR, as every command takes it: the name of a pair in the zoo, a class, or functions in a file.

========================= ===========================================================================================
``vae``                   a pair of the zoo
``package.module:Class``  a subclass of `Pair`, or any class with methods ``model`` and ``guide``
``package.module.Class``  the same
``file.py:Class``         the same, in a file
``file.py:model,guide``   two Pyro functions; ``file.py:model`` where there are no latents
========================= ===========================================================================================
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pyrogen.errors import ConfigurationError
from pyrogen.registry.construct import check
from pyrogen.registry.names import absolute, is_code, resolve, unknown

if TYPE_CHECKING:
    from pyrogen.pair import Pair

__all__ = ["build_pair", "constructor_of"]


def constructor_of(name: str) -> type | Sequence[Callable[..., Any]]:
    """The class that a name stands for, or the functions, one or two; see the table above.

    Raises:
        ConfigurationError: there is no such name, or what it stands for is no pair; the near names are listed.
    """
    from pyrogen.models import ZOO

    if name in ZOO:
        return ZOO[name]
    if not is_code(name):
        raise unknown("pair", name, [*ZOO, "package.module:Class", "file.py:Class", "file.py:model,guide"])
    found = resolve(name)
    if len(found) == 1 and isinstance(found[0], type):
        if all(callable(getattr(found[0], role, None)) for role in ("model", "guide")):
            return found[0]
        raise ConfigurationError(f"{name} is no pair: a class needs the methods model(batch) and guide(batch)")
    if len(found) > 2 or not all(inspect.isroutine(program) for program in found):
        raise ConfigurationError(f"{name} is no pair: name one class, or two functions as NAME,NAME: model and guide")
    return found


def build_pair(
    name: str, given: Mapping[str, Any], tokens: Sequence[str] = (), *, shape: Sequence[int], seed: int
) -> tuple[Pair, dict[str, Any]]:
    """Make the pair that a name and arguments stand for; return it with the arguments that were given, as plain values.

    Args:
        name: PAIR.
        given: arguments of its constructor, plain values as YAML holds them.
        tokens: more of them, as text; see `check`.
        shape: shape of a datum; an argument called ``shape`` gets it unless it was given.
        seed: seeds the initial parameters; the caller's generator is left as it was.

    Raises:
        ConfigurationError: the name or an argument cannot be used.
    """
    import torch

    from pyrogen.pair import Pair
    from pyrogen.randomness import forked

    constructor = constructor_of(name)
    if not isinstance(constructor, type):
        if given or tokens:
            raise ConfigurationError(f"{name} is made of functions, which take no arguments: leave --args out")
        return Pair.of(*constructor), {}
    wanted = "shape" in inspect.signature(constructor).parameters
    filled = wanted and "shape" not in given and not any(token.startswith("shape=") for token in tokens)
    arguments = check(constructor, given, tokens, skip={"shape"} if filled else frozenset())
    with forked(torch.device("cpu")):
        torch.manual_seed(seed)  # of all devices: a constructor may draw on any
        made = arguments.make()
        pair = constructor(**made, **({"shape": tuple(shape)} if filled else {}))
    # Texts that name files, such as a part of a user's own, by paths that hold in any folder.
    kept = {name: absolute(value) if isinstance(value, str) else value for name, value in arguments.given.items()}
    return (pair if isinstance(pair, Pair) else Pair.of(pair.model, pair.guide)), kept
