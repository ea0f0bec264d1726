"""The recurrent layers of PixelRNN: their contract, their memory cell, the row LSTM and the diagonal BiLSTM.

Named axes: ``N`` data, ``features`` channels in, ``hidden`` channels out, ``gates`` four times as many; ``directions`` from
the left and from the right, ``diagonal`` the pixels of a diagonal from top to bottom, ``positions`` all pixels. Feature maps
are (N, height, width, features), so that a linear layer is the same for a map and for one pixel.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..sizes import odd_size
from .orders import Order

__all__ = ["DiagonalLSTM", "Recurrence", "RowLSTM", "cell"]


class Recurrence(nn.Module, ABC):
    """A recurrent layer, whose output at a pixel depends on its input at that pixel and at earlier ones.

    To write one, define the four functions below from the same products and the same `cell`.

    Args:
        grid: (height, width), the extra columns included.
        features, hidden: channels in and out.
    """

    extra_columns: ClassVar[int] = 0
    """Columns that the layer needs to the right of the image.

    The input at a pixel does not see the pixel itself: the last one of a row is an input of the extra column alone.
    """

    def __init__(self, grid: tuple[int, int], features: int, hidden: int) -> None:
        super().__init__()
        self.grid, self.features, self.hidden = grid, features, hidden

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """All pixels in parallel, (N, height, width, features) to (N, height, width, hidden)."""

    @abstractmethod
    def start(self, like: Tensor, count: int) -> list[Tensor]:
        """The state before the first pixel: tensors of the dtype and on the device of `like`."""

    @abstractmethod
    def pixel(self, x: Tensor, column: int, state: list[Tensor]) -> Tensor:
        """The next pixel of a row, (N, features) to (N, hidden); the state is changed in place."""

    @abstractmethod
    def next_row(self, state: list[Tensor]) -> None:
        """Update the state, in place, between the last pixel of a row and the first of the next."""


def cell(gates: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
    r"""The cell of a long short-term memory.

    .. math::
        c' = \sigma(f) \odot c + \sigma(i) \odot \tanh(g), \qquad h = \sigma(o) \odot \tanh(c').

    From i, f, o and g one after the other, (..., 4 * hidden), and c, (..., hidden), to h and the new c.

    Reference:
        Hochreiter, Schmidhuber (1997), *Long Short-Term Memory*, https://doi.org/10.1162/neco.1997.9.8.1735; with the
        forget gate of Gers, Schmidhuber, Cummins (2000), https://doi.org/10.1162/089976600300015015.
    """
    hidden = memory.shape[-1]
    opening = gates[..., : 3 * hidden].sigmoid()
    write, keep, show = opening.split(hidden, -1)  # type: ignore[no-untyped-call]
    memory = keep * memory + write * gates[..., 3 * hidden :].tanh()
    return show * memory.tanh(), memory


class RowLSTM(Recurrence):
    r"""A cell at each pixel, with the memory of the pixel above, fed by the hidden units around that one.

    With :math:`A` a kernel over the row above and :math:`B` a causal one over the row itself,

    .. math::
        (h_{ij}, c_{ij}) = \operatorname{cell}\big((A * h_{i-1})_j + (B * x_i)_j,\; c_{i-1,j}\big).

    Both kernels have the odd width `kernel`. One layer sees a triangle above the pixel, with a blind wedge on either side.

    Reference:
        van den Oord et al. (2016), *Pixel Recurrent Neural Networks*, https://arxiv.org/abs/1601.06759, section 3.1.

    Raises:
        ConfigurationError: the kernel is even, or no positive integer.

    Example:
        >>> RowLSTM((5, 4), features=3, hidden=2)(torch.zeros(7, 5, 4, 3)).shape
        torch.Size([7, 5, 4, 2])
    """

    def __init__(self, grid: tuple[int, int], features: int, hidden: int, kernel: int = 3) -> None:
        super().__init__(grid, features, hidden)
        self.side = odd_size("kernel", kernel) // 2
        self.read = nn.Linear((self.side + 1) * features, 4 * hidden)
        self.carry = nn.Linear(kernel * hidden, 4 * hidden, bias=False)
        with torch.no_grad():
            self.read.bias[hidden : 2 * hidden] = 1.0  # an open forget gate, at first

    def forward(self, x: Tensor) -> Tensor:
        """See `Recurrence.forward`."""
        width = self.grid[1]
        padded = F.pad(x, (0, 0, self.side, 0))  # (N, height, side + width, features)
        windows = torch.cat([padded[:, :, k : k + width] for k in range(self.side + 1)], -1)  # (..., taps * features)
        gates = self.read(windows)  # (N, height, width, gates)
        hidden = memory = x.new_zeros(len(x), width, self.hidden)
        rows = []
        for row in gates.unbind(1):
            hidden, memory = cell(row + self._carried(hidden), memory)  # (N, width, hidden)
            rows.append(hidden)
        return torch.stack(rows, 1)  # (N, height, width, hidden)

    def start(self, like: Tensor, count: int) -> list[Tensor]:
        """See `Recurrence.start`: the gates' terms from the row above; memories, hidden units and inputs of the row."""
        width, hidden = self.grid[1], self.hidden
        sizes = [(width, 4 * hidden), (width, hidden), (width, hidden), (self.side + width, self.features)]
        return [like.new_zeros(count, *size) for size in sizes]

    def pixel(self, x: Tensor, column: int, state: list[Tensor]) -> Tensor:
        """See `Recurrence.pixel`."""
        carried, memory, hidden, inputs = state
        inputs[:, self.side + column] = x
        window = inputs[:, column : column + self.side + 1].flatten(1)  # (N, taps * features)
        gates = self.read(window) + carried[:, column]
        hidden[:, column], memory[:, column] = cell(gates, memory[:, column])
        return hidden[:, column]

    def next_row(self, state: list[Tensor]) -> None:
        """See `Recurrence.next_row`."""
        state[0] = self._carried(state[2])

    def _carried(self, hidden: Tensor) -> Tensor:
        """Hidden units of a row, (N, width, hidden), to the gates' terms of the row below, (N, width, gates)."""
        width = hidden.shape[1]
        padded = F.pad(hidden, (0, 0, self.side, self.side))
        around = torch.cat([padded[:, k : k + width] for k in range(2 * self.side + 1)], -1)  # (N, width, kernel * hidden)
        return self.carry(around)  # type: ignore[no-any-return]


