"""PixelRNN: recurrent layers over the pixels of an image, with long short-term memories.

Named axes: ``features`` are the channels between the layers; see also `pyrogen.nets.causal.recurrence`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyrogen.errors import ConfigurationError

from ..sizes import dropout_probability, odd_size, positive_size
from .network import CausalNetwork, State
from .recurrence import DiagonalLSTM, Recurrence, RowLSTM

__all__ = ["PixelRNN"]


class PixelRNN(CausalNetwork):
    r"""A causal convolution, residual recurrent layers, and a perceptron for each pixel.

    The convolution is masked at the pixel itself, to the right and below, so that the recurrent layers need no mask.

    Reference:
        van den Oord, Kalchbrenner, Kavukcuoglu (2016), *Pixel Recurrent Neural Networks*, https://arxiv.org/abs/1601.06759.

    Args:
        grid, inputs, outputs, context, context_map: see `CausalNetwork`; the grid is (height, width).
        recurrence: "diagonal" for `DiagonalLSTM`, which has no blind spot; "row" for `RowLSTM`, which is faster in
            training and has a triangular receptive field.
        hidden, layers: units of a recurrent layer at a pixel, in each direction, and number of recurrent layers.
        features: channels between the layers; twice `hidden` if left out.
        first: side of the convolution's kernel, odd, at least 3.
        head: units of the perceptron's hidden layer; as `features` if left out.
        dropout: probability of dropout on the residual branch of a layer, in training.

    Raises:
        ConfigurationError: a size cannot be used, or no recurrence has that name.

    Example:
        >>> net = PixelRNN((8, 8), recurrence="row", hidden=4, layers=2)
        >>> net(torch.zeros(3, 1, 8, 8)).shape
        torch.Size([3, 1, 8, 8])
    """

    steps_differ: ClassVar[bool] = True
    mask: Tensor

    def __init__(
        self,
        grid: Sequence[int],
        inputs: int = 1,
        outputs: int = 1,
        recurrence: Literal["diagonal", "row"] = "diagonal",
        hidden: int = 16,
        layers: int = 3,
        features: int | None = None,
        first: int = 7,
        head: int | None = None,
        context: int = 0,
        context_map: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(grid, inputs, outputs, context, context_map, dimensions=(2,))
        if recurrence not in _RECURRENCES:
            raise ConfigurationError(f"no recurrence '{recurrence}': choose one of {', '.join(_RECURRENCES)}")
        first, hidden = odd_size("first", first, least=3), positive_size("hidden", hidden)
        width = 2 * hidden if features is None else positive_size("features", features)
        self.side = first // 2
        self.first = nn.Conv2d(self.inputs, width, (self.side + 1, first))
        mask = torch.ones(self.side + 1, first)
        mask[-1, self.side :] = 0  # the pixel itself and those to its right
        self.register_buffer("mask", mask)
        kind = _RECURRENCES[recurrence]
        self.extra = kind.extra_columns
        inner = (self.grid[0], self.grid[1] + self.extra)
        stack = (kind(inner, width, hidden) for _ in range(positive_size("layers", layers)))
        self.layers: Sequence[Recurrence] = nn.ModuleList(stack)  # type: ignore[assignment]
        self.widen = nn.ModuleList(nn.Linear(hidden, width) for _ in self.layers)
        self.dropout = nn.Dropout(dropout_probability(dropout))
        middle = width if head is None else positive_size("head", head)
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(width, middle), nn.ReLU(), nn.Linear(middle, self.outputs))
        self.from_context = nn.Linear(context, width, bias=False) if context else None

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """See `CausalNetwork.forward`."""
        window = F.pad(x, (self.side, self.side + self.extra, self.side, 0))
        features = self._convolve(window).permute(0, 2, 3, 1)  # (N, height, width + extra, features)
        offset = self._offset(context)
        if offset is not None:
            features = features + offset
        for layer, widen in zip(self.layers, self.widen, strict=True):
            features = features + self.dropout(widen(layer(features)))
        outputs: Tensor = self.head(features[:, :, : self.grid[1]])  # (N, height, width, outputs)
        return outputs.permute(0, 3, 1, 2)  # (N, outputs, height, width)

    def start(self, count: int, context: Tensor | None = None) -> State:
        """See `CausalNetwork.start`; the state is the padded image, the states of the layers, and the projected context."""
        height, width = self.grid
        image = self.example.new_zeros(count, self.inputs, height + self.side, width + 2 * self.side + self.extra)
        offset = self._offset(context)
        if offset is not None:
            offset = offset.expand(count, height, width + self.extra, -1)
        return image, [layer.start(image, count) for layer in self.layers], offset

    def step(self, index: int, previous: Tensor | None, state: State) -> tuple[Tensor, State]:
        """See `CausalNetwork.step`."""
        image, states, _ = state
        side, width, (row, column) = self.side, self.grid[1], divmod(index, self.grid[1])
        if previous is not None:
            above, before = divmod(index - 1, width)
            image[:, :, side + above, side + before] = previous[..., 0]
        if column == 0 and row > 0:
            for extra in range(self.extra):
                self._pixel(row - 1, width + extra, state)
            for layer, known in zip(self.layers, states, strict=True):
                layer.next_row(known)
        return self.head(self._pixel(row, column, state)).unsqueeze(-1), state  # (N, outputs, 1)

    def _pixel(self, row: int, column: int, state: State) -> Tensor:
        """The features of a pixel after all layers, (N, features)."""
        image, states, offset = state
        window = image[:, :, row : row + self.side + 1, column : column + 2 * self.side + 1]
        features = self._convolve(window).flatten(1)  # (N, features)
        if offset is not None:
            features = features + offset[:, row, column]
        for layer, widen, known in zip(self.layers, self.widen, states, strict=True):
            features = features + self.dropout(widen(layer.pixel(features, column, known)))
        return features

    def _convolve(self, window: Tensor) -> Tensor:
        """The masked convolution of a padded window, (N, features, height, width)."""
        weight = self.first.weight * self.mask
        if window.shape[2:] == weight.shape[2:]:
            return F.linear(window.flatten(1), weight.flatten(1), self.first.bias)[:, :, None, None]  # (N, features, 1, 1)
        return F.conv2d(window, weight, self.first.bias)

    def _offset(self, context: Tensor | None) -> Tensor | None:
        """The context projected to the features, (N, height or 1, width + extra or 1, features)."""
        if self.from_context is None or context is None:
            return None
        if context.dim() == 2:
            return self.from_context(context)[:, None, None]  # type: ignore[no-any-return]
        return self.from_context(F.pad(context, (0, self.extra)).permute(0, 2, 3, 1))  # type: ignore[no-any-return]


_RECURRENCES: dict[str, type[Recurrence]] = {"diagonal": DiagonalLSTM, "row": RowLSTM}
