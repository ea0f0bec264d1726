"""A convolutional network that is drawn a whole diagonal at a time.

Named axes: ``N`` data, ``features`` numbers at a pixel between the layers, ``taps`` the places of a kernel that its mask
lets through, ``group`` the pixels of a diagonal, ``padded`` the pixels of an image with a border of zeros, flattened; see
also `pyrogen.nets.causal.network`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyrogen.errors import ConfigurationError

from ..sizes import positive_size, positive_sizes
from .network import CausalNetwork, Frontier, State
from .ordered import refuse_other_groups
from .orders import Order

__all__ = ["WaveConvolution", "WavefrontCNN"]


class WaveConvolution(nn.Module):
    """A convolution that sees the pixels which a slanted wavefront has passed.

    A place of the kernel, so many rows down and columns to the right, is seen if ``columns + slope * rows`` is negative,
    or zero too if the pixel's own wavefront is seen.

    Args:
        inputs: channels read.
        outputs: channels given.
        kernel: side of the kernel, odd.
        slope: by how many columns the wavefront lags behind in each row.
        own: whether the pixel itself and those on its wavefront are seen.
    """

    mask: Tensor
    taps: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int, slope: int, own: bool) -> None:
        super().__init__()
        self.side = kernel // 2
        places = torch.arange(-self.side, self.side + 1)
        passed = places + slope * places[:, None]  # (rows, columns)
        seen = passed <= 0 if own else passed < 0
        self.register_buffer("mask", seen.to(torch.get_default_dtype()))
        self.register_buffer("taps", seen.flatten().nonzero().squeeze(1), persistent=False)  # (taps,)
        convolution = nn.Conv2d(inputs, outputs, kernel)
        self.weight, self.bias = convolution.weight, cast(nn.Parameter, convolution.bias)

    def forward(self, x: Tensor) -> Tensor:
        """All pixels at once, (N, inputs, height, width) to (N, outputs, height, width)."""
        return F.conv2d(x, self.weight * self.mask, self.bias, padding=self.side)

    def at(self, padded: Tensor, pixels: Tensor, width: int) -> Tensor:
        """Some pixels alone.

        Args:
            padded: images with a border of zeros as wide as the kernel reaches, flattened, (inputs, padded, N).
            pixels: which ones, as numbers of the image without its border, (group,).
            width: of the image without its border.

        Returns:
            shape (outputs, group, N).
        """
        side, wide = 2 * self.side + 1, width + 2 * self.side
        corner = pixels // width * wide + pixels % width  # the upper left corner of each pixel's window
        tap = self.taps // side * wide + self.taps % side  # how far each tap is from the corner
        places = (tap[:, None] + corner).flatten()  # (taps * group,)
        seen = padded.index_select(1, places).reshape(len(padded) * len(tap), -1)  # (inputs * taps, group * N)
        weight = self.weight.flatten(2).index_select(2, self.taps).flatten(1)  # (outputs, inputs * taps)
        return torch.addmm(self.bias[:, None], weight, seen).reshape(len(weight), len(pixels), -1)


class WavefrontCNN(CausalNetwork):
    r"""Gated masked convolutions, drawn in W + slope (H - 1) steps in place of H W.

    All pixels of a wavefront, on which ``column + slope * row`` is the same, are drawn at once, given all pixels that the
    wavefront has passed. With slope 1 these are the diagonals, and what is lost is that neighbours on a diagonal are
    independent given the past. Kernels of side k whose slope is at least (k + 1) / 2 have the masks of a plain PixelCNN in
    raster order, blind spot and all: that one can be drawn by wavefronts and loses nothing.

    Reference:
        van den Oord, Kalchbrenner, Kavukcuoglu (2016), *Pixel Recurrent Neural Networks*,
        https://arxiv.org/abs/1601.06759, for the masked convolutions.

    Args:
        grid: (height, width) of the image.
        inputs: channels of an encoded pixel.
        outputs: parameters of a pixel; all channels of a pixel share what it sees.
        slope: by how many columns the wavefront lags behind in each row.
        features: channels of the hidden layers.
        layers: number of gated residual layers after the first convolution.
        kernel: side of the kernels, odd.
        first: side of the first layer's kernel, odd, at least 3.
        context: features of the context, 0 for none.
        context_map: whether the context is a map of features, (context, height, width), in place of a vector.

    Raises:
        ConfigurationError: a size cannot be used.

    Example:
        >>> net = WavefrontCNN((8, 8), slope=2, features=4, layers=2)
        >>> net(torch.zeros(3, 1, 8, 8)).shape, len(net.frontiers)
        (torch.Size([3, 1, 8, 8]), 22)
    """

    ranks: Tensor

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
        super().__init__()
        self.grid = positive_sizes("grid", grid)
        if len(self.grid) != 2:
            raise ConfigurationError(f"a WavefrontCNN needs the grid (height, width) of an image, not {self.grid}")
        self.inputs, self.outputs = positive_size("inputs", inputs), positive_size("outputs", outputs)
        for name, side in (("kernel", kernel), ("first", first)):
            if positive_size(name, side) % 2 == 0 or (name == "first" and side == 1):
                raise ConfigurationError(f"{name} must be odd{' and at least 3' * (name == 'first')}, not {side}")
        order = Order.diagonal(self.grid, slope)
        self.register_buffer("ranks", order.ranks)
        self._frontiers = order.frontiers
        features = positive_size("features", features)
        self.first = WaveConvolution(self.inputs, features, first, slope, own=False)
        count = positive_size("layers", layers)
        self.layers = nn.ModuleList(WaveConvolution(features, 2 * features, kernel, slope, own=True) for _ in range(count))
        self.mix = nn.ModuleList(nn.Conv1d(features, features, 1) for _ in range(count))
        self.head = nn.Sequential(nn.ReLU(), nn.Conv1d(features, features, 1), nn.ReLU(), nn.Conv1d(features, outputs, 1))
        self.from_context = nn.Conv1d(positive_size("context", context), features, 1, bias=False) if context else None
        if context:
            self.context_shape = (context, *self.grid) if context_map else (context,)

    @property
    def frontiers(self) -> tuple[Frontier, ...]:
        """See `CausalNetwork.frontiers`."""
        return self._frontiers

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """See `CausalNetwork.forward`."""
        seen: Tensor = self.first(x)
        offset = self._offset(context)
        features = seen.flatten(2) if offset is None else seen.flatten(2) + offset  # (N, features, positions)
        for layer, mix in zip(self.layers, self.mix, strict=True):
            opened = F.glu(layer(features.unflatten(2, self.grid)).flatten(2), 1)  # type: ignore[no-untyped-call]
            features = features + mix(opened)
        return self.head(features).unflatten(2, self.grid)  # type: ignore[no-any-return]  # (N, outputs, height, width)

    def start(self, count: int, context: Tensor | None = None) -> State:
        """See `CausalNetwork.start`; the state: what each layer reads, the pixels of each group, the context's part.

        Data come last, (features, padded, N), so that the pixels of a group and the data are the columns of one product.
        """
        (height, width), like = self.grid, self.example
        layers = [(self.inputs, self.first.side)] + [(mix.in_channels, layer.side) for layer, mix in self._pairs()]
        maps = [like.new_zeros(n, (height + 2 * side) * (width + 2 * side), count) for n, side in layers]
        groups = [torch.tensor(group, device=like.device) for group in self.frontiers]
        offset = self._offset(context)
        if offset is not None:
            offset = offset.expand(count, -1, height * width).permute(1, 2, 0)  # (features, positions, N)
        return maps, groups, offset

    def step(self, index: int, previous: Tensor | None, state: State) -> tuple[Tensor, State]:
        """See `CausalNetwork.step`."""
        (maps, groups, offset), width, pixels = state, self.grid[1], state[1][index]
        if previous is not None:
            _write(maps[0], previous.permute(1, 2, 0), groups[index - 1], self.first.side, width)
        features = self.first.at(maps[0], pixels, width)  # (features, group, N)
        if offset is not None:
            features = features + offset.index_select(1, pixels)
        for number, (layer, mix) in enumerate(self._pairs(), 1):
            _write(maps[number], features, pixels, layer.side, width)
            opened = F.glu(layer.at(maps[number], pixels, width), 0)
            features = features + mix(opened.flatten(1)).reshape(features.shape)
        given = self.head(features.flatten(1))  # (outputs, group * N)
        return given.reshape(self.outputs, len(pixels), -1).permute(2, 0, 1), state

    def compiled_step(self) -> Callable[[int, Tensor | None, State], tuple[Tensor, State]]:
        """The step as it is: it has another shape at every index, so that there is nothing to compile once for all."""
        return self.step

    def _pairs(self) -> list[tuple[WaveConvolution, nn.Conv1d]]:
        return list(zip(self.layers, self.mix, strict=True))  # type: ignore[arg-type]

    def _offset(self, context: Tensor | None) -> Tensor | None:
        """What the context adds to the features, (N, features, positions or 1)."""
        if self.from_context is None or context is None:
            return None
        return self.from_context(context.flatten(2) if context.dim() == 4 else context[..., None])  # type: ignore[no-any-return]

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        refuse_other_groups(state_dict.get(f"{prefix}ranks"), self.ranks)
        super()._load_from_state_dict(state_dict, prefix, *args)


def _write(padded: Tensor, values: Tensor, pixels: Tensor, side: int, width: int) -> None:
    """Put values (features, group, N) at some pixels of flattened images with a border, in place."""
    wide = width + 2 * side
    padded.index_copy_(1, (pixels // width + side) * wide + pixels % width + side, values)
