"""MADE with one set of weights for several autoregressive orders, and a mask for each.

Named axes: ``hidden`` the units of a layer; inputs and outputs lie channel by channel, as images are flattened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyrogen.errors import ConfigurationError

from ..mlp import Activation, make_activation
from ..sizes import positive_size, positive_sizes
from .custom_order import refuse_other_groups
from .made import MaskedPerceptron, hidden_degrees
from .network import CausalNetwork, Group, State
from .orders import Order

__all__ = ["MADEMember", "OrderAgnosticMADE"]


class OrderAgnosticMADE(MaskedPerceptron):
    r"""A MADE whose weights serve several orders, each of which is another distribution.

    `member` returns the causal network of one order. Train a random member in each step, and evaluate an
    `pyrogen.distributions.Ensemble` of all. For one order, `MADE` is faster and smaller.

    Reference:
        Germain et al. (2015), *MADE: Masked Autoencoder for Distribution Estimation*, https://arxiv.org/abs/1502.03509.

    Args:
        grid, inputs, outputs, context: see `CausalNetwork`.
        orders: the orders, all of that grid and with groups of the same sizes.
        hidden: sizes of the hidden layers, at least one.
        skip: whether there are direct connections from the inputs to the parameters.
        activation: see `pyrogen.nets.Activation`; it must work elementwise.

    Raises:
        ConfigurationError: a size is not a positive integer, or the orders don't fit.

    Attributes:
        groups: the groups of positions of each order.

    Example:
        >>> made = OrderAgnosticMADE((3, 3), [Order.random((3, 3), seed) for seed in range(4)], hidden=(20,))
        >>> made.member(2)(torch.zeros(7, 1, 3, 3)).shape, len(made.members)
        (torch.Size([7, 1, 3, 3]), 4)
    """

    ranks: Tensor

    def __init__(
        self,
        grid: Sequence[int],
        orders: Sequence[Order],
        inputs: int = 1,
        outputs: int = 1,
        hidden: Sequence[int] = (500,),
        skip: bool = True,
        activation: Activation = "relu",
        context: int = 0,
    ) -> None:
        super().__init__()
        self.grid = positive_sizes("grid", grid)
        self.inputs, self.outputs = positive_size("inputs", inputs), positive_size("outputs", outputs)
        sizes = positive_sizes("hidden", hidden)
        if not orders or not sizes:
            raise ConfigurationError("give at least one order and one hidden layer; without a hidden layer, use MADE")
        counts = [torch.bincount(order.ranks.flatten()).tolist() for order in orders]
        if any(order.grid != self.grid for order in orders) or any(count != counts[0] for count in counts):
            seen = ", ".join(map(repr, orders))
            raise ConfigurationError(
                f"all orders must be of the grid {self.grid}, with groups of the same sizes, not {seen}"
            )
        self.register_buffer("ranks", torch.stack([order.ranks for order in orders]))
        self.groups = tuple(order.groups for order in orders)
        ascending = sorted(orders[0].ranks.flatten().tolist())
        self.degrees = [hidden_degrees(ascending, size) for size in sizes]
        for depth, degrees in enumerate(self.degrees):
            self.register_buffer(f"degrees{depth}", torch.tensor(degrees), persistent=False)
        widths = [len(ascending) * self.inputs, *sizes, len(ascending) * self.outputs]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths[:-1]))
        self.activations = nn.ModuleList(make_activation(activation) for _ in sizes)
        self.head = nn.Linear(widths[-2], widths[-1])
        self.skip = nn.Linear(widths[0], widths[-1], bias=False) if skip else None
        self.context_shape = (positive_size("context", context),) if context else None
        from_context = (widths[1], widths[-1]) if context else ()
        self.from_context = nn.ModuleList(nn.Linear(context, width, bias=False) for width in from_context)
        self.register_load_state_dict_post_hook(OrderAgnosticMADE._update_groups)  # type: ignore[no-untyped-call]

    @property
    def members(self) -> tuple[MADEMember, ...]:
        """The causal network of each order; they share the parameters."""
        return tuple(self.member(number) for number in range(len(self.ranks)))

    def member(self, number: int) -> MADEMember:
        """The causal network of one order."""
        if not 0 <= number < len(self.ranks):
            raise ConfigurationError(f"there are {len(self.ranks)} orders, counted from 0, and no order {number}")
        return MADEMember(self, number)

    def forward(self, x: Tensor, context: Tensor | None, number: int) -> Tensor:
        """The parameters of all positions in one of the orders, see `CausalNetwork.forward`."""
        ranks = self.ranks[number].flatten()
        input_ranks, output_ranks = ranks.repeat(self.inputs), ranks.repeat(self.outputs)
        degrees = [self.get_buffer(f"degrees{depth}") for depth in range(len(self.degrees))]  # (hidden,) each
        masks = [unit[:, None] >= below for below, unit in pairwise([input_ranks, *degrees])]
        masks += [output_ranks[:, None] > degrees[-1], output_ranks[:, None] > input_ranks]

        def masked(layer: nn.Linear, below: Tensor, number: int) -> Tensor:
            return F.linear(below, layer.weight * masks[number], layer.bias)

        result = self.evaluate(x.flatten(1), self.offsets(context), masked)  # (N, outputs * positions)
        return result.reshape(len(x), self.outputs, *self.grid)  # (N, outputs, *grid)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        refuse_other_groups(state_dict.get(f"{prefix}ranks"), self.ranks, 1)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _update_groups(self, _: Any) -> None:
        if not self.ranks.is_meta:
            self.groups = tuple(Order(ranks).groups for ranks in self.ranks)


class MADEMember(CausalNetwork):
    """The network `shared` of all orders in the order of a number."""

    steps_differ: ClassVar[bool] = True

    def __init__(self, shared: OrderAgnosticMADE, number: int) -> None:
        super().__init__()
        self.shared, self.number = shared, number
        self.grid, self.inputs, self.outputs = shared.grid, shared.inputs, shared.outputs
        self.context_shape = shared.context_shape

    @property
    def groups(self) -> tuple[Group, ...]:
        """See `CausalNetwork.groups`."""
        return self.shared.groups[self.number]

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """See `CausalNetwork.forward`."""
        return self.shared(x, context, self.number)  # type: ignore[no-any-return]

    def start(self, count: int, context: Tensor | None = None) -> State:
        """See `CausalNetwork.start`; the state is the inputs and hidden units, the groups, and the projected context."""
        widths = [self.positions * self.inputs, *map(len, self.shared.degrees)]
        known = [self.example.new_zeros(count, width) for width in widths]
        groups = [torch.tensor(group, device=self.example.device) for group in self.groups]
        return known, groups, self.shared.offsets(context)

    def step(self, index: int, previous: Tensor | None, state: State) -> tuple[Tensor, State]:
        """See `CausalNetwork.step`."""
        known, groups, offsets = state
        if previous is not None:
            known[0].view(-1, self.inputs, self.positions)[..., groups[index - 1]] = previous  # (N, inputs, group)
        rows = torch.cat([groups[index] + output * self.positions for output in range(self.outputs)])
        parameters = self.shared.advance_units(index, known, offsets, rows, _rows)  # (N, outputs * group)
        return parameters.reshape(len(parameters), self.outputs, -1), state  # (N, outputs, group)


def _rows(layer: nn.Linear, x: Tensor, rows: slice | Tensor) -> Tensor:
    return F.linear(x, layer.weight[rows], None if layer.bias is None else layer.bias[rows])
