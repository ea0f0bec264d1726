"""The row LSTM: a recurrence from row to row, in parallel over a row."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..sizes import odd_size
from .recurrence import Recurrence, cell

__all__ = ["RowLSTM"]

# Named axes: see `pyrogen.nets.causal.recurrence`.


class RowLSTM(Recurrence):
    r"""A cell at each pixel, with the memory of the pixel above, fed by the hidden units around that one.

    With :math:`A` a kernel over the row above and :math:`B` a causal one over the row itself,

    .. math::
        (h_{ij}, c_{ij}) = \operatorname{cell}\big((A * h_{i-1})_j + (B * x_i)_j,\; c_{i-1,j}\big).

    The receptive field of one layer is a triangle above the pixel, with a blind wedge on either side.

    Reference:
        van den Oord, Kalchbrenner, Kavukcuoglu (2016), *Pixel Recurrent Neural Networks*,
        https://arxiv.org/abs/1601.06759.

    Args:
        grid: (height, width).
        features: channels in.
        hidden: channels out.
        kernel: width of both kernels, odd.

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
            self.read.bias[hidden : 2 * hidden] = 1.0  # remember, at first

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
        """See `Recurrence.start`: gates from the row above; memories, hidden units and inputs of the row."""
        width = self.grid[1]
        sizes = [(width, 4 * self.hidden), (width, self.hidden), (width, self.hidden), (self.side + width, self.features)]
        return [like.new_zeros(count, *size) for size in sizes]

    def pixel(self, x: Tensor, column: int, state: list[Tensor]) -> Tensor:
        """See `Recurrence.pixel`."""
        carried, memory, hidden, read = state
        read[:, self.side + column] = x
        window = read[:, column : column + self.side + 1].flatten(1)  # (N, taps * features)
        gates = self.read(window) + carried[:, column]
        hidden[:, column], memory[:, column] = cell(gates, memory[:, column])
        return hidden[:, column]

    def next_row(self, state: list[Tensor]) -> None:
        """See `Recurrence.next_row`."""
        state[0] = self._carried(state[2])

    def _carried(self, hidden: Tensor) -> Tensor:
        """The hidden units of a row, (N, width, hidden), to the gates of the row below, (N, width, gates)."""
        width = hidden.shape[1]
        padded = F.pad(hidden, (0, 0, self.side, self.side))
        around = torch.cat([padded[:, k : k + width] for k in range(2 * self.side + 1)], -1)  # (N, width, kernel * hidden)
        result: Tensor = self.carry(around)
        return result