class DiagonalLSTM(Recurrence):
    r"""A cell at each pixel, fed by the hidden units of its neighbours above and beside it, in each direction.

    .. math::
        (h_{ij}, c_{ij}) = \operatorname{cell}(U h_{i-1,j} + L h_{i,j-1} + B x_{ij},\; c_{i,j-1}),

    and the same with columns counted from the right and weights of its own, whose output is shifted down by a row to stay
    causal. With one extra column the sum of both has no blind spot.

    Pixels of a diagonal don't depend on one another: the parallel pass takes height + width - 1 steps. In sampling, the
    direction from the left takes one cell for each pixel, and that from the right runs over a row once it is complete.

    Reference:
        van den Oord et al. (2016), *Pixel Recurrent Neural Networks*, https://arxiv.org/abs/1601.06759, section 3.2.

    Example:
        >>> DiagonalLSTM((5, 4), features=3, hidden=2)(torch.zeros(7, 5, 4, 3)).shape
        torch.Size([7, 5, 4, 2])
    """

    extra_columns = 1
    _along: Tensor
    _back: Tensor

    def __init__(self, grid: tuple[int, int], features: int, hidden: int) -> None:
        super().__init__(grid, features, hidden)
        self.read = nn.Linear(features, 8 * hidden)
        bound = (2 * hidden) ** -0.5
        self.near = nn.Parameter(torch.empty(2, 2 * hidden, 4 * hidden).uniform_(-bound, bound))
        with torch.no_grad():
            self.read.bias.view(2, 4, hidden)[:, 1] = 1.0  # an open forget gate, at first
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
            gated = gated.reshape(2, count, near.shape[2], 4 * self.hidden)  # (directions, N, diagonal, gates)
            beside = F.pad(memory, (0, 0, above, below))[:, :, 1:]
            hidden, memory = cell(gated, beside)  # (directions, N, diagonal, hidden)
            outputs.append(hidden)
        both = torch.cat(outputs, 2).index_select(2, self._back)  # (directions, N, positions, hidden)
        both = both.reshape(2, count, height, width, self.hidden)  # (directions, N, height, width, hidden)
        return both[0] + F.pad(both[1].flip(2), (0, 0, 0, 0, 1, 0))[:, :-1]

    def start(self, like: Tensor, count: int) -> list[Tensor]:
        """See `Recurrence.start`.

        From the left: the hidden units of this row up to this pixel and of the row above after it, and the memory to the
        left. From the right: the hidden units of the row above, and the inputs of this row.
        """
        width, hidden = self.grid[1], self.hidden
        sizes = [(width, hidden), (hidden,), (width, hidden), (width, self.features)]
        return [like.new_zeros(count, *size) for size in sizes]

    def pixel(self, x: Tensor, column: int, state: list[Tensor]) -> Tensor:
        """See `Recurrence.pixel`."""
        hidden, memory, from_right, inputs = state
        inputs[:, column] = x
        gates = F.linear(x, self.read.weight[: 4 * self.hidden], self.read.bias[: 4 * self.hidden])
        beside = hidden[:, column - 1] if column else torch.zeros_like(memory)
        near = torch.cat([hidden[:, column], beside], -1)  # (N, 2 * hidden)
        hidden[:, column], state[1] = cell(torch.addmm(gates, near, self.near[0]), memory)
        return hidden[:, column] + from_right[:, column]

    def next_row(self, state: list[Tensor]) -> None:
        """See `Recurrence.next_row`: runs the direction from the right over the complete row."""
        _, memory, from_right, inputs = state
        gates = F.linear(inputs, self.read.weight[4 * self.hidden :], self.read.bias[4 * self.hidden :])
        beside = remembered = torch.zeros_like(memory)
        for column in reversed(range(self.grid[1])):
            near = torch.cat([from_right[:, column], beside], -1)  # (N, 2 * hidden)
            beside, remembered = cell(torch.addmm(gates[:, column], near, self.near[1]), remembered)
            from_right[:, column] = beside
        state[1] = torch.zeros_like(memory)
