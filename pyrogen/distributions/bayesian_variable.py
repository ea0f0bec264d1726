"""The variables of a discrete Bayesian network, each with its conditional distribution as a table or a network.

Named axes: ``...`` the batch, ``parents`` the values of a variable's parents, ``states`` its own; a table has one axis
for each parent, in the order in which they are listed, and the variable's own states last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from pyrogen.errors import ConfigurationError
from pyrogen.nets import positive_size

__all__ = ["Node", "Variable", "ancestors_first"]


@dataclass(frozen=True)
class Variable:
    """A variable of a `BayesianNetwork` and its conditional distribution given its parents.

    Args:
        name: its name.
        conditional: unnormalized log probabilities: a table, shape (..., states of each parent, states), or a network
            (anything callable) from the parents' values, as numbers, shape (..., parents), to shape (..., states).
        parents: names of the variables it depends on.
        states: number of values ``0, ..., states - 1``; needed for a network.

    Example:
        >>> Variable("wet", torch.zeros(2, 3), parents=["rain"]).name
        'wet'
    """

    name: str
    conditional: Tensor | Callable[[Tensor], Tensor]
    parents: Sequence[str] = ()
    states: int | None = None


class Node:
    """A variable whose conditional has been checked.

    It has `states` values, each of its parents as many as `rows` lists, and its table the leading dimensions `batch_shape`.
    """

    def __init__(self, variable: Variable, states: Mapping[str, int]) -> None:
        self.name = variable.name
        self.parents = tuple(variable.parents)
        self.rows = tuple(states[parent] for parent in self.parents)
        self.states = states_of(variable)
        self.conditional = variable.conditional
        self.batch_shape: tuple[int, ...] = ()
        if isinstance(self.conditional, Tensor):
            shape, family = tuple(self.conditional.shape), (*self.rows, self.states)
            self.batch_shape = shape[: len(shape) - len(family)]
            if shape[len(self.batch_shape) :] != family:
                raise ConfigurationError(
                    f"the table of '{self.name}' has shape {shape}, and must have one axis for each parent and its "
                    f"own states last: (..., {', '.join(map(str, family))})"
                )

    @property
    def device(self) -> torch.device | None:
        """Where the table or the network's parameters lie; ``None`` if there are none."""
        if isinstance(self.conditional, Tensor):
            return self.conditional.device
        parameters = self.conditional.parameters() if isinstance(self.conditional, nn.Module) else iter(())
        return next((parameter.device for parameter in parameters), None)

    def given(self, values: Tensor) -> Tensor:
        """Log probabilities of the states, (..., states), given the parents' state numbers, (..., parents)."""
        if not isinstance(self.conditional, Tensor):
            return self._of_network(self.conditional, values)
        table = self.conditional.log_softmax(-1)  # (..., states of each parent, states)
        if not self.parents:
            return table
        row = values.new_zeros(values.shape[:-1])
        for parent, size in enumerate(self.rows):
            row = row * size + values[..., parent]  # the number of the row, the last parent fastest
        if not self.batch_shape:
            return table.reshape(-1, self.states)[row]  # (..., states)
        shape = torch.broadcast_shapes(row.shape, self.batch_shape)  # type: ignore[no-untyped-call]
        flat = table.reshape(*self.batch_shape, prod(self.rows), self.states).expand(*shape, -1, -1)  # (..., rows, states)
        chosen = row.expand(shape)[..., None, None].expand(*shape, 1, self.states)  # (..., 1, states)
        return flat.gather(-2, chosen).squeeze(-2)  # (..., states)

    def table(self, device: torch.device) -> Tensor:
        """Log probabilities for all values of the parents, shape (..., states of each parent, states)."""
        if isinstance(self.conditional, Tensor):
            return self.conditional.log_softmax(-1)
        axes = [torch.arange(size, device=device) for size in self.rows]
        values = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1) if axes else torch.zeros(0, device=device)
        return self._of_network(self.conditional, values)

    def _of_network(self, network: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
        parameter = next(network.parameters(), None) if isinstance(network, nn.Module) else None
        logits = network(values.to(torch.get_default_dtype() if parameter is None else parameter.dtype))
        if logits.shape[-1:] != (self.states,):
            raise ConfigurationError(
                f"the network of '{self.name}' must give {self.states} log probabilities, and gives {tuple(logits.shape)}"
            )
        return logits.log_softmax(-1)


def ancestors_first(variables: Sequence[Variable]) -> tuple[Node, ...]:
    """The nodes of a network, every parent before its children."""
    names = [variable.name for variable in variables]
    if not names or len(set(names)) < len(names):
        raise ConfigurationError(f"a Bayesian network needs at least one variable, and each name once, not {names}")
    for variable in variables:
        if isinstance(variable.parents, str) or len(set(variable.parents)) < len(variable.parents):
            raise ConfigurationError(
                f"the parents of '{variable.name}' must be a list of names, each once: {variable.parents}"
            )
        for parent in variable.parents:
            if parent not in names:
                raise ConfigurationError(f"'{variable.name}' has a parent '{parent}', and there is no such variable")
    states = {variable.name: states_of(variable) for variable in variables}
    placed: dict[str, Node] = {}
    while len(placed) < len(names):
        ready = [v for v in variables if v.name not in placed and all(parent in placed for parent in v.parents)]
        if not ready:
            circle = sorted(set(names) - set(placed))
            raise ConfigurationError(f"the parents of {', '.join(circle)} go round in a circle: remove an edge")
        placed.update((variable.name, Node(variable, states)) for variable in ready)
    return tuple(placed.values())


def states_of(variable: Variable) -> int:
    """The number of values of a variable, from its table or from `Variable.states`."""
    table = variable.conditional
    if not isinstance(table, Tensor):
        return positive_size(f"states of '{variable.name}', of which its network tells nothing,", variable.states)
    if table.dim() == 0 or table.shape[-1] < 1 or variable.states not in (None, table.shape[-1]):
        said = "" if variable.states is None else f", of which there are {variable.states}"
        raise ConfigurationError(
            f"the table of '{variable.name}' has shape {tuple(table.shape)}, and its last axis must be its states{said}"
        )
    return int(table.shape[-1])
