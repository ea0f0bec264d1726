"""The contract of the recurrent layers of PixelRNN, and their long short-term memory cell.

Named axes: ``N`` data, ``features`` channels in, ``hidden`` channels out, ``gates`` four times as many. Feature maps are
(N, height, width, features), so that a linear layer is the same for a map and for one pixel.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

__all__ = ["Recurrence", "cell"]


class Recurrence(nn.Module, ABC):
    """A recurrent layer, whose output at a pixel depends on its input at that pixel and at earlier ones.

    To write one, define the four functions below from the same products and the same `cell`.

    Attributes:
        beyond: columns that the layer needs beyond the right border. The input at a pixel comes from a masked convolution,
            which does not see the pixel itself: the last pixel of a row is seen by the column beyond it.

    Args:
        grid: (height, width), the columns beyond included.
        features: channels in.
        hidden: channels out.
    """

    beyond: ClassVar[int] = 0

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

    Reference:
        Hochreiter, Schmidhuber (1997), *Long Short-Term Memory*, https://doi.org/10.1162/neco.1997.9.8.1735; with the
        forget gate of Gers, Schmidhuber, Cummins (2000), https://doi.org/10.1162/089976600300015015.

    Args:
        gates: i, f, o and g one after the other, shape (..., 4 * hidden).
        memory: c, shape (..., hidden).

    Returns:
        h and the new c.
    """
    hidden = memory.shape[-1]
    opening = gates[..., : 3 * hidden].sigmoid()
    write, keep, show = opening.split(hidden, -1)  # type: ignore[no-untyped-call]
    memory = keep * memory + write * gates[..., 3 * hidden :].tanh()
    return show * memory.tanh(), memory
