"""The row LSTM: a recurrence from row to row, all pixels of a row at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyrogen.errors import ConfigurationError

from ..sizes import positive_size
from .recurrence import Recurrence, cell

__all__ = ["RowLSTM"]

# Named axes: see `pyrogen.nets.causal.recurrence`.


class RowLSTM(Recurrence):
    r"""A cell at each pixel whose memory comes from the pixel above, and which sees hidden units around that one.

    With :math:`A` a kernel over the row above and :math:`B` one over the row's own pixels up to this one,

    .. math::
        (h_{ij}, c_{ij}) = \operatorname{cell}\big((A * h_{i-1})_j + (B * x_i)_j,\; c_{i-1,j}\big).

    One layer sees a triangle above each pixel: a wedge of the rows above, on either side, is out of its sight.

    Reference:
        van den Oord, Kalchbrenner, Kavukcuoglu (2016), *Pixel Recurrent Neural Networks*,
        https://arxiv.org/abs/1601.06759.

    Args:
        grid: (height, width).
        features: numbers read at a pixel.
        hidden: numbers given for a pixel.
        kernel: width of both kernels, odd.

    Raises:
        ConfigurationError: the kernel is even, or no positive integer.

    Example:
        >>> RowLSTM((5, 4), features=3, hidden=2)(torch.zeros(7, 5, 4, 3)).shape
        torch.Size([7, 5, 4, 2])
    """

    def __init__(self, grid: tuple[int, int], features: int, hidden: int, kernel: int = 3) -> None:
        super().__init__(grid, features, hidden)
        if positive_size("kernel", kernel) % 2 == 0:
            raise ConfigurationError(f"kernel must be odd, not {kernel}, for a pixel to have as many on either side")
        self.side = kernel // 2
        self.read = nn.Linear((self.side + 1) * features, 4 * hidden)
        self.carry = nn.Linear(kernel * hidden, 4 * hidden, bias=False)
        with torch.no_grad():
            self.read.bias[hidden : 2 * hidden] = 1.0  # remember, at first

    def forward(self, x: Tensor) -> Tensor:
        """See `Recurrence.forward`."""
        width = self.grid[1]
        padded = F.pad(x, (0, 0, self.side, 0))  # (N, height, side + width, features)
        windows = torch.cat([padded[:, :, k : k + width] for k in range(self.side + 1)], -1)
        gates = self.read(windows)  # (N, height, width, gates)
        hidden = memory = x.new_zeros(len(x), width, self.hidden)
        rows = []
        for row in gates.unbind(1):
            hidden, memory = cell(row + self._carried(hidden), memory)  # (N, width, hidden)
            rows.append(hidden)
        return torch.stack(rows, 1)

    def start(self, like: Tensor, count: int) -> list[Tensor]:
        """See `Recurrence.start`: what the row above gives, memories and hidden units of a row, and what was read of it."""
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
        """What a row's hidden units, (N, width, hidden), give to the row below, (N, width, gates)."""
        width = hidden.shape[1]
        padded = F.pad(hidden, (0, 0, self.side, self.side))
        around = torch.cat([padded[:, k : k + width] for k in range(2 * self.side + 1)], -1)
        result: Tensor = self.carry(around)
        return result
