"""A pair: a model and a guide, two Pyro programs that take the same batch.

Subclass `Pair` and write both as methods, or adapt two plain Pyro functions with `Pair.of`. Either way the parameters,
`pyro.param` ones included, are ordinary parameters of an `nn.Module`: `parameters()`, `state_dict()` and `to()` see
them, and nothing stays in Pyro's global parameter store.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from torch import Tensor, nn

from .batch import Batch, signature
from .errors import PairError
from .structure import Structure, probe

__all__ = ["Pair"]


class Pair(nn.Module):
    """A model and a guide of the same signature, with their parameters.

    Implement `model(batch)` and `guide(batch)` as Pyro programs. Put what belongs to one datum inside
    ``pyro.plate("data", len(x))`` (another name: set `data_plate`). A guide without latents may be left out.
    A batch that is a tuple arrives as positional arguments, a dict as keyword arguments.

    A pair that knows its evidence in closed form offers ``log_evidence(batch)``, of shape (data,), in nats.

    Example:
        >>> import pyro.distributions as dist
        >>> class Coin(Pair):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.loc = nn.Parameter(torch.zeros(()))
        ...     def model(self, x):
        ...         with pyro.plate("data", len(x)):
        ...             z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
        ...             pyro.sample("x", dist.Bernoulli(logits=z), obs=x)
        ...     def guide(self, x):
        ...         with pyro.plate("data", len(x)):
        ...             pyro.sample("z", dist.Normal(self.loc, 1.0))
        >>> [name for name, _ in Coin().named_parameters()]
        ['loc']
    """

    data_plate: str = "data"

    def __init__(self) -> None:
        super().__init__()
        self._param_store: dict[str, dict[str, Any]] = {"params": {}, "constraints": {}}
        self._structures: dict[Any, Structure] = {}

    def model(self, *args: Any, **kwargs: Any) -> Any:
        """The generative program ``p(x, z)``."""
        raise NotImplementedError(f"{type(self).__name__} must define model(batch)")

    def guide(self, *args: Any, **kwargs: Any) -> Any:
        """The variational program ``q(z | x)``; empty where there are no latents."""

    @staticmethod
    def of(model: Callable[..., Any], guide: Callable[..., Any] | None = None, *, data_plate: str = "data") -> Pair:
        """Adapt a plain Pyro model and guide, unchanged, to a pair.

        ``pyro.param`` (with its constraints), ``pyro.module``, ``PyroModule`` and autoguides work as they do under
        Pyro's SVI, except that their values live in the pair: two pairs whose sites and parameters share names do not
        touch each other. Networks that the functions own (methods of a module), or name in a closure or as globals, become
        submodules, so that ``train``, ``eval`` and ``to`` reach them.

        Args:
            model: a Pyro function, module or bound method.
            guide: the guide, of the same signature; ``None`` for a model without latents.
            data_plate: name of the plate that holds the data.

        Returns:
            A `Pair`. Its ``pyro.param`` parameters exist after the first run; call ``initialise(batch)`` to have them
            before.

        Example:
            >>> import pyro.distributions as dist
            >>> from torch.distributions import constraints
            >>> def model(x):
            ...     with pyro.plate("data", len(x)):
            ...         z = pyro.sample("z", dist.Normal(0.0, 1.0))
            ...         pyro.sample("x", dist.Normal(z, 1.0), obs=x)
            >>> def guide(x):
            ...     scale = pyro.param("scale", torch.tensor(0.5), constraint=constraints.positive)
            ...     with pyro.plate("data", len(x)):
            ...         pyro.sample("z", dist.Normal(x / 2, scale))
            >>> pair = Pair.of(model, guide).initialise(torch.zeros(3))
            >>> [name for name, _ in pair.named_parameters()]
            ['pyro_params.scale']
            >>> len(pyro.get_param_store())
            0
        """
        return _FunctionPair(model, guide, data_plate)

    def initialise(self, batch: Batch) -> Pair:
        """Run the pair once on a batch, so that lazily made parameters exist; no random number is used up."""
        self.structure(batch)
        return self

    def structure(self, batch: Batch) -> Structure:
        """What one run of the pair on such a batch shows: its sites and plates, checked and kept.

        Raises:
            PairError: the model and the guide do not fit each other or the batch; the message names the site.
        """
        key = (self.training, signature(batch))
        if key not in self._structures:
            self._structures[key] = probe(self, batch)
        return self._structures[key]

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Run Pyro code with this pair's own parameters in place of those of the global store."""
        state = self._param_store
        before = len(state["params"])
        with pyro.get_param_store().scope(state):  # type: ignore[arg-type]
            yield
        if len(state["params"]) != before:
            self._adopt()

    def _adopt(self) -> None:
        """Make a module parameter of every tensor that a run has left in the parameter store."""
        own = {id(parameter) for parameter in self.parameters()}
        for name, value in self._param_store["params"].items():
            if id(value) in own:
                continue
            if "pyro_params" not in self._modules:
                self.pyro_params = _PyroParams()
            if not isinstance(value, nn.Parameter):
                value = nn.Parameter(value.detach().clone())
            self._param_store["params"][name] = self.pyro_params.add(name, value)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        result = super()._apply(fn, recurse)
        # A move may have replaced parameter objects: names of the pair's own point to the new ones, aliases of
        # module parameters are forgotten and found again in the next run.
        own = self.pyro_params.entries() if "pyro_params" in self._modules else {}
        kept = {id(parameter) for parameter in self.parameters()}
        store = self._param_store
        store["params"] = {
            name: own.get(name, value) for name, value in store["params"].items() if name in own or id(value) in kept
        }
        return result

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        saved = any(key.startswith(f"{prefix}pyro_params.") for key in state_dict)
        if saved and "pyro_params" not in self._modules:
            self.pyro_params = _PyroParams()
        super()._load_from_state_dict(state_dict, prefix, *args)


