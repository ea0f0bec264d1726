"""The fully visible belief network: parameters linear in all earlier values.

Named axes, beside those of `pyrogen.nets.causal.network`: ``to`` and ``from`` are positions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .network import CausalNetwork, State

__all__ = ["CausalLinear"]


class CausalLinear(CausalNetwork):
    r"""Each position's parameters are an affine function of the values at all earlier positions.

    .. math::
        \eta_i = b_i + \sum_{j < i} W_{ij} x_j + V_i c.

    With Bernoulli values it is the fully visible sigmoid belief network. A step adds a column of weights.

    Reference:
        Frey (1998), *Graphical Models for Machine Learning and Digital Communication*, MIT Press. Also Neal (1992),
        *Connectionist Learning of Belief Networks*, https://doi.org/10.1016/0004-3702(92)90065-6.

    Args:
        grid, inputs, outputs, context: see `CausalNetwork`; in raster order.

    Example:
        >>> CausalLinear((4,), inputs=1, outputs=2)(torch.zeros(7, 1, 4)).shape
        torch.Size([7, 2, 4])
    """

    mask: Tensor

    def __init__(self, grid: Sequence[int], inputs: int = 1, outputs: int = 1, context: int = 0) -> None:
        super().__init__(grid, inputs, outputs, context)
        count = self.positions
        bound = (count * inputs) ** -0.5
        self.weight = nn.Parameter(torch.empty(outputs, count, inputs, count).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(outputs, count))
        self.register_buffer("mask", torch.ones(count, count).tril(-1)[:, None])  # (to, 1, from)
        self.project = nn.Linear(context, outputs * count) if context else None

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """See `CausalNetwork.forward`."""
        weight = (self.weight * self.mask).flatten(2).flatten(0, 1)  # (outputs * to, inputs * from)
        eta = self._offset(len(x), context) + F.linear(x.flatten(1), weight)  # (N, outputs * to)
        return eta.reshape(len(x), self.outputs, *self.grid)  # (N, outputs, *grid)

    def start(self, count: int, context: Tensor | None = None) -> State:
        """See `CausalNetwork.start`; the state is the parameters given the values so far."""
        return self._offset(count, context).reshape(count, self.outputs, self.positions).clone()  # (N, outputs, positions)

    def step(self, index: int, previous: Tensor | None, state: State) -> tuple[Tensor, State]:
        """See `CausalNetwork.step`."""
        if previous is not None:
            column = self.weight[..., index - 1] * self.mask[..., index - 1]  # (outputs, to, inputs)
            state = state + torch.einsum("nk,otk->not", previous[..., 0], column)
        return state[..., index : index + 1], state

    def _offset(self, count: int, context: Tensor | None) -> Tensor:
        """The bias and the projected context, (N, outputs * positions)."""
        bias = self.bias.flatten().expand(count, -1)  # (N, outputs * positions)
        return bias if self.project is None or context is None else bias + self.project(context)
