"""MADE: a perceptron made causal by masks, in any order and with groups of positions drawn at once.

Named axes: ``N`` data, ``inputs`` and ``outputs`` numbers at a position, ``positions``; ``sorted`` the numbers of all
positions in the order in which these are drawn, those of a position together.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import cast

from torch import Tensor, nn

from pyrogen.errors import ConfigurationError

from ..activations import Activation, make_activation
from ..sizes import positive_size, positive_sizes
from .network import State
from .ordered import OrderedNetwork
from .orders import Order
from .triangular import TriangularLinear

__all__ = ["MADE", "hidden_degrees"]


class MADE(OrderedNetwork):
    r"""A perceptron whose every unit has a rank and sees what ranks before it allow.

    A hidden unit of degree d sees inputs and hidden units of rank or degree at most d, and the parameters of a position
    of rank r see hidden units of degree less than r. Units are sorted by degree, so that masked weights are hardly
    stored at all (see `TriangularLinear`). With `skip` there are also masked weights straight from the inputs to the
    parameters; without hidden layers these are all, and the network is a fully visible sigmoid belief network.

    When drawing, each hidden unit is computed once, as soon as all that it sees is drawn: a sample costs the arithmetic of
    one pass in parallel.

    Reference:
        Germain, Gregor, Murray, Larochelle (2015), *MADE: Masked Autoencoder for Distribution Estimation*,
        https://arxiv.org/abs/1502.03509.

    Args:
        grid: (height, width), or (length,).
        inputs: numbers read at a position.
        outputs: numbers given for a position.
        hidden: sizes of the hidden layers.
        order: which position is drawn when; row by row if left out.
        skip: whether the parameters see the inputs directly, besides through the hidden layers.
        activation: a name in `ACTIVATIONS`, or a callable that makes a module; it must work on each unit by itself.
        context: features of a context vector, 0 for none.
        strips: into how many strips each layer is cut, at most.

    Raises:
        ConfigurationError: a size is not a positive integer, the order is one of another grid, there is neither a hidden
            layer nor a skip.

    Example:
        >>> import torch
        >>> made = MADE((8, 8), hidden=(100,), order=Order.diagonal((8, 8)))
        >>> made(torch.zeros(7, 1, 8, 8)).shape, len(made.frontiers)
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
        super().__init__(grid, inputs, outputs, order)
        sizes = positive_sizes("hidden", hidden)
        if not sizes and not skip:
            raise ConfigurationError("without a hidden layer and without a skip the network sees nothing: give one of them")
        read = [rank for rank in self.ascending for _ in range(self.inputs)]
        given = [rank for rank in self.ascending for _ in range(self.outputs)]
        self._degrees = [hidden_degrees(self.ascending, size) for size in sizes]
        self.layers = nn.ModuleList()
        below = read
        for degrees in self._degrees:
            self.layers.append(TriangularLinear(len(below), [bisect_right(below, d) for d in degrees], strips=strips))
            below = degrees
        self.activations = nn.ModuleList(make_activation(activation) for _ in sizes)
        seen = [bisect_left(below, rank) for rank in given]
        self.head = TriangularLinear(len(below), seen, strips=strips)
        before = [bisect_left(read, rank) for rank in given]
        self.skip = TriangularLinear(len(read), before, bias=False, strips=strips) if skip and sizes else None
        self.context_shape = (positive_size("context", context),) if context else None
        self.from_context = nn.ModuleList(
            nn.Linear(context, size, bias=False) for size in ((*sizes[:1], len(given)) if context else ())
        )

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """See `CausalNetwork.forward`."""
        seen = self.drawn(x).flatten(1)  # (N, sorted)
        below, offsets = seen, self._offsets(context)
        for number, (layer, activation) in enumerate(self._stack()):
            before = layer(below)
            below = activation(before if number or offsets is None else before + offsets[0])  # (N, hidden)
        given: Tensor = self.head(below)  # (N, sorted)
        if self.skip is not None:
            given = given + self.skip(seen)
        if offsets is not None:
            given = given + offsets[-1]
        return self.as_grid(given.unflatten(1, (self.positions, self.outputs)))  # type: ignore[no-untyped-call]

    def start(self, count: int, context: Tensor | None = None) -> State:
        """See `CausalNetwork.start`; the state are the values read, hidden units as far as they are known, offsets."""
        widths = [self.positions * self.inputs, *map(len, self._degrees)]
        return [self.example.new_zeros(count, width) for width in widths], self._offsets(context)

    def step(self, index: int, previous: Tensor | None, state: State) -> tuple[Tensor, State]:
        """See `CausalNetwork.step`."""
        known, offsets = state
        first, last = self.bounds[index], self.bounds[index + 1]
        if previous is not None:
            begin = self.bounds[index - 1]
            known[0][:, begin * self.inputs : first * self.inputs] = previous.transpose(1, 2).flatten(1)
            for number, (layer, activation) in enumerate(self._stack()):
                degrees = self._degrees[number]
                start, end = bisect_left(degrees, index - 1), bisect_right(degrees, index - 1)
                if start < end:
                    before = layer.rows(start, end, known[number])
                    if number == 0 and offsets is not None:
                        before = before + offsets[0][:, start:end]
                    known[number + 1][:, start:end] = activation(before)
        start, end = first * self.outputs, last * self.outputs
        given = self.head.rows(start, end, known[-1])  # (N, group * outputs)
        if self.skip is not None:
            given = given + self.skip.rows(start, end, known[0])
        if offsets is not None:
            given = given + offsets[-1][:, start:end]
        return given.reshape(len(given), last - first, self.outputs).transpose(1, 2), state

    def compiled_step(self) -> Callable[[int, Tensor | None, State], tuple[Tensor, State]]:
        """The step as it is: it has another shape at every index, so that there is nothing to compile once for all."""
        return self.step

    def _stack(self) -> Iterator[tuple[TriangularLinear, nn.Module]]:
        """The hidden layers and their activations."""
        for layer, activation in zip(self.layers, self.activations, strict=True):
            yield cast(TriangularLinear, layer), activation

    def _offsets(self, context: Tensor | None) -> list[Tensor] | None:
        """What the context adds to the first hidden layer and to the parameters."""
        return None if context is None else [layer(context) for layer in self.from_context]


def hidden_degrees(ranks: list[int], size: int) -> list[int]:
    """Ascending degrees of hidden units, spread evenly over the positions that have any before them.

    Units of degree d are the latest that positions of rank d + 1 see, and so there are as many as there are of these.
    """
    later = [rank - 1 for rank in ranks if rank > 0] or [0]
    return [later[unit * len(later) // size] for unit in range(size)]
