"""NADE: a hidden layer for each position, updated by each new value.

Named axes: ``hidden`` the units of a layer; see also `pyrogen.nets.causal.custom_order`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..mlp import Activation, make_activation
from ..sizes import positive_size
from .custom_order import CustomOrderNetwork
from .network import State
from .orders import Order

__all__ = ["NADE"]


class NADE(CustomOrderNetwork):
    r"""A hidden layer for each position, with shared weights from the values.

    .. math::
        \eta_i = b_i + V_i f\Big(c + \sum_{j:\, \mathrm{rank}(j) < \mathrm{rank}(i)} W_j x_j\Big).

    The parallel pass holds N x positions x hidden numbers; a step of the sampler adds to one hidden layer.

    Reference:
        Larochelle, Murray (2011), *The Neural Autoregressive Distribution Estimator*,
        https://proceedings.mlr.press/v15/larochelle11a.html.

    Args:
        grid, inputs, outputs, context: see `CausalNetwork`.
        hidden: units of the hidden layer.
        order: the autoregressive order; raster order if left out.
        activation: see `pyrogen.nets.Activation`; it must work elementwise.

    Raises:
        ConfigurationError: a size is not a positive integer, or the order is of another grid.

    Example:
        >>> NADE((8, 8), hidden=50)(torch.zeros(7, 1, 8, 8)).shape
        torch.Size([7, 1, 8, 8])
    """

    before: Tensor

    def __init__(
        self,
        grid: Sequence[int],
        inputs: int = 1,
        outputs: int = 1,
        hidden: int = 100,
        order: Order | None = None,
        activation: Activation = "relu",
        context: int = 0,
    ) -> None:
        super().__init__(grid, inputs, outputs, context)
        self.set_order(order)
        hidden, count = positive_size("hidden", hidden), self.positions
        reach = (count * self.inputs) ** -0.5
        self.read = nn.Parameter(torch.empty(count, self.inputs, hidden).uniform_(-reach, reach))
        self.first = nn.Parameter(torch.zeros(hidden))
        self.activation = make_activation(activation)
        self.head = nn.Parameter(torch.empty(count, hidden, self.outputs).uniform_(-(hidden**-0.5), hidden**-0.5))
        self.bias = nn.Parameter(torch.zeros(count, self.outputs))
        self.from_context = nn.Linear(context, hidden, bias=False) if context else None
        before = [self.bounds[rank] for rank in self.ascending]  # number of positions before each one's group
        self.register_buffer("before", torch.tensor(before), persistent=False)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """See `CausalNetwork.forward`."""
        added = torch.einsum("ndk,dkh->ndh", self.sort(x), self.read)  # (N, sorted, hidden)
        sums = F.pad(added.cumsum(1), (0, 0, 1, 0)).index_select(1, self.before)  # (N, sorted, hidden)
        layers = self.activation(sums + self._first(len(x), context)[:, None])
        return self.as_grid(torch.einsum("ndh,dho->ndo", layers, self.head) + self.bias)  # (N, outputs, *grid)

    def start(self, count: int, context: Tensor | None = None) -> State:
        """See `CausalNetwork.start`; the state is the hidden layer before its activation, (N, hidden)."""
        return self._first(count, context)

    def step(self, index: int, previous: Tensor | None, state: State) -> tuple[Tensor, State]:
        """See `CausalNetwork.step`."""
        start, end = self.bounds[index], self.bounds[index + 1]
        if previous is not None:
            weight = self.read[self.bounds[index - 1] : start]  # (group, inputs, hidden)
            state = state + torch.einsum("nkg,gkh->nh", previous, weight)
        parameters = torch.einsum("nh,gho->nog", self.activation(state), self.head[start:end])  # (N, outputs, group)
        return parameters + self.bias[start:end].T, state

    def _first(self, count: int, context: Tensor | None) -> Tensor:
        """The hidden layer of the first position, before its activation, (N, hidden)."""
        if self.from_context is None or context is None:
            return self.first.expand(count, -1)
        return self.first + self.from_context(context)  # type: ignore[no-any-return]
