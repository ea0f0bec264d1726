"""The gated PixelCNN: a vertical and a horizontal stack of convolutions, together without a blind spot.

The compiled sampler draws a row a call. The pixels of a row are a `scan`: the code of one pixel is compiled once, whatever
the width, and no Python runs between two pixels.

Named axes: see `pyrogen.nets.causal.network`; ``features`` are the channels of the hidden layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyrogen.errors import ConfigurationError

from ..sizes import dropout_probability, odd_size, positive_size, positive_sizes
from .compilation import compiled_once
from .gated_convolution import GateBuffer, GatedLayer, horizontal_stack, pointwise
from .network import CausalNetwork, Emission, SamplerInput, State, keep_known

__all__ = ["GatedPixelCNN"]


class GatedPixelCNN(CausalNetwork):
    r"""Gated convolutions in a vertical stack, for the rows above, and a horizontal stack, for the pixels to the left.

    With :math:`*` a convolution, each layer computes, for the features v of the vertical and h of the horizontal stack,

    .. math::
        a = V * v + C c, \qquad v' = \operatorname{gate}(a), \qquad
        h' = h + O\, \operatorname{gate}(H * h + L\, a), \qquad
        \operatorname{gate}(p, q) = \tanh(p / 2) \odot \sigma(q).

    Two stacks leave no blind spot. The sampler computes the vertical stack once a row, and two matrix products a layer for
    each pixel.

    Reference:
        van den Oord et al. (2016), *Conditional Image Generation with PixelCNN Decoders*, https://arxiv.org/abs/1606.05328.

    Args:
        grid, inputs, outputs, context, context_map: see `CausalNetwork`; the grid is (height, width).
        features, layers: channels of the hidden layers, and number of gated layers, the first one included.
        kernel, first: side of the kernels, and of the first layer's kernel, odd.
        dilations: distances of the kernels' taps, one for each layer but the first; repeated as often as needed.
        head: channels of the layer between the last gated one and the outputs; as `features` if left out.
        dropout: probability that a gate's output is dropped in training.

    Example:
        >>> net = GatedPixelCNN((28, 28), features=8, layers=3)
        >>> net(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 1, 28, 28])
    """

    def __init__(
        self,
        grid: Sequence[int],
        inputs: int = 1,
        outputs: int = 1,
        features: int = 64,
        layers: int = 15,
        kernel: int = 3,
        first: int = 7,
        dilations: Sequence[int] = (1,),
        head: int | None = None,
        context: int = 0,
        context_map: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(grid, inputs, outputs, context, context_map, dimensions=(2,))
        self.features, layers = positive_size("features", features), positive_size("layers", layers)
        distances = positive_sizes("dilations", dilations) or (1,)
        self.dropout = dropout_probability(dropout)
        made = []
        for index in range(layers):
            side = odd_size("first", first) if index == 0 else odd_size("kernel", kernel)
            dilation = 1 if index == 0 else distances[(index - 1) % len(distances)]
            read = self.inputs if index == 0 else features
            made.append(GatedLayer(read, features, side, dilation, index == 0, index == layers - 1, context))
        self.layers = nn.ModuleList(made)
        head = features if head is None else positive_size("head", head)
        self.head = nn.ModuleList([nn.Conv2d(features, head, 1), nn.Conv2d(head, self.outputs, 1)])

    @property
    def gated(self) -> list[GatedLayer]:
        """The gated layers, from the image up."""
        return cast("list[GatedLayer]", list(self.layers))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """See `CausalNetwork.forward`."""
        down = features = x
        context = _as_map(context)
        dropout = self.dropout if self.training else 0.0
        for layer in self.gated:
            down, link = layer.vertical_stack(layer.vertical.window(down, layer.shift), context)
            residual = None if layer.shift else features
            window = layer.horizontal.window(features, layer.shift)
            features = horizontal_stack(window, link, residual, layer.kernels(), layer.horizontal.dilation, dropout)
        return self.top(features)

    def start(self, count: int, context: Tensor | None = None) -> State:
        """See `CausalNetwork.start`; the cache holds the rows above and the pixels to the left, for each layer."""
        like, width = self.example, self.grid[1]
        windows, matrices, slots = [], [], []
        for layer in self.gated:
            columns = layer.horizontal
            row = like.new_zeros(count, columns.reach + width, columns.inputs)
            windows.append(columns.windows(row))
            matrices.append(layer.matrices())
            slots.append(row[:, columns.reach :].unbind(1))  # where the layer below writes its output
        slots.append((like.new_empty(count, self.features),) * width)
        return {
            "context": _as_map(context),
            "above": self.rows_above(count),
            "drawn": [like.new_zeros(count, self.inputs, width)],
            "links": [],
            "inputs": slots[0],
            "pixels": [
                [(windows[n][column], matrices[n], slots[n + 1][column]) for n in range(len(windows))]
                for column in range(width)
            ],
            "buffer": GateBuffer.of(like, count, self.features),
        }

    def step(self, index: int, previous: Tensor | None, state: State) -> tuple[Tensor, State]:
        """See `CausalNetwork.step`."""
        row, column = divmod(index, self.grid[1])
        if previous is not None:
            state["drawn"].append(previous)
        if column == 0:
            context = state["context"]
            if context is not None and context.shape[2] > 1:
                context = context[:, :, row : row + 1]
            drawn = torch.cat(state["drawn"], -1)[:, :, None]  # (N, inputs, 1, width)
            links, state["above"] = self.vertical_stack(drawn, state["above"], context)
            state["drawn"] = []
            state["links"] = list(zip(*(link[:, :, 0].unbind(-1) for link in links), strict=True))  # column by column
        elif previous is not None:
            state["inputs"][column].copy_(previous[..., 0])
        features: Tensor | None = None
        for link, (window, weights, slot) in zip(state["links"][column], state["pixels"][column], strict=True):
            features = horizontal_stack(window, link, features, weights, buffer=state["buffer"], out=slot)
        return self.top(cast("Tensor", features))[..., None], state

    def generate_compiled(self, given: SamplerInput) -> Tensor:
        """See `CausalNetwork.generate_compiled`: a row a call."""
        emission, noise, context, known, mask, progress = given
        (height, width), count, context = self.grid, len(noise), _as_map(context)
        key = (emission, count, noise.dtype, noise.device, context is None, mask is None)
        draw_row = compiled_once(self, key, lambda: _row_sampler(emission))

        def rows(x: Tensor | None) -> list[Tensor] | list[None]:
            """Each row with its columns first, (width, N, numbers)."""
            return [None] * height if x is None else list(x.unflatten(-1, (height, width)).permute(2, 3, 0, 1).contiguous())  # type: ignore[no-untyped-call]

        above, matrices = self.rows_above(count), [layer.matrices() for layer in self.gated]
        previous = noise.new_zeros(count, self.inputs, 1, width)
        noises, knowns, masks = rows(noise), rows(known), rows(mask)
        values = []
        for row in progress(range(height)):
            part = context if context is None or context.shape[2] == 1 else context[:, :, row : row + 1]
            drawn, previous, above = draw_row(self, previous, above, part, noises[row], knowns[row], masks[row], matrices)
            values.append(drawn)  # (width, N, channels)
        return torch.stack(values).permute(2, 3, 0, 1).flatten(2)  # (N, channels, positions)

    def rows_above(self, count: int) -> list[Tensor]:
        """Each layer's cache before the first row: zeros, one row more than the kernel reaches."""
        like, width = self.example, self.grid[1]
        rows = [like.new_zeros(count, v.inputs, v.reach + 1, width) for v in (layer.vertical for layer in self.gated)]
        return [row.contiguous(memory_format=torch.channels_last) for row in rows]

    def vertical_stack(
        self, previous: Tensor, above: list[Tensor], context: Tensor | None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The vertical stack of a row, which is computed before its first pixel.

        From the encoded row above, (N, inputs, 1, width), each layer's cache, and a context (N, context, 1, width or 1), to
        what each layer's horizontal stack receives, (N, 2 features, 1, width), and the next cache.
        """
        links, windows = [], []
        for layer, rows in zip(self.gated, above, strict=True):
            windows.append(torch.cat([rows[:, :, 1:], previous], 2))  # (N, inputs, reach + 1, width)
            previous, link = layer.vertical_stack(windows[-1], context)
            links.append(link)
        return links, windows

    def top(self, features: Tensor) -> Tensor:
        """The outputs from the last layer's features, of images or of pixels."""
        for layer in self.head:
            features = pointwise(F.relu(features), layer)  # type: ignore[arg-type]
        return features


def _as_map(context: Tensor | None) -> Tensor | None:
    return context[:, :, None, None] if context is not None and context.dim() == 2 else context


def _row_sampler(emission: Emission) -> Callable[..., Any]:
    """The function that is compiled."""
    try:
        from torch._higher_order_ops.scan import scan
    except ImportError:
        raise ConfigurationError("compiled sampling needs a newer torch, with `scan`: leave `compile` out") from None

    def draw_row(
        network: GatedPixelCNN,
        previous: Tensor,
        above: list[Tensor],
        context: Tensor | None,
        noise: Tensor,
        known: Tensor | None,
        mask: Tensor | None,
        matrices: list[tuple[Tensor, Tensor]],
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        columns = [layer.horizontal for layer in network.gated]
        links, above = network.vertical_stack(previous, above, context)

        def draw_pixel(carry: Any, pixel: Any) -> Any:
            """One pixel; the carry is the pixel to the left, encoded, and each layer's left context, (N, reach, inputs)."""
            current, lefts = carry
            features, nexts = None, []
            for number, left in enumerate(lefts):
                window = torch.cat([left, current[:, None]], 1)  # (N, reach + 1, inputs)
                nexts.append(_copied(window[:, 1:]))
                taps = window[:, :: columns[number].dilation]  # (N, taps, inputs)
                features = horizontal_stack(taps, pixel["links"][number], features, matrices[number])
                current = features
            value = keep_known(emission.draw(network.top(current), pixel["noise"]), pixel.get("known"), pixel.get("mask"))
            return (_copied(emission.encode(value)), nexts), _copied(value)

        pixels = {"links": [link[:, :, 0].permute(2, 0, 1) for link in links], "noise": noise}  # (width, N, ...)
        if known is not None and mask is not None:
            pixels |= {"known": known, "mask": mask}
        lefts = [previous.new_zeros(len(previous), layer.reach, layer.inputs) for layer in columns]
        _, values = scan(draw_pixel, (previous.new_zeros(previous.shape[:2]), lefts), pixels)  # (width, N, channels)
        encoded = emission.encode(values.permute(1, 2, 0)[:, :, None])  # (N, inputs, 1, width)
        return values, encoded, above

    return draw_row


def _copied(x: Tensor) -> Tensor:
    """A copy with the strides of a new tensor, which is what a scan's carry must be."""
    return x.clone(memory_format=torch.contiguous_format)
