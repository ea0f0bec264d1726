"""A pair: a model and a guide, two Pyro programs that take the same batch.

Subclass `Pair` and write both as methods, or adapt two plain Pyro functions with `Pair.of`. Either way the parameters,
`pyro.param` ones included, are ordinary parameters of an `nn.Module`: `parameters()`, `state_dict()` and `to()` see
them, and nothing is written to Pyro's global parameter store. What that store holds under the name of a ``pyro.param``
statement, because Pyro's SVI has trained it, is where the pair's own parameter begins.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import pyro
import pyro.poutine as poutine
import torch
from pyro.poutine.guide import GuideMessenger
from torch import Tensor, nn
from torch.distributions import Transform
from torch.distributions.constraints import real

from .batch import Batch, device_of, length, signature
from .errors import PairError
from .programs import faults
from .programs.networks import holders_of, networks_of
from .programs.probe import probe
from .programs.pyro_store import Inheritance
from .programs.structure import Structure
from .registry.rebuilding import Rebuildable
from .sampler import Sampler

__all__ = ["Pair"]

_running: list[tuple[Pair, dict[str, Tensor], dict[str, Any]]] = []
"""The pairs whose parameters are in Pyro's store, innermost last, with the values and constraints that were there before."""


class Pair(Rebuildable, nn.Module):
    """A model and a guide of the same signature, with their parameters.

    Implement `model(batch)` and `guide(batch)` as Pyro programs. Put what belongs to one datum inside
    ``pyro.plate("data", len(x))`` (another name: set `data_plate`). A guide without latents may be left out.
    A batch that is a tuple arrives as positional arguments, a dict as keyword arguments.

    A ``pyro.param`` statement in them means what it means in Pyro: a value that Pyro's global store holds under its name
    when a run first meets it is copied, and comes before the initial one. Set ``fresh = True`` to ignore the store.

    A pair that knows its evidence in closed form offers ``log_evidence(batch)``, of shape (data,), in nats. One that can
    only draw data defines ``draw(count)`` in place of `model`: see `pyrogen.sampler.Sampler`.

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
    differentiates: bool = False
    """Whether the programs call ``torch.autograd.grad`` themselves, so that they need gradients where nothing is trained."""
    fresh: bool = False
    """Whether ``pyro.param`` statements begin with their initial values, whatever Pyro's global store holds."""

    def __init__(self) -> None:
        super().__init__()
        self._homes: dict[str, tuple[tuple[str, ...], str]] = {}  # where the parameter of a Pyro name lives
        self._constraints: dict[str, Any] = {}
        self._loaded: frozenset[str] | None = None
        self._taken: dict[str, tuple[int, ...]] = {}  # what came from Pyro's own store, and its shapes
        self._place: torch.device | None = None
        self._structures: dict[Any, Structure] = {}
        self._flows: list[Transform] = []

    def model(self, *args: Any, **kwargs: Any) -> Any:
        """The generative program ``p(x, z)``; of a sampler, its draws, as many as there are data."""
        if not isinstance(self, Sampler):
            raise NotImplementedError(f"{type(self).__name__} must define model(batch)")
        return self.draw(length(kwargs or args))

    def guide(self, *args: Any, **kwargs: Any) -> Any:
        """The variational program ``q(z | x)``; empty where there are no latents. That of a sampler draws as it does."""
        if not self.has_density:
            Pair.model(self, *args, **kwargs)

    @property
    def has_density(self) -> bool:
        """Whether there is a density of the data: there is none of a sampler, which defines ``draw(count)`` alone."""
        return type(self).model is not Pair.model or not isinstance(self, Sampler)

    @staticmethod
    def of(
        model: Callable[..., Any], guide: Callable[..., Any] | None = None, *, data_plate: str = "data", fresh: bool = False
    ) -> Pair:
        """Adapt a plain Pyro model and guide, unchanged, to a pair.

        ``pyro.param`` (with its constraints), ``pyro.module``, ``PyroModule`` and autoguides work as they do under
        Pyro's SVI, except that their values live in the pair: two pairs whose sites and parameters share names do not
        touch each other. Networks that the functions own (methods of a module) or name, as a closure, a global,
        a default or an argument of a ``functools.partial``, become submodules, so that ``train``, ``eval`` and ``to`` reach
        them. One that they reach in another way is trained if ``pyro.module`` registers it. A network given to two pairs
        belongs to both.

        After Pyro's own SVI the pair is the trained one: when a run first meets a parameter that Pyro's global store holds,
        it copies the value from there, as Pyro would use it, whatever the initial value; the store stays as it is. ``repr``
        of the pair names these parameters. Networks and autoguides that SVI has trained in place are the pair's as they are.
        A state that was loaded into the pair comes before the store.

        Args:
            model: a Pyro function, module or bound method.
            guide: the guide, of the same signature; ``None`` for a model without latents.
            data_plate: name of the plate that holds the data.
            fresh: begin with initial values, and ignore Pyro's store.

        Returns:
            A `Pair`. Its ``pyro.param`` parameters exist after the first run; call ``initialise(batch)`` to have them
            before.

        Raises:
            PairError: the model or the guide is not callable.

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
        return _FunctionPair(model, guide, data_plate, fresh)

    def initialise(self, batch: Batch) -> Pair:
        """Run the pair once on a batch, so that lazily made parameters exist; no random number is used up."""
        self.structure(batch)
        return self

    def structure(self, batch: Batch) -> Structure:
        """What one run of the pair on such a batch shows: its sites and plates, checked and kept.

        Raises:
            PairError: the model and the guide do not fit each other or the batch; the message names the site.
            DataError: what was given is no batch; see `pyrogen.batch.length`.
        """
        rows, kind = length(batch), signature(batch)
        known = self._structures.get(kind) or self._structures.get((kind, rows))
        if known is None:
            self._inherit()
            self._place = device_of(batch)
            known = probe(self, batch)
            self._check_loaded()
            self._structures[kind if known.rows is None else (kind, rows)] = known
            self._flows = [module for module in self.modules() if isinstance(module, Transform)]
        return known

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Run Pyro code with this pair's own parameters in place of those of the global store.

        Flows forget the last value that they have transformed: its image is that of other parameters, or without a gradient.
        """
        if _running and _running[-1][0] is self:
            yield
            return
        for flow in self._flows:
            flow.clear_cache()  # type: ignore[attr-defined]
        if "pyro_params" in self._modules:
            self.pyro_params.require_shared()
        before = self._parameters_by_pyro_name()
        state = {"params": before, "constraints": self._constraints}
        store = pyro.get_param_store()
        _running.append((self, store._params, store._constraints))
        _, params, constraints = _running[0]
        inherited = Inheritance(self, params, constraints, self._place) if params and not self.fresh else None
        try:
            with store.scope(state), inherited or nullcontext():  # type: ignore[arg-type]
                yield
        finally:
            _running.pop()
        after = state["params"]
        if len(after) != len(before) or any(before.get(name) is not value for name, value in after.items()):
            self._adopt(before, after, state["constraints"], inherited)

    def extra_repr(self) -> str:
        """See `torch.nn.Module.extra_repr`."""
        taken = ", ".join(f"{name} {shape}" for name, shape in self._taken.items())
        return f"from Pyro's parameter store: {taken}" if taken else ""

    def _parameters_by_pyro_name(self) -> dict[str, nn.Parameter]:
        """The parameters of earlier runs, looked up anew: a move, a load or the user may have replaced some."""
        found: dict[str, nn.Parameter] = {}
        for name, (path, key) in self._homes.items():
            module: nn.Module | None = self
            for part in path:
                module = None if module is None else module._modules.get(part)
            parameter = None if module is None else module._parameters.get(key)
            if parameter is not None:
                found[name] = parameter
        return found

    def _adopt(
        self,
        before: Mapping[str, Tensor],
        after: Mapping[str, Tensor],
        constraints: dict[str, Any],
        inherited: Inheritance | None,
    ) -> None:
        """Make a module parameter of every tensor that a run has left in the parameter store."""
        places = {id(parameter): _place(name) for name, parameter in self.named_parameters()}
        homes, outside = {}, []
        for name, value in after.items():
            kept = None if inherited is None or id(value) in places else inherited.kept(name)
            if kept is not None:
                value, constraints[name] = kept, real
            elif inherited is not None and value is inherited.taken.get(name):
                self._taken[name] = tuple(value.shape)
            if id(value) in places:
                homes[name] = places[id(value)]
            elif name in before:  # the program has set it, as `pyro.get_param_store()[name] = ...` does
                with torch.no_grad():
                    before[name].copy_(value)
                homes[name] = self._homes[name]
            else:
                homes[name] = (("pyro_params",), self._own_params().add(name, value))
                outside += [value] if isinstance(value, nn.Parameter) else []  # of a network that the pair does not know
        self._homes, self._constraints = homes, constraints
        if outside:
            self._own_params().share(outside)

    def _own_params(self) -> _PyroParams:
        if "pyro_params" not in self._modules:
            self.pyro_params = _PyroParams()
        return self.pyro_params

    def _inherit(self) -> None:
        """Take over the ``pyro.param`` parameters of pairs inside this one, whose programs it may run."""
        for path, module in self.named_modules():
            if isinstance(module, Pair) and module is not self:
                for name, (inner, key) in module._homes.items():
                    self._homes.setdefault(name, ((*path.split("."), *inner), key))
                    self._constraints.setdefault(name, module._constraints[name])

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """See `torch.nn.Module.load_state_dict`; ``pyro.param`` parameters may be loaded before the first run."""
        fresh = self._is_fresh()
        result = super().load_state_dict(state_dict, strict, assign)
        if fresh and strict:
            self._loaded = frozenset(self._own_params()._parameters) if "pyro_params" in self._modules else frozenset()
        return result

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        self.fresh, self._taken = True, {}
        own = f"{prefix}pyro_params."
        if self._is_fresh():
            for name in [name for name in state_dict if name.startswith(own)]:
                self._own_params().expect(name.removeprefix(own), state_dict[name])
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _is_fresh(self) -> bool:
        return not self._homes and not self._structures

    def _check_loaded(self) -> None:
        """Compare the parameters that were loaded before the first run with those that the run has shown."""
        if self._loaded is None:
            return
        made = {key for path, key in self._homes.values() if path == ("pyro_params",)}
        for names, problem in (
            (self._loaded - made, "which no pyro.param statement of the first run names"),
            (made - self._loaded, "which the loaded state lacks"),
        ):
            if names:
                raise faults.LOADED_STATE.error(
                    f"the state that was loaded belongs to another pair: 'pyro_params.{min(names)}', {problem}"
                )
        self._loaded = None


