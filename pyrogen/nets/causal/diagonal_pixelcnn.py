"""A masked convolutional network that is sampled a whole diagonal at a time.

Named axes: ``features`` channels between the layers, ``taps`` the unmasked elements of a kernel, ``group`` the pixels of a
diagonal, ``padded`` the pixels of a zero-padded image, flattened; see also `pyrogen.nets.causal.network`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..sizes import odd_size, positive_size
from .custom_order import CustomOrderNetwork
from .network import State
from .orders import Order

__all__ = ["DiagonalConvolution", "DiagonalPixelCNN"]


class DiagonalConvolution(nn.Module):
    """A convolution that sees the pixels of earlier diagonals.

    A tap some rows below and some columns right is unmasked if ``columns + slope * rows`` is negative, or zero if `own`.

    Args:
        inputs, outputs: channels in and out.
        kernel: side of the kernel, odd.
        slope: by how many columns a row lags behind the row above it.
        own: whether the pixel itself and those on its diagonal are seen.
    """

    mask: Tensor
    taps: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int, slope: int, own: bool) -> None:
        super().__init__()
        self.side = kernel // 2
        offsets = torch.arange(-self.side, self.side + 1)
        diagonal = offsets + slope * offsets[:, None]  # (rows, columns), 0 on the pixel's own diagonal
        seen = diagonal <= 0 if own else diagonal < 0
        self.register_buffer("mask", seen.to(torch.get_default_dtype()))
        self.register_buffer("taps", seen.flatten().nonzero().squeeze(1), persistent=False)  # (taps,)
        convolution = nn.Conv2d(inputs, outputs, kernel)
        self.weight, self.bias = convolution.weight, cast(nn.Parameter, convolution.bias)

    def forward(self, x: Tensor) -> Tensor:
        """All pixels in parallel, (N, inputs, height, width) to (N, outputs, height, width)."""
        return F.conv2d(x, self.weight * self.mask, self.bias, padding=self.side)

    def at(self, padded: Tensor, pixels: Tensor, width: int) -> Tensor:
        """Some pixels alone, (outputs, group, N).

        Args:
            padded: images with a border of zeros as wide as the kernel reaches, flattened, (inputs, padded, N).
            pixels: which ones, numbered in raster order of the image without padding, (group,).
            width: of the image without padding.
        """
        side, wide = 2 * self.side + 1, width + 2 * self.side
        corner = pixels // width * wide + pixels % width  # (group,) the upper left corner of each pixel's window
        tap = self.taps // side * wide + self.taps % side  # (taps,) counted from the corner
        index = (tap[:, None] + corner).flatten()  # (taps * group,)
        seen = padded.index_select(1, index).reshape(len(padded) * len(tap), -1)  # (inputs * taps, group * N)
        weight = self.weight.flatten(2).index_select(2, self.taps).flatten(1)  # (outputs, inputs * taps)
        return torch.addmm(self.bias[:, None], weight, seen).reshape(len(weight), len(pixels), -1)  # (outputs, group, N)


class DiagonalPixelCNN(CustomOrderNetwork):
    r"""Gated masked convolutions, sampled in W + slope (H - 1) steps rather than H W.

    All pixels of a diagonal, on which ``column + slope * row`` is the same, are sampled in parallel, given all earlier
    diagonals. With kernels of side k and a slope of at least (k + 1) / 2 the masks are those of a plain PixelCNN in raster
    order, blind spot and all, which can so be sampled faster at no loss.

    Reference:
        van den Oord, Kalchbrenner, Kavukcuoglu (2016), *Pixel Recurrent Neural Networks*,
        https://arxiv.org/abs/1601.06759, for the masked convolutions.

    Args:
        grid, inputs, outputs, context, context_map: see `CausalNetwork`; the grid is (height, width).
        slope: by how many columns a row lags behind the row above it.
        features, layers: channels of the hidden layers, and number of gated residual layers after the first convolution.
        kernel, first: side of the kernels, odd, and of the first layer's kernel, odd and at least 3.

    Example:
        >>> net = DiagonalPixelCNN((8, 8), slope=2, features=4, layers=2)
        >>> net(torch.zeros(3, 1, 8, 8)).shape, len(net.groups)
        (torch.Size([3, 1, 8, 8]), 22)
    """

    def __init__(
        self,
        grid: Sequence[int],
        inputs: int = 1,
        outputs: int = 1,
        slope: int = 1,
        features: int = 32,
        layers: int = 4,
        kernel: int = 3,
        first: int = 7,
        context: int = 0,
        context_map: bool = False,
    ) -> None:
        super().__init__(grid, inputs, outputs, context, context_map, dimensions=(2,))
        kernel, first = odd_size("kernel", kernel), odd_size("first", first, least=3)
        self.set_order(Order.diagonal(self.grid, slope))
        features = positive_size("features", features)
        self.first = DiagonalConvolution(self.inputs, features, first, slope, own=False)
        count = positive_size("layers", layers)
        self.layers = nn.ModuleList(DiagonalConvolution(features, 2 * features, kernel, slope, True) for _ in range(count))
        self.mix = nn.ModuleList(nn.Conv1d(features, features, 1) for _ in range(count))
        self.head = nn.Sequential(nn.ReLU(), nn.Conv1d(features, features, 1), nn.ReLU(), nn.Conv1d(features, outputs, 1))
        self.from_context = nn.Conv1d(context, features, 1, bias=False) if context else None

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """See `CausalNetwork.forward`."""
        seen: Tensor = self.first(x)
        offset = self._offset(context)
        features = seen.flatten(2) if offset is None else seen.flatten(2) + offset  # (N, features, positions)
        for layer, mix in zip(self.layers, self.mix, strict=True):
            gated = F.glu(layer(features.unflatten(2, self.grid)).flatten(2), 1)  # type: ignore[no-untyped-call]
            features = features + mix(gated)
        return self.head(features).unflatten(2, self.grid)  # type: ignore[no-any-return]  # (N, outputs, height, width)

    def start(self, count: int, context: Tensor | None = None) -> State:
        """See `CausalNetwork.start`; the cache holds the padded input of each layer, (features, padded, N)."""
        (height, width), like = self.grid, self.example
        layers = [(self.inputs, self.first.side)] + [(mix.in_channels, layer.side) for layer, mix in self._pairs()]
        # Data come last, so that the pixels of a group and the data are the columns of one matrix product.
        maps = [like.new_zeros(n, (height + 2 * side) * (width + 2 * side), count) for n, side in layers]
        groups = [torch.tensor(group, device=like.device) for group in self.groups]
        offset = self._offset(context)
        if offset is not None:
            offset = offset.expand(count, -1, height * width).permute(1, 2, 0)  # (features, positions, N)
        return maps, groups, offset

    def step(self, index: int, previous: Tensor | None, state: State) -> tuple[Tensor, State]:
        """See `CausalNetwork.step`."""
        (maps, groups, offset), width, pixels = state, self.grid[1], state[1][index]
        if previous is not None:
            values = previous.permute(1, 2, 0)  # (inputs, group, N)
            _write(maps[0], values, groups[index - 1], self.first.side, width)
        features = self.first.at(maps[0], pixels, width)  # (features, group, N)
        if offset is not None:
            features = features + offset.index_select(1, pixels)
        for number, (layer, mix) in enumerate(self._pairs(), 1):
            _write(maps[number], features, pixels, layer.side, width)
            gated = F.glu(layer.at(maps[number], pixels, width), 0)
            features = features + mix(gated.flatten(1)).reshape(features.shape)  # (features, group, N)
        parameters = self.head(features.flatten(1))  # (outputs, group * N)
        return parameters.reshape(self.outputs, len(pixels), -1).permute(2, 0, 1), state  # (N, outputs, group)

    def _pairs(self) -> list[tuple[DiagonalConvolution, nn.Conv1d]]:
        return list(zip(self.layers, self.mix, strict=True))  # type: ignore[arg-type]

    def _offset(self, context: Tensor | None) -> Tensor | None:
        """The context projected to the features, (N, features, positions or 1)."""
        if self.from_context is None or context is None:
            return None
        return self.from_context(context.flatten(2) if context.dim() == 4 else context[..., None])  # type: ignore[no-any-return]


def _write(padded: Tensor, values: Tensor, pixels: Tensor, side: int, width: int) -> None:
    """Write values (features, group, N) to some pixels of flattened padded images, in place."""
    wide = width + 2 * side
    padded.index_copy_(1, (pixels // width + side) * wide + pixels % width + side, values)
