"""The gated layer of the PixelCNN and its convolutions, for whole images, for a row and for a pixel.

A convolution works on a *window*: its input, preceded by the rows above or the pixels to the left that the kernel reaches,
with zeros outside the image. The window of an image is the padded image; that of a row or a pixel comes from the sampler's
cache. A pixel's window is as large as the kernel: the convolution is a matrix product. Where a pixel must not see itself,
the window is shifted by one row or column.

Named axes: images are (N, channels, height, width); pixels are (N, channels), and their windows (N, taps * channels).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = [
    "GateBuffer",
    "GatedLayer",
    "HorizontalConvolution",
    "VerticalConvolution",
    "channels_last",
    "gate",
    "horizontal_stack",
    "pointwise",
]


class VerticalConvolution(nn.Module):
    """A convolution of the vertical stack: an output sees its own row of the window and those above, on both sides.

    Args:
        inputs, outputs: channels in and out.
        taps: rows of the kernel, its own one included.
        width: columns of the kernel, odd.
        dilation: distance of the taps, in rows and in columns.
    """

    def __init__(self, inputs: int, outputs: int, taps: int, width: int, dilation: int = 1) -> None:
        super().__init__()
        convolution = channels_last(nn.Conv2d(inputs, outputs, (taps, width)))
        self.weight, self.bias = convolution.weight, convolution.bias
        self.inputs = inputs
        self.reach, self.side, self.dilation = (taps - 1) * dilation, width // 2 * dilation, dilation

    def window(self, x: Tensor, shift: int = 0) -> Tensor:
        """A whole image with zeros above it, moved down by `shift` rows."""
        return F.pad(x[:, :, : x.shape[2] - shift], (0, 0, self.reach + shift, 0))  # (N, inputs, reach + height, width)

    def forward(self, window: Tensor) -> Tensor:
        """Windows (N, inputs, reach + rows, width) to (N, outputs, rows, width)."""
        return F.conv2d(window, self.weight, self.bias, padding=(0, self.side), dilation=self.dilation)


class HorizontalConvolution(nn.Module):
    """A convolution of the horizontal stack: an output sees its own pixel of the window and those to the left.

    It has no bias: the vertical stack has one.

    Args:
        inputs, outputs: channels in and out.
        taps: columns of the kernel, its own one included.
        dilation: distance of the taps, in columns.
    """

    def __init__(self, inputs: int, outputs: int, taps: int, dilation: int = 1) -> None:
        super().__init__()
        self.weight = channels_last(nn.Conv2d(inputs, outputs, (1, taps), bias=False)).weight
        self.inputs, self.taps, self.reach, self.dilation = inputs, taps, (taps - 1) * dilation, dilation

    def window(self, x: Tensor, shift: int = 0) -> Tensor:
        """A whole image with zeros to its left, moved right by `shift` columns."""
        return F.pad(x[..., : x.shape[-1] - shift], (self.reach + shift, 0))  # (N, inputs, height, reach + width)

    def matrix(self) -> Tensor:
        """The kernel as a matrix for pixels' windows, (taps * inputs, outputs)."""
        return self.weight[:, :, 0].permute(2, 1, 0).flatten(0, 1).contiguous()  # (taps * inputs, outputs)

    def windows(self, row: Tensor) -> list[Tensor]:
        """Views of the windows of all pixels of a row, which has zeros to its left, (N, reach + width, inputs).

        For each column there is one of shape (N, taps * inputs), or (N, taps, inputs) with dilation.
        """
        ends = range(self.reach + 1, row.shape[1] + 1)
        views = [row[:, end - self.reach - 1 : end : self.dilation] for end in ends]  # (N, taps, inputs) each
        if self.dilation > 1 and self.taps > 1:
            return views
        return [view.view(len(view), -1) for view in views]  # (N, taps * inputs) each


