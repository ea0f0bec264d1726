"""The gated PixelCNN: a vertical and a horizontal stack of convolutions, together without a blind spot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..sizes import dropout_probability, odd_size, positive_size, positive_sizes
from .compiled_pixelcnn import generate_rows
from .gated_convolution import GateBuffer, GatedLayer, horizontal_stack, pointwise
from .network import CausalNetwork, SamplerInput, State

__all__ = ["GatedPixelCNN"]

# Named axes: see `pyrogen.nets.causal.network`; ``features`` are the channels of the hidden layers.


class GatedPixelCNN(CausalNetwork):
    r"""Gated convolutions in a vertical stack, for the rows above, and a horizontal stack, for the pixels to the left.

    With :math:`*` a convolution, each layer computes, for the features v of the vertical and h of the horizontal stack,

    .. math::
        a = V * v + C c, \qquad v' = \operatorname{gate}(a), \qquad
        h' = h + O\, \operatorname{gate}(H * h + L\, a), \qquad
        \operatorname{gate}(p, q) = \tanh(p / 2) \odot \sigma(q).

    Two stacks leave no blind spot: a single stack of masked convolutions never sees a wedge of pixels above to the right.
    The sampler computes the vertical stack once a row, and two matrix products a layer for each pixel.

    Reference:
        van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves, Kavukcuoglu (2016), *Conditional Image Generation with
        PixelCNN Decoders*, https://arxiv.org/abs/1606.05328.

    Args:
        grid, inputs, outputs, context, context_map: see `CausalNetwork`; the grid is (height, width).
        features: channels of the hidden layers.
        layers: number of gated layers, the first one included.
        kernel: side of the kernels, odd.
        first: side of the first layer's kernel, odd.
        dilations: distances of the kernels' taps, one for each layer but the first; repeated as often as needed.
        head: channels of the layer between the last gated one and the outputs; as `features` if left out.
        dropout: probability that a gate's output is dropped in training.

    Raises:
        ConfigurationError: a size cannot be used.

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
        """See `CausalNetwork.generate_compiled`: a whole row a call."""
        return generate_rows(self, given._replace(context=_as_map(given.context)))

    def rows_above(self, count: int) -> list[Tensor]:
        """Each layer's cache of rows before the first one: zeros, one row more than the kernel reaches."""
        like, width = self.example, self.grid[1]
        rows = [like.new_zeros(count, v.inputs, v.reach + 1, width) for v in (layer.vertical for layer in self.gated)]
        return [row.contiguous(memory_format=torch.channels_last) for row in rows]

    def vertical_stack(
        self, previous: Tensor, above: list[Tensor], context: Tensor | None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The vertical stack of a row, which is computed before its first pixel.

        Args:
            previous: the encoded row above it, (N, inputs, 1, width).
            above: each layer's cache of rows.
            context: (N, context, 1, width or 1), or ``None``.

        Returns:
            for each layer what its horizontal stack receives, (N, 2 features, 1, width), and the next cache.
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