class _FunctionPair(Pair):
    """A pair made of two callables."""

    def __init__(self, model: Callable[..., Any], guide: Callable[..., Any] | None, data_plate: str, fresh: bool) -> None:
        super().__init__()
        for role, program in (("model", model), ("guide", guide)):
            if not callable(program) and (program is not None or role == "model"):
                raise PairError(f"the {role} must be a callable Pyro program, not {type(program).__name__}")
        self.data_plate, self.fresh = data_plate, fresh
        networks = [
            (role, name, network)
            for role, program in (("model", model), ("guide", guide))
            for name, network in networks_of(program, f"{role}_module")
        ]
        inner = {id(part) for *_, network in networks for part in network.modules() if part is not network}
        for role, name, network in networks:
            if id(network) not in inner:
                inner.add(id(network))
                while hasattr(self, name):
                    name = f"{role}_{name}"
                self.add_module(name, network)
        # In a tuple, so that nn.Module does not register a callable module a second time.
        self._programs = (model, guide)

    def model(self, *args: Any, **kwargs: Any) -> Any:
        return self._programs[0](*args, **kwargs)

    def guide(self, *args: Any, **kwargs: Any) -> Any:
        program = self._programs[1]
        if isinstance(program, GuideMessenger):  # it runs the model, whose observed sites and factors are no part of a guide
            with poutine.block(hide_fn=lambda msg: msg["type"] == "sample" and msg["is_observed"]):
                return program(*args, **kwargs)
        return None if program is None else program(*args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Pair:
        raise _no_copy("made of plain functions")


class _Shared(dict[str, nn.Parameter | None]):
    """Parameters, of which modules elsewhere hold some too: what takes the place of one in here, they get as well."""

    def __init__(self) -> None:
        super().__init__()
        self.holders: dict[str, list[tuple[nn.Module, str]]] = {}

    def __setitem__(self, key: str, value: nn.Parameter | None) -> None:
        super().__setitem__(key, value)
        for module, name in self.holders.get(key, ()):
            module._parameters[name] = value

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self.holders:
            raise _no_copy("that runs networks which are no attributes of it")
        return _Shared, (), None, None, iter(self.items())


class _PyroParams(nn.Module):
    """The unconstrained values of ``pyro.param`` statements, as parameters.

    Networks that the pair cannot see as submodules hold some of them, registered by ``pyro.module`` or ``PyroModule``. A
    load, a move and `torch.func.functional_call` reach these networks through this module.
    """

    _parameters: _Shared

    def __init__(self) -> None:
        super().__init__()
        self._parameters = _Shared()

    def share(self, parameters: Collection[Tensor]) -> None:
        """Find the networks that hold parameters of this module."""
        keys = {id(parameter): key for key, parameter in self._parameters.items()}
        for parameter, module, name in holders_of(parameters):
            if not isinstance(module, _PyroParams):  # this one, or that of another pair
                self._parameters.holders.setdefault(keys[id(parameter)], []).append((module, name))

    def require_shared(self) -> None:
        """Refuse a network in which a parameter was replaced, and which nothing trains from then on."""
        for key, holders in self._parameters.holders.items():
            for module, name in holders:
                if module._parameters.get(name) is not self._parameters[key]:
                    raise PairError(
                        f"parameter '{name}' of a {type(module).__name__}, which the pair trains as 'pyro_params.{key}', "
                        "was replaced by another one after the pair's first run",
                        remedy="write new values into it (copy_), or build a new pair",
                    )

    def add(self, name: str, value: Tensor) -> str:
        """Register a value under a name, and return its key; one that was loaded before takes the value's place."""
        key = name.replace("%", "%25").replace("/", "%2F").replace(".", "/")  # nn.Module forbids dots
        if not key or (hasattr(self, key) and key not in self._parameters):
            key += "%"  # taken by nn.Module itself, as `half` and `type` are
        loaded = self._parameters.get(key)
        if loaded is not None and loaded.shape != value.shape:
            raise PairError(
                f"pyro.param('{name}') has shape {tuple(value.shape)}, and the state that was loaded holds "
                f"{tuple(loaded.shape)} for it: load the state of a pair built with the same sizes"
            )
        if isinstance(value, nn.Parameter):  # of a network that the pair does not know
            if loaded is not None:
                with torch.no_grad():
                    value.copy_(loaded)
        elif loaded is not None:
            loaded.data = loaded.data.to(value)
            value = loaded
        else:
            # A copy: the initial tensor may be the user's own, or another pair's too.
            value = nn.Parameter(value.detach().clone())
        self.register_parameter(key, value)
        return key

    def expect(self, key: str, value: Tensor) -> None:
        """Make room for a value that is about to be loaded."""
        if key not in self._parameters:
            self.register_parameter(key, nn.Parameter(torch.empty_like(value)))


def _no_copy(kind: str) -> PairError:
    return PairError(
        f"a pair {kind} cannot be copied: the functions would go on using the networks of the original; build a second "
        "pair from a second call of the code that made this one"
    )


def _place(name: str) -> tuple[tuple[str, ...], str]:
    """The modules on the way to a parameter, and its key in the last."""
    *path, key = name.split(".")
    return tuple(path), key