class _FunctionPair(Pair):
    """A pair made of two callables."""

    def __init__(self, model: Callable[..., Any], guide: Callable[..., Any] | None, data_plate: str) -> None:
        super().__init__()
        for role, program in (("model", model), ("guide", guide)):
            if program is not None and not callable(program):
                raise PairError(f"the {role} must be a callable Pyro program, not {type(program).__name__}")
        self.data_plate = data_plate
        for name, module in _modules_of(model, guide):
            self.add_module(name, module)
        # In a tuple, so that nn.Module does not register a callable module a second time.
        self._programs = (model, guide)

    def model(self, *args: Any, **kwargs: Any) -> Any:
        return self._programs[0](*args, **kwargs)

    def guide(self, *args: Any, **kwargs: Any) -> Any:
        return None if self._programs[1] is None else self._programs[1](*args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Pair:
        raise PairError(
            "a pair made of plain functions cannot be copied: the functions would go on using the networks of the "
            "original; build a second pair from a second call of the code that made this one"
        )


class _PyroParams(nn.Module):
    """The unconstrained values of ``pyro.param`` statements, as parameters."""

    def __init__(self) -> None:
        super().__init__()
        self._names: dict[str, str] = {}
        self._loaded: dict[str, Tensor] = {}

    def add(self, name: str, value: nn.Parameter) -> nn.Parameter:
        """Register a value under a name; one that was loaded before the name was known takes its place."""
        key = _escape(name)
        loaded = self._loaded.pop(key, None)
        if loaded is not None:
            with torch.no_grad():
                value.copy_(loaded)
        self.register_parameter(key, value)
        self._names[name] = key
        return value

    def entries(self) -> dict[str, nn.Parameter]:
        """The parameters by the names that the program gave them."""
        return {name: getattr(self, key) for name, key in self._names.items()}

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for key in [key for key in state_dict if key.startswith(prefix)]:
            name = key.removeprefix(prefix)
            if name not in self._parameters:  # its `pyro.param` statement has not run yet
                self._loaded[name] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *args)


def _escape(name: str) -> str:
    """A parameter's name without the dots that `nn.Module` forbids."""
    return name.replace(".", "/")


def _modules_of(*programs: Callable[..., Any] | None) -> Iterator[tuple[str, nn.Module]]:
    """The networks that belong to the programs, each once, under names that a pair has free."""
    seen: set[int] = set()
    for role, program in zip(("model", "guide"), programs, strict=True):
        owner = program if isinstance(program, nn.Module) else getattr(program, "__self__", None)
        found: dict[str, Any] = {}
        if isinstance(owner, nn.Module):
            found = {f"{role}_module": owner}
        elif inspect.isfunction(program):
            names = inspect.getclosurevars(program)
            found = {**names.globals, **names.nonlocals}
        for name, module in found.items():
            if isinstance(module, nn.Module) and id(module) not in seen:
                seen.add(id(module))
                yield f"{name}_module" if hasattr(Pair, name) else name, module
