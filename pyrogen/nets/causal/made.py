"""MADE: a perceptron made causal by masks, in any autoregressive order.

Named axes: ``hidden`` the units of a layer; see also `pyrogen.nets.causal.custom_order`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from pyrogen.errors import ConfigurationError

from ..mlp import Activation, make_activation
from ..sizes import positive_sizes
from .custom_order import CustomOrderNetwork
from .network import State
from .orders import Order
from .triangular_linear import TriangularLinear

__all__ = ["MADE", "MaskedPerceptron", "hidden_degrees"]


class MaskedPerceptron(nn.Module):
    """What a MADE computes, for one order or several, from masked layers or from some of their rows."""

    degrees: list[list[int]]
    layers: nn.ModuleList
    activations: nn.ModuleList
    head: nn.Module
    skip: nn.Module | None
    from_context: nn.ModuleList

    def offsets(self, context: Tensor | None) -> list[Tensor] | None:
        """The context projected to the first layer and to the parameters."""
        return None if context is None else [layer(context) for layer in self.from_context]

    def evaluate(self, inputs: Tensor, offsets: list[Tensor] | None, apply: Callable[[Any, Tensor, int], Tensor]) -> Tensor:
        """All parameters; ``apply(layer, x, number)`` is a masked layer: hidden ones, the head, the skip."""
        below = inputs
        for depth, (layer, activation) in enumerate(zip(self.layers, self.activations, strict=True)):
            before = apply(layer, below, depth)
            below = activation(before if depth or offsets is None else before + offsets[0])  # (N, hidden)
        parameters = apply(self.head, below, len(self.layers))
        if self.skip is not None:
            parameters = parameters + apply(self.skip, inputs, len(self.layers) + 1)
        return parameters if offsets is None else parameters + offsets[-1]

    def advance_units(
        self,
        index: int,
        known: list[Tensor],
        offsets: list[Tensor] | None,
        outputs: Any,
        rows: Callable[[Any, Tensor, Any], Tensor],
    ) -> Tensor:
        """Compute the hidden units of a step, and some parameters; ``rows(layer, x, which)`` are some rows of a layer."""
        for depth, degrees in enumerate(self.degrees):
            units = slice(bisect_left(degrees, index - 1), bisect_right(degrees, index - 1))
            if units.start < units.stop:
                before = rows(self.layers[depth], known[depth], units)
                if depth == 0 and offsets is not None:
                    before = before + offsets[0][:, units]
                known[depth + 1][:, units] = self.activations[depth](before)
        parameters = rows(self.head, known[-1], outputs)
        if self.skip is not None:
            parameters = parameters + rows(self.skip, known[0], outputs)
        return parameters if offsets is None else parameters + offsets[-1][:, outputs]


class MADE(CustomOrderNetwork, MaskedPerceptron):
    r"""A perceptron with masked weights, by the degrees of its hidden units.

    A hidden unit of degree d sees inputs and units of rank or degree at most d, and the parameters of a position of rank r
    see hidden units of degree less than r. Units are sorted by degree, so that few masked weights are stored (see
    `TriangularLinear`). With `skip` there are also masked weights straight from the inputs to the parameters; without
    hidden layers these are all: a fully visible sigmoid belief network. The sampler computes each hidden unit once: a
    sample costs the arithmetic of one parallel pass.

    Reference:
        Germain et al. (2015), *MADE: Masked Autoencoder for Distribution Estimation*, https://arxiv.org/abs/1502.03509.

    Args:
        grid, inputs, outputs, context: see `CausalNetwork`.
        hidden: sizes of the hidden layers.
        order: the autoregressive order; raster order if left out.
        skip: whether there are direct connections from the inputs to the parameters.
        activation: see `pyrogen.nets.Activation`; it must work elementwise.
        strips: number of strips that each layer is cut into, at most.

    Raises:
        ConfigurationError: a size is not a positive integer, the order is of another grid, or there are no hidden layers and
            no skip.

    Example:
        >>> import torch
        >>> made = MADE((8, 8), hidden=(100,), order=Order.diagonal((8, 8)))
        >>> made(torch.zeros(7, 1, 8, 8)).shape, len(made.groups)
        (torch.Size([7, 1, 8, 8]), 15)
    """

    def __init__(
        self,
        grid: Sequence[int],
        inputs: int = 1,
        outputs: int = 1,
        hidden: Sequence[int] = (500,),
        order: Order | None = None,
        skip: bool = True,
        activation: Activation = "relu",
        context: int = 0,
        strips: int = 8,
    ) -> None:
        super().__init__(grid, inputs, outputs, context)
        self.set_order(order)
        sizes = positive_sizes("hidden", hidden)
        if not sizes and not skip:
            raise ConfigurationError("without a hidden layer and without a skip the network sees nothing: give one of them")
        input_ranks = [rank for rank in self.ascending for _ in range(self.inputs)]
        output_ranks = [rank for rank in self.ascending for _ in range(self.outputs)]
        self.degrees = [hidden_degrees(self.ascending, size) for size in sizes]
        self.layers = nn.ModuleList()
        below = input_ranks
        for degrees in self.degrees:
            self.layers.append(TriangularLinear(len(below), [bisect_right(below, d) for d in degrees], strips=strips))
            below = degrees
        self.activations = nn.ModuleList(make_activation(activation) for _ in sizes)
        self.head = TriangularLinear(len(below), [bisect_left(below, rank) for rank in output_ranks], strips=strips)
        earlier = [bisect_left(input_ranks, rank) for rank in output_ranks]
        self.skip = TriangularLinear(len(input_ranks), earlier, bias=False, strips=strips) if skip and sizes else None
        widths = (*sizes[:1], len(output_ranks)) if context else ()
        self.from_context = nn.ModuleList(nn.Linear(context, width, bias=False) for width in widths)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """See `CausalNetwork.forward`."""
        parameters = self.evaluate(self.sort(x).flatten(1), self.offsets(context), lambda layer, below, _: layer(below))
        return self.as_grid(parameters.reshape(len(x), self.positions, self.outputs))

    def start(self, count: int, context: Tensor | None = None) -> State:
        """See `CausalNetwork.start`; the state is the inputs and hidden units known so far, and the projected context."""
        widths = [self.positions * self.inputs, *map(len, self.degrees)]
        return [self.example.new_zeros(count, width) for width in widths], self.offsets(context)

    def step(self, index: int, previous: Tensor | None, state: State) -> tuple[Tensor, State]:
        """See `CausalNetwork.step`."""
        known, offsets = state
        first, last = self.bounds[index], self.bounds[index + 1]
        if previous is not None:
            flat = previous.transpose(1, 2).flatten(1)  # (N, group * inputs)
            known[0][:, self.bounds[index - 1] * self.inputs : first * self.inputs] = flat
        rows = slice(first * self.outputs, last * self.outputs)
        parameters = self.advance_units(index, known, offsets, rows, TriangularLinear.rows)  # (N, group * outputs)
        return parameters.reshape(len(parameters), last - first, self.outputs).transpose(1, 2), state  # (N, outputs, group)


def hidden_degrees(ranks: list[int], size: int) -> list[int]:
    """Ascending degrees of hidden units: as many units of degree d as there are positions of rank d + 1, in proportion."""
    later = [rank - 1 for rank in ranks if rank > 0] or [0]
    return [later[unit * len(later) // size] for unit in range(size)]
