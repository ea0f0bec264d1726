"""The gated PixelCNN: two stacks of convolutions that together see all pixels above and to the left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyrogen.errors import ConfigurationError

from ..sizes import positive_size, positive_sizes
from .gated import GatedLayer, right
from .network import CausalNetwork, Emission, State
from .scanned import generate_rows
from .streaming import Scratch, pointwise

__all__ = ["GatedPixelCNN"]

# Named axes: see `pyrogen.nets.causal.network`; ``features`` are the channels of the hidden layers.


class GatedPixelCNN(CausalNetwork):
    r"""Gated convolutions in a vertical stack, which sees the rows above, and a horizontal one, which sees the row's left.

    With :math:`*` a convolution, each layer computes, for the row features v and the pixel features h,

    .. math::
        a = V * v + C c, \qquad v' = \operatorname{gate}(a), \qquad
        h' = h + O\, \operatorname{gate}(H * h + L\, a), \qquad
        \operatorname{gate}(p, q) = \tanh(p / 2) \odot \sigma(q).

    Two stacks leave no blind spot: a single stack of masked convolutions never sees a wedge of pixels above to the right.
    Drawing computes the vertical stack once a row, and for each pixel one matrix product a layer and another for its output.

    Reference:
        van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves, Kavukcuoglu (2016), *Conditional Image Generation with
        PixelCNN Decoders*, https://arxiv.org/abs/1606.05328.

    Args:
        grid: (height, width) of the image.
        inputs: channels of an encoded pixel.
        outputs: parameters of a pixel; all channels of a pixel share what it sees.
        features: channels of the hidden layers.
        layers: number of gated layers, the first one included.
        kernel: side of the kernels, odd.
        first: side of the first layer's kernel, odd.
        dilations: distances of the kernels' taps, one for each layer but the first; repeated as often as needed.
        head: channels of the layer between the last gated one and the outputs; as `features` if left out.
        context: features of the context, 0 for none.
        context_map: whether the context is a map of features, (context, height, width), in place of a vector.
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
        super().__init__()
        self.grid = image_grid(grid)
        self.inputs, self.outputs = positive_size("inputs", inputs), positive_size("outputs", outputs)
        self.features, layers = positive_size("features", features), positive_size("layers", layers)
        distances = positive_sizes("dilations", dilations) or (1,)
        if context:
            self.context_shape = (positive_size("context", context), *(self.grid if context_map else ()))
        made = []
        for index in range(layers):
            side = odd_size("first", first) if index == 0 else odd_size("kernel", kernel)
            dilation = 1 if index == 0 else distances[(index - 1) % len(distances)]
            read = self.inputs if index == 0 else features
            made.append(GatedLayer(read, features, side, dilation, index == 0, index == layers - 1, context))
        self.layers = nn.ModuleList(made)
        self.dropout = dropout
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
            down, link = layer.down(layer.vertical.window(down, layer.shift), context)
            skip = None if layer.shift else features
            window = layer.horizontal.window(features, layer.shift)
            features = right(window, link, skip, layer.kernels(), layer.horizontal.dilation, dropout)
        return self.top(features)

    def start(self, count: int, context: Tensor | None = None) -> State:
        """See `CausalNetwork.start`; the state holds the rows above and the pixels to the left, layer by layer."""
        like, width = self.example, self.grid[1]
        windows, matrices, slots = [], [], []
        for layer in self.gated:
            columns = layer.horizontal
            history = like.new_zeros(count, columns.reach + width, columns.inputs)
            windows.append(columns.windows(history))
            matrices.append(layer.matrices())
            slots.append(history[:, columns.reach :].unbind(1))  # where a layer finds what the one before it gives
        slots.append((like.new_empty(count, self.features),) * width)
        return {
            "context": _as_map(context),
            "above": self.above(count),
            "drawn": [like.new_zeros(count, self.inputs, width)],
            "links": [],
            "inputs": slots[0],
            "pixels": [
                [(windows[n][column], matrices[n], slots[n + 1][column]) for n in range(len(windows))]
                for column in range(width)
            ],
            "scratch": Scratch.of(like, count, self.features),
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
            links, state["above"] = self.links(drawn, state["above"], context)
            state["drawn"] = []
            state["links"] = list(zip(*(link[:, :, 0].unbind(-1) for link in links), strict=True))  # column by column
        elif previous is not None:
            state["inputs"][column].copy_(previous[..., 0])
        features: Tensor | None = None
        scratch = state["scratch"]
        for link, (window, weights, slot) in zip(state["links"][column], state["pixels"][column], strict=True):
            features = right(window, link, features, weights, scratch=scratch, out=slot)
        return self.top(cast("Tensor", features))[..., None], state

    def above(self, count: int) -> list[Tensor]:
        """The rows above the first one, for each layer as many as it sees and one more: zeros."""
        like, width = self.example, self.grid[1]
        rows = [like.new_zeros(count, v.inputs, v.reach + 1, width) for v in (layer.vertical for layer in self.gated)]
        return [row.contiguous(memory_format=torch.channels_last) for row in rows]

    def links(self, previous: Tensor, above: list[Tensor], context: Tensor | None) -> tuple[list[Tensor], list[Tensor]]:
        """The work on a row before its first pixel is drawn: the vertical stack.

        Args:
            previous: the encoded row above it, (N, inputs, 1, width).
            above: each layer's window in the row before.
            context: (N, context, 1, width or 1), or ``None``.

        Returns:
            what comes from above for each layer, (N, 2 features, 1, width), and each layer's window.
        """
        links, windows = [], []
        for layer, rows in zip(self.gated, above, strict=True):
            windows.append(torch.cat([rows[:, :, 1:], previous], 2))
            previous, link = layer.down(windows[-1], context)
            links.append(link)
        return links, windows

    def generate(
        self,
        emission: Emission,
        noise: Tensor,
        context: Tensor | None = None,
        known: Tensor | None = None,
        mask: Tensor | None = None,
        compiled: bool = False,
        progress: Callable[[Iterable[int]], Iterable[int]] = iter,
    ) -> Tensor:
        """See `CausalNetwork.generate`; compiled, a whole row at a time."""
        if compiled:
            return generate_rows(self, emission, noise, _as_map(context), known, mask, progress)
        return super().generate(emission, noise, context, known, mask, compiled, progress)

    def top(self, features: Tensor) -> Tensor:
        """The outputs from the last layer's features, of images or of pixels."""
        for layer in self.head:
            features = pointwise(F.relu(features), layer)  # type: ignore[arg-type]
        return features


def image_grid(grid: Sequence[int]) -> tuple[int, int]:
    """A grid of (height, width).

    Raises:
        ConfigurationError: it is not two positive integers.
    """
    sizes = positive_sizes("grid", grid)
    if len(sizes) != 2:
        raise ConfigurationError(f"an image has a grid (height, width), not {sizes}")
    return sizes


def odd_size(name: str, size: int, least: int = 1) -> int:
    """A positive odd size.

    Raises:
        ConfigurationError: it is not, or less than the least.
    """
    if positive_size(name, size) % 2 == 0 or size < least:
        raise ConfigurationError(f"{name} must be odd and at least {least}, not {size}")
    return size


def _as_map(context: Tensor | None) -> Tensor | None:
    return context[:, :, None, None] if context is not None and context.dim() == 2 else context
