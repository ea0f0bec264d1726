"""Streaming layers: one definition that runs on a whole image, on one row of it, or on one pixel.

Causality is a shifted input together with what lies before a chunk. A layer runs on a *window*: the chunk preceded by as
many rows or columns as the kernel reaches back, zeros where the image ends. The whole image is one chunk whose window is
padding; a row's window holds the rows before it, and a pixel's the pixels to its left. A window exactly as large as the
kernel is one row of a matrix product.

Images are (N, channels, height, width); pixels are (N, channels), and their windows (N, taps * channels), tap by tap.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["CausalColumns", "CausalRows", "Scratch", "for_gate", "gate", "laid_out", "pointwise", "product"]


class CausalRows(nn.Module):
    """A convolution over rows: each output sees its own row of the window and those above, and columns on both sides.

    Args:
        inputs: channels read.
        outputs: channels given.
        taps: rows of the kernel, its own one included.
        width: columns of the kernel, odd.
        dilation: distance of the taps, in rows and in columns.
    """

    def __init__(self, inputs: int, outputs: int, taps: int, width: int, dilation: int = 1) -> None:
        super().__init__()
        convolution = laid_out(nn.Conv2d(inputs, outputs, (taps, width)))
        self.weight, self.bias = convolution.weight, convolution.bias
        self.inputs = inputs
        self.reach, self.side, self.dilation = (taps - 1) * dilation, width // 2 * dilation, dilation

    def window(self, x: Tensor, shift: int = 0) -> Tensor:
        """A whole image with zeros above it, moved down by a number of rows."""
        return F.pad(x[:, :, : x.shape[2] - shift], (0, 0, self.reach + shift, 0))

    def forward(self, window: Tensor) -> Tensor:
        """Rows of a window, (N, inputs, reach + rows, width), to (N, outputs, rows, width)."""
        return F.conv2d(window, self.weight, self.bias, padding=(0, self.side), dilation=self.dilation)


class CausalColumns(nn.Module):
    """A convolution along rows: each output sees its own column of the window and those to the left, in its row.

    It has no bias: what is added to it has one.

    Args:
        inputs: channels read.
        outputs: channels given.
        taps: columns of the kernel, its own one included.
        dilation: distance of the taps, in columns.
    """

    def __init__(self, inputs: int, outputs: int, taps: int, dilation: int = 1) -> None:
        super().__init__()
        self.weight = laid_out(nn.Conv2d(inputs, outputs, (1, taps), bias=False)).weight
        self.inputs, self.taps, self.reach, self.dilation = inputs, taps, (taps - 1) * dilation, dilation

    def window(self, x: Tensor, shift: int = 0) -> Tensor:
        """A whole image with zeros to its left, moved right by a number of columns."""
        return F.pad(x[..., : x.shape[-1] - shift], (self.reach + shift, 0))

    def matrix(self) -> Tensor:
        """The kernel laid out for windows of pixels, (taps * inputs, outputs)."""
        return self.weight[:, :, 0].permute(2, 1, 0).flatten(0, 1).contiguous()

    def windows(self, history: Tensor) -> list[Tensor]:
        """Views of every column's window in a history.

        Args:
            history: a row with zeros to its left, shape (N, reach + width, inputs).

        Returns:
            a view of shape (N, taps * inputs) for each column, or (N, taps, inputs) where the taps lie apart.
        """
        ends = range(self.reach + 1, history.shape[1] + 1)
        views = [history[:, end - self.reach - 1 : end : self.dilation] for end in ends]
        return [view.view(len(view), -1) if self.dilation == 1 or self.taps == 1 else view for view in views]


def product(window: Tensor, weight: Tensor, add: Tensor | None, dilation: int = 1) -> Tensor:
    """A kernel times every window, plus what is to be added.

    Args:
        window: (N, inputs, height, width), or pixels' windows (N, taps * inputs) or (N, taps, inputs).
        weight: the kernel (outputs, inputs, rows, columns), or for pixels its matrix (taps * inputs, outputs).
        add: of the shape of the result, or ``None``.
        dilation: distance of the kernel's taps.
    """
    dimensions = window.dim()
    if dimensions == 4:
        result = F.conv2d(window, weight, dilation=dilation)
        return result if add is None else result + add
    if dimensions == 3:
        window = window.flatten(1)
    return torch.mm(window, weight) if add is None else torch.addmm(add, window, weight)


def pointwise(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """A convolution by a 1x1 kernel, on an image or on pixels."""
    weight = layer.weight
    return F.conv2d(x, weight, layer.bias) if x.dim() == 4 else F.linear(x, weight.flatten(1), layer.bias)


def gate(x: Tensor) -> Tensor:
    r"""The gated unit, :math:`\tanh(p / 2)\, \sigma(q)`: how much of p goes through is decided by q.

    With :math:`\tanh(p / 2) = 2 \sigma(p) - 1` it takes no tanh, which on a CPU costs eight times what a sigmoid does.

    Args:
        x: p and q, shape (N, 2 C, ...).

    Returns:
        shape (N, C, ...).
    """
    value, opening = x.sigmoid().chunk(2, 1)
    return torch.addcmul(-opening, value, opening, value=2)


class Scratch(NamedTuple):
    """Memory for the gates of pixels, allocated once: where the overhead of a call counts, that is faster."""

    before: Tensor
    """What the gate reads, (N, 2 C); `value` and `opening` are views of it."""
    value: Tensor
    opening: Tensor
    after: Tensor
    """What it gives, (N, C)."""

    @classmethod
    def of(cls, like: Tensor, count: int, channels: int) -> Scratch:
        """Scratch memory of the dtype and on the device of a tensor."""
        before = like.new_empty(count, 2 * channels)
        value, opening = before.chunk(2, 1)
        return cls(before, value, opening, like.new_empty(count, channels))

    def gate(self) -> Tensor:
        """`gate` of `before`, which is overwritten."""
        before, value, opening, after = self
        before.sigmoid_()
        return torch.neg(opening, out=after).addcmul_(value, opening, value=2)


def laid_out(layer: nn.Conv2d) -> nn.Conv2d:
    """A convolution with its kernel's channels innermost in memory, as the convolutions of this package read images."""
    with torch.no_grad():
        layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
    return layer


@torch.no_grad()
def for_gate(layer: nn.Module) -> nn.Module:
    """A new layer of 2 C channels for `gate`: weights of the first C are doubled, for their tanh to start as usual."""
    for parameter in layer.parameters():
        parameter[: len(parameter) // 2] *= 2
    return layer
