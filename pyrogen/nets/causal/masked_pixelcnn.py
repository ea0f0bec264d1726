"""The plain PixelCNN: one stack of masked convolutions, with a blind spot.

Named axes: see `pyrogen.nets.causal.network`; ``features`` are the channels between the blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..sizes import odd_size, positive_size
from .diagonal_pixelcnn import DiagonalConvolution
from .gated_convolution import channels_last, pointwise
from .network import CausalNetwork, State

__all__ = ["MaskedPixelCNN"]


class MaskedPixelCNN(CausalNetwork):
    r"""Residual blocks of masked convolutions, over the rows above and the pixels to the left.

    With D and U pointwise, M masked and :math:`\rho` the rectifier, each block computes

    .. math::
        h' = h + U\, \rho\big(M * \rho(D\, \rho(h))\big).

    A wedge above to the right is not in the receptive field: with kernels of side 3, pixel (i, j) sees (i - r, j + c) only
    for c <= r and the first layer's reach. `GatedPixelCNN` has no such blind spot.

    Reference:
        van den Oord et al. (2016), *Pixel Recurrent Neural Networks*, https://arxiv.org/abs/1601.06759, section 3.4.

    Args:
        grid, inputs, outputs, context, context_map: see `CausalNetwork`; the grid is (height, width).
        features, blocks: channels between the blocks, half as many inside, and number of residual blocks.
        kernel, first: side of the kernels, and of the first layer's kernel, odd and at least 3.

    Example:
        >>> MaskedPixelCNN((28, 28), features=8, blocks=2)(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 1, 28, 28])
    """

    def __init__(
        self,
        grid: Sequence[int],
        inputs: int = 1,
        outputs: int = 1,
        features: int = 64,
        blocks: int = 7,
        kernel: int = 3,
        first: int = 7,
        context: int = 0,
        context_map: bool = False,
    ) -> None:
        super().__init__(grid, inputs, outputs, context, context_map, dimensions=(2,))
        features, count = positive_size("features", features), positive_size("blocks", blocks)
        inside, side = max(1, features // 2), odd_size("kernel", kernel, least=3)
        self.masked = nn.ModuleList([MaskedConvolution(inputs, features, odd_size("first", first, least=3), own=False)])
        self.masked.extend([MaskedConvolution(inside, inside, side, own=True) for _ in range(count)])
        self.down = nn.ModuleList([channels_last(nn.Conv2d(features, inside, 1)) for _ in range(count)])
        self.up = nn.ModuleList([channels_last(nn.Conv2d(inside, features, 1)) for _ in range(count)])
        self.head = nn.ModuleList([nn.Conv2d(features, features, 1), nn.Conv2d(features, outputs, 1)])
        self.project = nn.Conv2d(context, features, 1, bias=False) if context else None

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """See `CausalNetwork.forward`."""
        convolutions = self.convolutions
        return self._run(lambda depth, below: convolutions[depth](x if below is None else below), self._projected(context))

    def start(self, count: int, context: Tensor | None = None) -> State:
        """See `CausalNetwork.start`; the cache holds each convolution's inputs, as many rows as its kernel reaches."""
        return {
            "context": self._projected(context),
            "windows": [layer.start(count, self.grid[1]) for layer in self.convolutions],
            "matrices": [layer.matrix() for layer in self.convolutions],
            "above": [],
        }

    def step(self, index: int, previous: Tensor | None, state: State) -> tuple[Tensor, State]:
        """See `CausalNetwork.step`."""
        width, convolutions = self.grid[1], self.convolutions
        row, column = divmod(index, width)
        if previous is not None:
            convolutions[0].write(state["windows"][0], (index - 1) % width, previous[..., 0])
        if column == 0:
            if row:
                state["windows"] = [torch.cat([window[:, :, 1:], 0 * window[:, :, :1]], 2) for window in state["windows"]]
            state["above"] = [layer.above(window) for layer, window in zip(convolutions, state["windows"], strict=True)]
        context = state["context"]
        if context is not None:
            context = context[:, :, row % context.shape[2], column % context.shape[3]]

        def convolve(depth: int, below: Tensor | None) -> Tensor:
            layer, window = convolutions[depth], state["windows"][depth]
            if below is not None:
                layer.write(window, column, below)
            above = state["above"][depth][:, :, 0, column]  # (N, outputs)
            return torch.addmm(above, layer.left(window, column), state["matrices"][depth])

        return self._run(convolve, context)[..., None], state

    @property
    def convolutions(self) -> list[MaskedConvolution]:
        """The masked convolutions, from the image up."""
        return cast("list[MaskedConvolution]", list(self.masked))

    def _run(self, convolve: Callable[[int, Tensor | None], Tensor], context: Tensor | None) -> Tensor:
        """The network on images or pixels; ``convolve(depth, features)`` is a masked convolution, of the image for None."""
        features = convolve(0, None)
        if context is not None:
            features = features + context
        for depth, (down, up) in enumerate(zip(self.down, self.up, strict=True), 1):
            inside = F.relu(pointwise(F.relu(features), cast("nn.Conv2d", down)))
            features = features + pointwise(F.relu(convolve(depth, inside)), cast("nn.Conv2d", up))
        for layer in self.head:
            features = pointwise(F.relu(features), cast("nn.Conv2d", layer))
        return features

    def _projected(self, context: Tensor | None) -> Tensor | None:
        """The context projected to the features, as a map: of one pixel for a vector."""
        if self.project is None or context is None:
            return None
        return cast("Tensor", self.project(context[:, :, None, None] if context.dim() == 2 else context))


class MaskedConvolution(DiagonalConvolution):
    """A convolution whose kernel, of odd `side`, is masked below its pixel and to the right of it.

    With `own` it sees its own pixel, too: mask B of the paper, mask A without.
    """

    def __init__(self, inputs: int, outputs: int, side: int, own: bool) -> None:
        super().__init__(inputs, outputs, side, slope=side, own=own)
        self.weight.data = self.weight.data.contiguous(memory_format=torch.channels_last)
        self.width = self.side + int(own)

    def start(self, count: int, width: int) -> Tensor:
        """An empty cache of a row and the rows above it in the kernel, (N, inputs, side + 1, width + 2 side)."""
        return self.weight.new_zeros(count, self.weight.shape[1], self.side + 1, width + 2 * self.side)

    def write(self, window: Tensor, column: int, features: Tensor) -> None:
        """Write the features (N, inputs) of a pixel of the cache's last row."""
        window[:, :, -1, column + self.side] = features

    def above(self, window: Tensor) -> Tensor:
        """The convolution over the rows above, (N, outputs, 1, width)."""
        return F.conv2d(window[:, :, :-1], self.weight[:, :, : self.side], self.bias)

    def left(self, window: Tensor, column: int) -> Tensor:
        """The window of the pixel's own row."""
        return window[:, :, -1, column : column + self.width].flatten(1)  # (N, inputs * taps)

    def matrix(self) -> Tensor:
        """The part of the kernel for `left`."""
        return self.weight[:, :, self.side, : self.width].flatten(1).T.contiguous()  # (inputs * taps, outputs)
