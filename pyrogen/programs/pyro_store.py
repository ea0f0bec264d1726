"""What a pair takes over from Pyro's own parameter store, as its programs ask for it.

Pyro's rule is kept: a value that the store holds under a statement's name comes before the initial one. But the pair gets a
copy, and the store stays as it was.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

import pyro
import torch
from pyro.nn import PyroModule
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn

from ..errors import PairError
from ..randomness import forked

__all__ = ["Inheritance", "taken_over"]

_OF_A_NETWORK = "$$$"  # between the name of a network and that of its parameter, where `pyro.module` has made the name


class Inheritance(Messenger):
    """While it is entered, Pyro's current store falls back on copies of another store's values.

    On leaving by a `PairError` it names a value that was taken and has another shape than the initial one, if there is one.

    Args:
        pair: what runs; parameters of its own, as networks trained in place have them, are not copied.
        params: the other store's unconstrained values.
        constraints: their constraints.
        device: where copies go; they stay where they are if not given.
    """

    def __init__(
        self, pair: nn.Module, params: Mapping[str, Tensor], constraints: Mapping[str, Any], device: torch.device | None
    ) -> None:
        super().__init__()
        self._pair, self._params, self._constraints, self._device = pair, dict(params), constraints, device
        self.taken: dict[str, nn.Parameter] = {}
        self._initial: dict[str, Any] = {}
        self._offered: dict[str, weakref.ref[nn.Parameter] | None] = {}

    def __enter__(self) -> Inheritance:
        store = pyro.get_param_store()
        store._params = _FallingBack(self, store._params)
        return super().__enter__()

    def __exit__(self, *failure: Any) -> None:
        super().__exit__(*failure)
        misfit = self._misfit() if isinstance(failure[1], PairError) else None
        if misfit is not None:
            name, held, initial = misfit
            raise PairError(
                f"Pyro's parameter store holds a value of shape {held} for pyro.param('{name}'), whose initial value has "
                f"shape {initial}, and with it {failure[1].seen}",
                remedy="If another program has left it there, call pyro.clear_param_store() or pass fresh=True to Pair.of; "
                "if its size is that of the data, run the pair on the data that it was trained on",
                code=failure[1].code,
                site=failure[1].site,
                line=failure[1].line,
            ) from failure[1]

    def take(self, name: str) -> bool:
        """Put a value of the other store into the current one, once; whether there was one."""
        value = self._params.pop(name, None)
        if value is None:
            return False
        if all(value is not parameter for parameter in self._pair.parameters()):
            value = self.taken[name] = nn.Parameter(value.detach().to(self._device, copy=True))
        store = pyro.get_param_store()
        store._params[name], store._param_to_name[value], store._constraints[name] = value, name, self._constraints[name]
        return True

    def kept(self, name: str) -> nn.Parameter | None:
        """The parameter of a network that goes on with it although the store held another: `pyro.module` only registers."""
        offered = self._offered.get(name)
        parameter = None if offered is None else offered()
        parts = [part for part in self._pair.modules() if isinstance(part, PyroModule)]
        of_part = any(parameter is own for part in parts for own in part._parameters.values())
        return parameter if of_part or _OF_A_NETWORK in name else None

    def _misfit(self) -> tuple[str, tuple[int, ...], tuple[int, ...]] | None:
        """Name and shape of a value that was taken, and the other shape of its statement's initial value."""
        store = pyro.get_param_store()
        with forked(torch.device("cpu")):
            for name, initial in self._initial.items():
                with suppress(Exception):  # whatever a user's function raises
                    made = initial if isinstance(initial, Tensor) else initial()
                    if made.shape != store[name].shape:
                        return name, tuple(store[name].shape), tuple(made.shape)
        return None

    def _pyro_post_param(self, message: dict[str, Any]) -> None:
        name, *initial = message["args"]
        if name not in self.taken or not initial:
            return
        self._initial.setdefault(name, initial[0].detach() if isinstance(initial[0], Tensor) else initial[0])
        if isinstance(initial[0], nn.Parameter):
            # Another one in a later run: the network took the store's over, or is made anew by each run.
            first = self._offered.setdefault(name, weakref.ref(initial[0]))
            if first is not None and first() is not initial[0]:
                self._offered[name] = None


class _FallingBack(dict[str, Tensor]):
    """The values of a store, which asks an inheritance for what it lacks."""

    def __init__(self, inheritance: Inheritance, values: Mapping[str, Tensor]) -> None:
        super().__init__(values)
        self.inheritance = inheritance

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or self.inheritance.take(str(name))

    def __missing__(self, name: str) -> Tensor:
        if not self.inheritance.take(name):
            raise KeyError(name)
        return self[name]


def taken_over() -> Collection[str]:
    """Names of what the current scope has taken over so far."""
    values = pyro.get_param_store()._params
    return values.inheritance.taken if isinstance(values, _FallingBack) else ()
