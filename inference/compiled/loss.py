"""An objective's loss and its gradient as a function of a pair and tensors, ready to be recorded."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor

from pyrogen.batch import Batch, arguments
from pyrogen.errors import DataError
from pyrogen.pair import Pair

from ..objective import Objective
from ..precision import Precision, computing_in
from .function import SITE

__all__ = ["GRADIENT", "LOSS", "STATE", "Layout", "LossAndGradient", "fixed_part"]

LOSS, GRADIENT, STATE = "loss", "gradient.", "state."
"""Names of outputs: the loss, and prefixes of the gradients and of the objective's state."""


def fixed_part(batch: Batch) -> Hashable:
    """What of a batch a graph takes in for good: where its tensors lie, and the values of all that is no tensor.

    Raises:
        DataError: an entry cannot be told from another one.
    """
    if isinstance(batch, Tensor):
        return None
    args, kwargs = arguments(batch)
    entries: list[tuple[int | str, Any]] = [*enumerate(args), *sorted(kwargs.items())]
    return tuple((place, None if isinstance(v, Tensor) else (type(v), _frozen(v, place))) for place, v in entries)


def _frozen(value: Any, place: int | str) -> Hashable:
    if isinstance(value, list | tuple):
        return tuple((type(part), _frozen(part, place)) for part in value)
    if isinstance(value, Mapping):
        return tuple((name, type(part), _frozen(part, place)) for name, part in value.items())
    if not isinstance(value, Tensor):
        if hasattr(value, "tobytes") and hasattr(value, "shape"):  # an array of numpy's
            return str(value.dtype), tuple(value.shape), value.tobytes()
        try:
            hash(value)
        except TypeError:
            pass
        else:
            return value  # type: ignore[no-any-return]
    raise DataError(
        f"entry {place!r} of a batch is or holds a {type(value).__name__}, by whose value no recorded graph can be chosen: "
        "make tensors entries of their own, pass numbers, strings and tuples of them, or use compile=False"
    )


class Layout:
    """How a batch, a factor beta and an objective's state lie in one list of tensors."""

    def __init__(self, batch: Batch, state: Mapping[str, Tensor], *, with_beta: bool) -> None:
        args, kwargs = arguments(batch)
        self.kind: type = type(batch) if isinstance(batch, Tensor | Mapping) else tuple
        self.fixed = {place: v for place, v in [*enumerate(args), *kwargs.items()] if not isinstance(v, Tensor)}
        self.places = [place for place in [*range(len(args)), *kwargs] if place not in self.fixed]
        self.state, self.with_beta = list(state), with_beta

    def pack(self, batch: Batch, state: Mapping[str, Tensor], beta: Tensor | None) -> list[Tensor]:
        """The tensors of a batch, of beta and of a state, in order."""
        tensors = [batch] if isinstance(batch, Tensor) else [batch[place] for place in self.places]
        if self.with_beta:
            tensors.append(beta if beta is not None else tensors[0].new_ones(()))
        return [*tensors, *(state[name] for name in self.state)]

    def unpack(self, tensors: Sequence[Tensor]) -> tuple[Batch, Tensor | float, dict[str, Tensor]]:
        """The batch, beta and the state that those tensors are."""
        data = dict(zip(self.places, tensors, strict=False))
        rest = list(tensors[len(data) :])
        beta: Tensor | float = rest.pop(0) if self.with_beta else 1.0
        state = dict(zip(self.state, rest, strict=True))
        whole = {**data, **self.fixed}
        if issubclass(self.kind, Mapping):
            return {str(name): whole[name] for name in whole}, beta, state
        values = tuple(whole[place] for place in sorted(whole))
        return (values[0] if issubclass(self.kind, Tensor) else values), beta, state


class LossAndGradient:
    """Minus the bound, its gradient for each trained parameter, and what the objective carries on.

    Its outputs are ``loss``, ``gradient.PARAMETER``, ``state.NAME`` and, to find out where two runs part,
    ``site.NAME`` with the sum of each site's log probability.
    """

    def __init__(self, objective: Objective, layout: Layout, precision: Precision = "float32") -> None:
        self.objective, self.layout, self.precision = objective, layout, precision

    def __call__(self, pair: Pair, *inputs: Tensor) -> dict[str, Tensor | None]:
        """Run the pair once."""
        objective = self.objective
        batch, beta, state = self.layout.unpack(inputs)
        before, objective.state = objective.state, state
        trained = {name: p for name, p in pair.named_parameters() if p.requires_grad}
        try:
            with _SiteSums() as sites, computing_in(self.precision, inputs[0].device):
                loss = objective.loss(pair, batch, **({"beta": beta} if self.layout.with_beta else {}))
            after = dict(objective.state)
        finally:
            objective.state = before
        gradients = _separate(
            list(trained.values()), torch.autograd.grad(loss, list(trained.values()), allow_unused=True), inputs
        )
        return {
            LOSS: loss,
            **{f"{GRADIENT}{name}": gradient for name, gradient in zip(trained, gradients, strict=True)},
            **{f"{STATE}{name}": value for name, value in after.items()},
            **sites.sums,
        }


def _separate(
    parameters: Sequence[Tensor], gradients: Iterable[Tensor | None], inputs: Iterable[Tensor]
) -> list[Tensor | None]:
    """Gradients as ``backward`` would leave them: laid out as their parameters, each in a memory of its own.

    Autograd may hand out one tensor for two parameters, a view or an expanded number, and what comes next (clipping in
    place, a fused optimizer that walks through memory) takes none of these.
    """
    taken = {tensor.untyped_storage().data_ptr() for tensor in (*parameters, *inputs)}
    found: list[Tensor | None] = []
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is not None:
            memory = gradient.untyped_storage().data_ptr()
            if gradient.stride() != parameter.stride() or memory in taken:
                gradient = torch.empty_like(parameter).copy_(gradient)
            taken.add(memory)
        found.append(gradient)
    return found


class _SiteSums(Messenger):
    """Sums the log probability of each site as it is met."""

    def __init__(self) -> None:
        super().__init__()
        self.sums: dict[str, Tensor | None] = {}

    def _postprocess_message(self, msg: Any) -> None:
        if msg["type"] != "sample" or type(msg["fn"]).__name__ == "_Subsample" or msg["infer"].get("_deterministic"):
            return
        name, again = f"{SITE}{msg['name']}", 2
        while name in self.sums:
            name, again = f"{SITE}{msg['name']} (visit {again})", again + 1
        with torch.no_grad():
            self.sums[name] = msg["fn"].log_prob(msg["value"]).sum()
