"""The plain PixelCNN: one stack of masked convolutions, with its blind spot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..sizes import positive_size
from .network import CausalNetwork, State
from .pixelcnn import image_grid, odd_size
from .streaming import laid_out, pointwise

__all__ = ["MaskedPixelCNN"]


class MaskedPixelCNN(CausalNetwork):
    r"""Residual blocks of convolutions whose kernels see only the rows above and the left of their own row.

    With D and U pointwise, M masked and :math:`\rho` the rectifier, each block computes

    .. math::
        h' = h + U\, \rho\big(M * \rho(D\, \rho(h))\big).

    However many blocks there are, a pixel never sees a wedge above to its right: with kernels of side 3, pixel (i, j) sees
    (i - r, j + c) only for c <= r and the first layer's reach. `GatedPixelCNN` has no such blind spot; this one is here to
    compare with.

    Reference:
        van den Oord, Kalchbrenner, Kavukcuoglu (2016), *Pixel Recurrent Neural Networks*,
        https://arxiv.org/abs/1601.06759, section 3.4.

    Args:
        grid: (height, width) of the image.
        inputs: channels of an encoded pixel.
        outputs: parameters of a pixel.
        features: channels between the blocks; inside a block there are half as many.
        blocks: number of residual blocks.
        kernel: side of the kernels, odd and at least 3.
        first: side of the first layer's kernel, odd and at least 3.
        context: features of the context, 0 for none.
        context_map: whether the context is a map of features, (context, height, width), in place of a vector.

    Raises:
        ConfigurationError: a size cannot be used.

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
        super().__init__()
        self.grid = image_grid(grid)
        self.inputs, self.outputs = positive_size("inputs", inputs), positive_size("outputs", outputs)
        features, count = positive_size("features", features), positive_size("blocks", blocks)
        inside, side = max(1, features // 2), odd_size("kernel", kernel, least=3)
        self.masked = nn.ModuleList([MaskedConvolution(inputs, features, odd_size("first", first, least=3), own=False)])
        self.masked.extend([MaskedConvolution(inside, inside, side, own=True) for _ in range(count)])
        self.down = nn.ModuleList([laid_out(nn.Conv2d(features, inside, 1)) for _ in range(count)])
        self.up = nn.ModuleList([laid_out(nn.Conv2d(inside, features, 1)) for _ in range(count)])
        self.head = nn.ModuleList([nn.Conv2d(features, features, 1), nn.Conv2d(features, outputs, 1)])
        self.project = nn.Conv2d(context, features, 1, bias=False) if context else None
        if context:
            self.context_shape = (positive_size("context", context), *(self.grid if context_map else ()))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """See `CausalNetwork.forward`."""
        convolutions = self.convolutions

        def convolve(number: int, features: Tensor | None) -> Tensor:
            return convolutions[number](x if features is None else features)  # type: ignore[no-any-return]

        return self._run(convolve, self._projected(context))

    def start(self, count: int, context: Tensor | None = None) -> State:
        """See `CausalNetwork.start`; the state holds each convolution's inputs in the rows that are still seen."""
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

        def convolve(number: int, features: Tensor | None) -> Tensor:
            layer, window = convolutions[number], state["windows"][number]
            if features is not None:
                layer.write(window, column, features)
            return torch.addmm(
                state["above"][number][:, :, 0, column], layer.left(window, column), state["matrices"][number]
            )

        return self._run(convolve, context)[..., None], state

    @property
    def convolutions(self) -> list[MaskedConvolution]:
        """The masked convolutions, from the image up."""
        return cast("list[MaskedConvolution]", list(self.masked))

    def _run(self, convolve: Callable[[int, Tensor | None], Tensor], context: Tensor | None) -> Tensor:
        """The network, of images or of pixels.

        Args:
            convolve: applies the convolution of a number to features, the first one to the image.
            context: projected to the features, or ``None``.
        """
        features = convolve(0, None)
        if context is not None:
            features = features + context
        for number, (down, up) in enumerate(zip(self.down, self.up, strict=True), 1):
            inside = F.relu(pointwise(F.relu(features), cast("nn.Conv2d", down)))
            features = features + pointwise(F.relu(convolve(number, inside)), cast("nn.Conv2d", up))
        for layer in self.head:
            features = pointwise(F.relu(features), cast("nn.Conv2d", layer))
        return features

    def _projected(self, context: Tensor | None) -> Tensor | None:
        """The context's part of the features, as a map: of one pixel for a vector."""
        if self.project is None or context is None:
            return None
        return cast("Tensor", self.project(context[:, :, None, None] if context.dim() == 2 else context))


class MaskedConvolution(nn.Module):
    """A convolution whose kernel sees the rows above and, in its own row, what is left of it.

    Args:
        inputs: channels read.
        outputs: channels given.
        side: side of the kernel, odd.
        own: whether it sees its own pixel.
    """

    mask: Tensor

    def __init__(self, inputs: int, outputs: int, side: int, own: bool) -> None:
        super().__init__()
        convolution = laid_out(nn.Conv2d(inputs, outputs, side))
        self.weight, self.bias = convolution.weight, convolution.bias
        self.reach, self.taps = side // 2, side // 2 + int(own)
        mask = torch.ones(side, side)
        mask[self.reach, self.taps :] = 0
        mask[self.reach + 1 :] = 0
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, inputs, height, width) to (N, outputs, height, width)."""
        return F.conv2d(x, self.weight * self.mask, self.bias, padding=self.reach)

    def start(self, count: int, width: int) -> Tensor:
        """An empty window of a row and the rows above it that are seen, (N, inputs, reach + 1, width + 2 reach)."""
        return self.weight.new_zeros(count, self.weight.shape[1], self.reach + 1, width + 2 * self.reach)

    def write(self, window: Tensor, column: int, features: Tensor) -> None:
        """Enter what was computed for a pixel of the window's last row, (N, inputs)."""
        window[:, :, -1, column + self.reach] = features

    def above(self, window: Tensor) -> Tensor:
        """The part of the result that comes from the rows above, (N, outputs, 1, width)."""
        return F.conv2d(window[:, :, :-1], self.weight[:, :, : self.reach], self.bias)

    def left(self, window: Tensor, column: int) -> Tensor:
        """What is seen of the pixel's own row, (N, inputs * taps)."""
        return window[:, :, -1, column : column + self.taps].flatten(1)

    def matrix(self) -> Tensor:
        """The part of the kernel for `left`, (inputs * taps, outputs)."""
        return self.weight[:, :, self.reach, : self.taps].flatten(1).T.contiguous()
