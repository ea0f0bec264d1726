"""A run of a pair recorded once, as a graph of plain tensor operations.

Whatever a function of a pair computes, it runs the pair's Python in the same way each time. `record` runs it once under
`make_fx` with the pair's state swapped for inputs, so that what remains is a pure function

``(parameters, buffers, inputs) -> outputs``

whose buffers (and parameters that the run itself writes) are updated in place. Nothing of Python or Pyro is left in it.
"""

from __future__ import annotations

import copy
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor, fx, nn

from pyrogen.errors import NotTraceable, PairError
from pyrogen.pair import Pair
from pyrogen.programs.functional import holding
from pyrogen.randomness import forked

from .internals import plain, quiet_pyro

__all__ = ["Function", "Graph", "PureProgram", "record"]

Function: TypeAlias = Callable[..., Mapping[str, Tensor | None]]
"""``function(pair, *inputs)``: named tensors computed from a pair and tensors."""

_LIBRARIES = tuple(str(Path(module.__file__ or "").parent) for module in (torch, __import__("pyro")))
_HOUSE = str(Path(__file__).parents[1])


class PureProgram:
    """A function of a pair, as a pure function of the tensors of its state and of its inputs.

    It is called with `tensors`, the values of the pair's parameters and buffers by their names, and with the inputs.
    Buffers are written in place, so that whoever calls it with the pair's own tensors has them updated.

    Args:
        pair: the pair.
        function: what is computed.
        networks: further networks that the function uses; the names of their state begin with ``networks.``.
    """

    def __init__(self, pair: Pair, function: Function, networks: nn.Module | None = None) -> None:
        self.module = _Program(pair, function, networks)
        self.parameters = [_name(name) for name, _ in self.module.named_parameters()]
        self.buffers = [_name(name) for name, _ in self.module.named_buffers()]
        self.trained = [parameter.requires_grad for parameter in self.module.parameters()]

    def tensors(self) -> list[Tensor]:
        """The pair's parameters and buffers as they are now."""
        found = [*self.module.parameters(), *self.module.buffers()]
        if len(found) != len(self.parameters) + len(self.buffers):
            raise PairError(
                "a pyro.param statement ran for the first time after the graph was recorded, too late to be trained: reach "
                "all of them in every run of model and guide"
            )
        return found

    def by_pair(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        """The function's outputs, with the pair's own tensors, which are updated as in eager mode."""
        with quiet_pyro(), torch.enable_grad():
            outputs = self.module(*inputs)
        return {name: plain(value) for name, value in outputs.items() if value is not None}

    def __call__(self, tensors: Sequence[Tensor], inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        """The function's outputs, by name, and ``buffer.NAME`` for each buffer that the run has replaced."""
        count = len(self.parameters)
        leaves = [t.detach().requires_grad_(need) for t, need in zip(tensors[:count], self.trained, strict=True)]
        buffers = [tensor.detach() for tensor in tensors[count:]]
        names = [*dict(self.module.named_parameters()), *dict(self.module.named_buffers())]
        with quiet_pyro(), torch.enable_grad(), holding(self.module, dict(zip(names, (*leaves, *buffers), strict=True))):
            outputs = self.module(*inputs)
        return {name: plain(value) for name, value in outputs.items() if value is not None}


class _Program(nn.Module):
    """A function of a pair as a module, which other tensors can be put into."""

    def __init__(self, pair: Pair, function: Function, networks: nn.Module | None) -> None:
        super().__init__()
        self.pair, self.networks, self._function = pair, networks, (function,)

    def forward(self, *inputs: Tensor) -> dict[str, Tensor | None]:
        before = dict(self.named_buffers())
        outputs = dict(self._function[0](self.pair, *inputs))
        for name, buffer in self.named_buffers():
            if before.get(name) is not buffer:
                outputs[f"buffer.{_name(name)}"] = buffer
        return outputs


def _name(name: str) -> str:
    """The name of a tensor of the state: that in the pair, or ``networks.NAME``."""
    return name.removeprefix("pair.")


@dataclass
class Graph:
    """A recorded run.

    It is called with the tensors of `PureProgram.tensors`, then `constants`, then the inputs, and returns its outputs in
    the order of their names.
    """

    module: fx.GraphModule
    outputs: tuple[str, ...]
    constants: list[Tensor]
    """Tensors that the run met outside the pair and its inputs; handed in at each call, never copied."""
    inputs: int
    """How many inputs the recorded function takes."""

    def __call__(self, *tensors: Tensor) -> Sequence[Tensor]:
        """Run the operations one after the other."""
        return self.module(*tensors)  # type: ignore[no-any-return]

    @property
    def operations(self) -> int:
        """Number of tensor operations."""
        return sum(node.op == "call_function" for node in self.module.graph.nodes)

    def without(self, prefix: str) -> Graph:
        """A copy that does not compute the outputs whose names begin with `prefix`."""
        module = copy.deepcopy(self.module)
        (end,) = (node for node in module.graph.nodes if node.op == "output")
        kept = [i for i, name in enumerate(self.outputs) if not name.startswith(prefix)]
        end.args = ([end.args[0][i] for i in kept],)
        module.graph.eliminate_dead_code(_has_effects)
        module.recompile()
        return Graph(module, tuple(self.outputs[i] for i in kept), self.constants, self.inputs)


def record(program: PureProgram, inputs: Sequence[Tensor]) -> Graph:
    """Run a program once on copies of the pair's state and of the inputs, and keep its tensor operations.

    Random numbers are drawn by operations of the graph, afresh at each call. No generator is moved and nothing is
    written to the pair.

    Raises:
        NotTraceable: the run needs a value on the host; the message names the operation and the line that asked for it.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    tensors = [tensor.detach().clone() for tensor in program.tensors()]
    count = len(tensors)
    outputs: list[str] = []

    def flat(*everything: Tensor) -> list[Tensor]:
        named = program(everything[:count], everything[count:])
        outputs[:] = named
        return list(named.values())

    device = tensors[0].device if tensors else torch.device("cpu")
    try:
        with forked(device), torch.no_grad():
            module = make_fx(flat, tracing_mode="real")(*tensors, *(tensor.clone() for tensor in inputs))
    except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
        if isinstance(error, NotTraceable):
            raise
        raise NotTraceable(_explain(error)) from error
    constants = _lift_constants(module, count)
    names = [*program.parameters, *program.buffers, *(f"constant {i}" for i in range(len(constants)))]
    places = [node for node in module.graph.nodes if node.op == "placeholder"]
    for node, name in zip(places, [*names, *(f"input {i}" for i in range(len(inputs)))], strict=True):
        node.meta["name"] = name
    module.graph.eliminate_dead_code(_has_effects)
    module.recompile()
    return Graph(module, tuple(outputs), constants, len(inputs))


def _has_effects(node: fx.Node) -> bool:
    """Whether an operation does more than give its result; batch normalization does, and its schema does not say so."""
    return bool(node.is_impure()) or node.target in _BATCH_NORMS


_BATCH_NORMS = (torch.ops.aten.native_batch_norm.default, torch.ops.aten.cudnn_batch_norm.default)


def _lift_constants(module: fx.GraphModule, position: int) -> list[Tensor]:
    """Turn tensors that were met from outside into inputs after the first `position` ones."""
    graph = module.graph
    places = [node for node in graph.nodes if node.op == "placeholder"]
    constants: list[Tensor] = []
    lifted: dict[str, fx.Node] = {}
    for node in [node for node in graph.nodes if node.op == "get_attr"]:
        value = getattr(module, str(node.target))
        made_here = all(user.target in _FRESH for user in node.users)
        if not isinstance(value, Tensor) or made_here:
            continue
        if node.target not in lifted:
            before = places[position] if position < len(places) else next(n for n in graph.nodes if n.op != "placeholder")
            with graph.inserting_before(before):
                lifted[str(node.target)] = graph.placeholder(f"constant_{len(constants)}")
            lifted[str(node.target)].meta["val"] = node.meta.get("val")
            constants.append(value)
        node.replace_all_uses_with(lifted[str(node.target)])
        graph.erase_node(node)
    return constants


_FRESH = (torch.ops.aten.lift_fresh_copy.default, torch.ops.aten.lift_fresh.default)


def _explain(error: BaseException) -> str:
    """The operation that failed and the line of the user's code that asked for it."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith((*_LIBRARIES, "<"))]
    users = [frame for frame in own if not frame.filename.startswith(_HOUSE)] or own
    where = f"{users[-1].filename}:{users[-1].lineno}: `{users[-1].line}`" if users else "an unknown line"
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if "get value out of a tracing tensor" in str(error) or "data-dependent" in str(error).lower():
        reason = "it needs the value of a tensor on the host (item(), float(), int(), bool() or an `if` on a tensor)"
    return (
        f"the pair cannot be recorded as a graph at {where}: {reason}. Compute with tensors there (torch.where in place of "
        "`if`), or fit with compile=False"
    )