class GatedLayer(nn.Module):
    """One layer of both stacks.

    Args:
        inputs, features: channels in and out.
        side: side of the kernel, odd.
        dilation: distance of the kernel's taps.
        first: whether its input is the image: it then does not see its own row and pixel, and has no residual connection.
        last: whether no layer follows, which would use the features of the vertical stack.
        context: features of the context, 0 for none.
    """

    def __init__(self, inputs: int, features: int, side: int, dilation: int, first: bool, last: bool, context: int) -> None:
        super().__init__()
        self.features, self.shift, self.last = features, int(first), last
        taps = max(1, side // 2 + 1 - self.shift)
        self.vertical = VerticalConvolution(inputs, 2 * features, taps, side, dilation)
        self.horizontal = HorizontalConvolution(inputs, 2 * features, taps, dilation)
        self.link = channels_last(nn.Conv2d(2 * features, 2 * features, 1))
        self.out = channels_last(nn.Conv2d(features, features, 1, bias=False))
        with torch.no_grad():
            for parameter in nn.ModuleList([self.vertical, self.horizontal, self.link]).parameters():
                parameter[:features] *= 2  # the gate halves the argument of its tanh
        self.context = nn.Conv2d(context, 2 * features, 1, bias=False) if context else None

    def vertical_stack(self, window: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Windows of rows to their features, and to what the horizontal stack receives, (N, 2 features, rows, width)."""
        before: Tensor = self.vertical(window.contiguous(memory_format=torch.channels_last))
        if self.context is not None and context is not None:
            before = before + self.context(context)
        link = pointwise(before, self.link)
        return before if self.last else gate(before), link  # nothing uses the features of the last layer

    def kernels(self) -> tuple[Tensor, Tensor]:
        """The weights of `horizontal_stack` for images."""
        return self.horizontal.weight, self.out.weight

    def matrices(self) -> tuple[Tensor, Tensor]:
        """The weights of `horizontal_stack` for pixels, as matrices."""
        return self.horizontal.matrix(), self.out.weight.flatten(1).T.contiguous()  # (features, features)


class GateBuffer(NamedTuple):
    """Memory for the gates of pixels, allocated once: for so little arithmetic, that is faster."""

    before: Tensor
    """Input of the gate, (N, 2 C); `value` and `opening` are views of it."""
    value: Tensor
    opening: Tensor
    after: Tensor
    """Output of the gate, (N, C)."""

    @classmethod
    def of(cls, like: Tensor, count: int, channels: int) -> GateBuffer:
        """A buffer of the dtype and on the device of a tensor."""
        before = like.new_empty(count, 2 * channels)
        value, opening = before.chunk(2, 1)
        return cls(before, value, opening, like.new_empty(count, channels))

    def gate(self) -> Tensor:
        """`gate` of `before`, which is overwritten."""
        before, value, opening, after = self
        before.sigmoid_()
        return torch.neg(opening, out=after).addcmul_(value, opening, value=2)


def horizontal_stack(
    window: Tensor,
    link: Tensor,
    residual: Tensor | None,
    weights: tuple[Tensor, Tensor],
    dilation: int = 1,
    dropout: float = 0.0,
    buffer: GateBuffer | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """The horizontal stack of a layer, with features (N, features, height, width) or (N, features).

    Args:
        window: of images (N, inputs, height, reach + width), or of pixels (N, taps * inputs) or (N, taps, inputs).
        link: from the vertical stack, (N, 2 features, height, width) or (N, 2 features).
        residual: what the features are added to, of their shape; ``None`` in the first layer.
        weights: `GatedLayer.kernels` for images, `GatedLayer.matrices` for pixels.
        dilation, dropout: distance of the taps, of images; probability that a gate's output is dropped.
        buffer, out: for pixels, memory for the gate and for the result.
    """
    if buffer is not None:
        torch.addmm(link, window if window.dim() == 2 else window.flatten(1), weights[0], out=buffer.before)
        after = buffer.gate()
        if residual is None:
            return torch.mm(after, weights[1], out=out)
        return torch.addmm(residual, after, weights[1], out=out)
    after = gate(_product(window, weights[0], link, dilation))
    return _product(F.dropout(after, dropout) if dropout else after, weights[1], residual)


def _product(window: Tensor, weight: Tensor, add: Tensor | None, dilation: int = 1) -> Tensor:
    """A convolution of images by a kernel (outputs, inputs, rows, columns), or of pixels by its matrix, plus `add`."""
    if window.dim() == 4:
        result = F.conv2d(window, weight, dilation=dilation)
        return result if add is None else result + add
    if window.dim() == 3:
        window = window.flatten(1)  # (N, taps * inputs)
    return torch.mm(window, weight) if add is None else torch.addmm(add, window, weight)


def pointwise(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """A convolution by a 1x1 kernel, of images or of pixels."""
    weight = layer.weight
    return F.conv2d(x, weight, layer.bias) if x.dim() == 4 else F.linear(x, weight.flatten(1), layer.bias)


def gate(x: Tensor) -> Tensor:
    r"""The gated unit, :math:`\tanh(p / 2)\, \sigma(q)`, from p and q, (N, 2 C, ...), to (N, C, ...).

    Computed by :math:`\tanh(p / 2) = 2 \sigma(p) - 1`: on a CPU a tanh costs eight times what a sigmoid does.
    """
    value, opening = x.sigmoid().chunk(2, 1)
    return torch.addcmul(-opening, value, opening, value=2)


def channels_last(layer: nn.Conv2d) -> nn.Conv2d:
    """A convolution with its kernel in the channels-last memory format, as the images of this package are."""
    with torch.no_grad():
        layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
    return layer
