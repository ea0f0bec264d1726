"""The diagonal bidirectional LSTM: two recurrences, from both upper corners, in parallel over a diagonal."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .orders import Order
from .recurrence import Recurrence, cell

__all__ = ["DiagonalLSTM"]

# Named axes: ``directions`` from the left and from the right, ``diagonal`` the pixels of a diagonal from top to bottom,
# ``positions`` all pixels; see also `pyrogen.nets.causal.recurrence`.


class DiagonalLSTM(Recurrence):
    r"""A cell at each pixel, fed by the hidden units of its neighbours above and beside it, in each direction.

    .. math::
        (h_{ij}, c_{ij}) = \operatorname{cell}(U h_{i-1,j} + L h_{i,j-1} + B x_{ij},\; c_{i,j-1}),

    and the same with columns counted from the right and weights of its own, whose output is shifted down by a row to stay
    causal. The sum of both has no blind spot, provided that there is a column beyond the right border, through which the
    last pixel of a row enters (see `Recurrence`).

    Pixels of a diagonal don't depend on one another, so that the parallel pass takes height + width - 1 steps. In sampling,
    the direction from the left takes one cell for each pixel, and that from the right runs over a row once it is complete.

    Reference:
        van den Oord, Kalchbrenner, Kavukcuoglu (2016), *Pixel Recurrent Neural Networks*,
        https://arxiv.org/abs/1601.06759.

    Args:
        grid: (height, width), with the column beyond.
        features: channels in.
        hidden: channels out.

    Example:
        >>> DiagonalLSTM((5, 4), features=3, hidden=2)(torch.zeros(7, 5, 4, 3)).shape
        torch.Size([7, 5, 4, 2])
    """

    beyond = 1
    _along: Tensor
    _back: Tensor

    def __init__(self, grid: tuple[int, int], features: int, hidden: int) -> None:
        super().__init__(grid, features, hidden)
        self.read = nn.Linear(features, 8 * hidden)
        bound = (2 * hidden) ** -0.5
        self.near = nn.Parameter(torch.empty(2, 2 * hidden, 4 * hidden).uniform_(-bound, bound))
        with torch.no_grad():
            self.read.bias.view(2, 4, hidden)[:, 1] = 1.0  # remember, at first
        diagonals = Order.diagonal(grid).groups
        self._sizes = [len(diagonal) for diagonal in diagonals]
        along = torch.tensor([position for diagonal in diagonals for position in diagonal])
        self.register_buffer("_along", along, persistent=False)
        self.register_buffer("_back", along.argsort(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """See `Recurrence.forward`."""
        (height, width), count = self.grid, len(x)
        left, right = self.read(x).chunk(2, -1)  # (N, height, width, gates)
        gates = torch.stack([left, right.flip(2)]).flatten(2, 3)  # (directions, N, positions, gates)
        hidden = memory = x.new_zeros(2, count, 0, self.hidden)  # (directions, N, diagonal, hidden)
        outputs = []
        for number, diagonal in enumerate(torch.split(gates.index_select(2, self._along), self._sizes, 2)):
            # The diagonal before holds the pixel beside each one, but that of the first column; and the pixel
            # above each one, but that of the first row. As soon as columns run out, its first pixel is above alone.
            above, below = int(number < width), int(number < height)
            padded = F.pad(hidden, (0, 0, above, below))  # from above the first pixel to beside the last
            near = torch.cat([padded[:, :, :-1], padded[:, :, 1:]], -1)  # (directions, N, diagonal, 2 * hidden)
            gated = torch.baddbmm(diagonal.flatten(1, 2), near.flatten(1, 2), self.near)  # (directions, N * diagonal, gates)
            beside = F.pad(memory, (0, 0, above, below))[:, :, 1:]
            hidden, memory = cell(gated.reshape(2, count, near.shape[2], -1), beside)  # (directions, N, diagonal, hidden)
            outputs.append(hidden)
        found = torch.cat(outputs, 2).index_select(2, self._back)  # (directions, N, positions, hidden)
        both = found.reshape(2, count, height, width, self.hidden)  # (directions, N, height, width, hidden)
        return both[0] + F.pad(both[1].flip(2), (0, 0, 0, 0, 1, 0))[:, :-1]

    def start(self, like: Tensor, count: int) -> list[Tensor]:
        """See `Recurrence.start`.

        The hidden units from the left, of this row up to this pixel and of the row above from there on; the memory to the
        left; the hidden units from the right, of the row above; and the inputs of this row.
        """
        width = self.grid[1]
        sizes = [(width, self.hidden), (self.hidden,), (width, self.hidden), (width, self.features)]
        return [like.new_zeros(count, *size) for size in sizes]

    def pixel(self, x: Tensor, column: int, state: list[Tensor]) -> Tensor:
        """See `Recurrence.pixel`."""
        hidden, memory, from_right, read = state
        read[:, column] = x
        gates = F.linear(x, self.read.weight[: 4 * self.hidden], self.read.bias[: 4 * self.hidden])
        beside = hidden[:, column - 1] if column else torch.zeros_like(memory)
        near = torch.cat([hidden[:, column], beside], -1)  # (N, 2 * hidden)
        hidden[:, column], state[1] = cell(torch.addmm(gates, near, self.near[0]), memory)
        return hidden[:, column] + from_right[:, column]

    def next_row(self, state: list[Tensor]) -> None:
        """See `Recurrence.next_row`: runs the direction from the right over the complete row."""
        _, memory, from_right, read = state
        gates = F.linear(read, self.read.weight[4 * self.hidden :], self.read.bias[4 * self.hidden :])
        beside = remembered = torch.zeros_like(memory)
        for column in reversed(range(self.grid[1])):
            near = torch.cat([from_right[:, column], beside], -1)  # (N, 2 * hidden)
            beside, remembered = cell(torch.addmm(gates[:, column], near, self.near[1]), remembered)
            from_right[:, column] = beside
        state[1] = torch.zeros_like(memory)
