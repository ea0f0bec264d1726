"""A layer of the gated PixelCNN, one definition for images, rows and pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .streaming import CausalColumns, CausalRows, Scratch, for_gate, gate, laid_out, pointwise, product

__all__ = ["GatedLayer", "right"]


class GatedLayer(nn.Module):
    """One layer of both stacks.

    Args:
        inputs: channels read.
        features: channels given.
        side: side of the kernel, odd.
        dilation: distance of the kernel's taps.
        first: whether it reads the image: it then sees neither its own row and pixel nor adds them to its output.
        last: whether no layer follows, to read the features of rows.
        context: features of the context, 0 for none.
    """

    def __init__(self, inputs: int, features: int, side: int, dilation: int, first: bool, last: bool, context: int) -> None:
        super().__init__()
        self.features, self.shift, self.last = features, int(first), last
        taps = max(1, side // 2 + 1 - self.shift)
        self.vertical = CausalRows(inputs, 2 * features, taps, side, dilation)
        self.horizontal = CausalColumns(inputs, 2 * features, taps, dilation)
        self.link = laid_out(nn.Conv2d(2 * features, 2 * features, 1))
        self.out = laid_out(nn.Conv2d(features, features, 1, bias=False))
        for layer in (self.vertical, self.horizontal, self.link):
            for_gate(layer)
        self.context = nn.Conv2d(context, 2 * features, 1, bias=False) if context else None

    def down(self, window: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """The vertical stack: a window of rows to the rows' features, and the link (N, 2 features, rows, width).

        The last layer's features are read by nothing, and not computed.
        """
        before: Tensor = self.vertical(window.contiguous(memory_format=torch.channels_last))
        if self.context is not None and context is not None:
            before = before + self.context(context)
        link = pointwise(before, self.link)
        return before if self.last else gate(before), link

    def kernels(self) -> tuple[Tensor, Tensor]:
        """The weights of `right` for images."""
        return self.horizontal.weight, self.out.weight

    def matrices(self) -> tuple[Tensor, Tensor]:
        """The weights of `right` for pixels, laid out for matrix products."""
        return self.horizontal.matrix(), self.out.weight.flatten(1).T.contiguous()


def right(
    window: Tensor,
    link: Tensor,
    skip: Tensor | None,
    weights: tuple[Tensor, Tensor],
    dilation: int = 1,
    dropout: float = 0.0,
    scratch: Scratch | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """The horizontal stack of a layer: windows of columns and the link to features.

    Args:
        window: of images (N, inputs, height, reach + width), or of pixels (N, taps * inputs) or (N, taps, inputs).
        link: what comes from the rows above, (N, 2 features, height, width) or (N, 2 features).
        skip: what the features are added to, of their shape; ``None`` in the first layer.
        weights: `GatedLayer.kernels` for images, `GatedLayer.matrices` for pixels.
        dilation: distance of the taps, of images.
        dropout: probability that a gate's output is dropped.
        scratch: for pixels, memory for the gate.
        out: for pixels, memory for the features.

    Returns:
        (N, features, height, width) or (N, features).
    """
    if scratch is not None:
        torch.addmm(link, window if window.dim() == 2 else window.flatten(1), weights[0], out=scratch.before)
        after = scratch.gate()
        return torch.mm(after, weights[1], out=out) if skip is None else torch.addmm(skip, after, weights[1], out=out)
    after = gate(product(window, weights[0], link, dilation))
    return product(F.dropout(after, dropout) if dropout else after, weights[1], skip)
