"""The compiled sampler of the gated PixelCNN: one call samples a whole row.

The pixels of a row are a `scan`, so that the code of one pixel is compiled, whatever the width, and no Python runs between
two pixels. The layers are those of `gated_convolution`, on windows that are made anew for each pixel.

Named axes: see `pyrogen.nets.causal.network` and `pyrogen.nets.causal.gated_convolution`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from pyrogen.errors import ConfigurationError

from .compilation import compiled_once
from .gated_convolution import GatedLayer, horizontal_stack
from .network import Emission, SamplerInput, keep_known

__all__ = ["generate_rows"]


class TwoStacks(Protocol):
    """What the sampler needs of a network; `GatedPixelCNN` is one, and says what each part is."""

    grid: tuple[int, ...]
    inputs: int

    @property
    def gated(self) -> list[GatedLayer]:
        """See `GatedPixelCNN.gated`."""
        ...

    def rows_above(self, count: int) -> list[Tensor]:
        """See `GatedPixelCNN.rows_above`."""
        ...

    def vertical_stack(
        self, previous: Tensor, above: list[Tensor], context: Tensor | None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """See `GatedPixelCNN.vertical_stack`."""
        ...

    def top(self, features: Tensor) -> Tensor:
        """See `GatedPixelCNN.top`."""
        ...


def generate_rows(network: TwoStacks, given: SamplerInput) -> Tensor:
    """Sample images row by row; see `CausalNetwork.generate`.

    Args:
        network: the network, in evaluation mode.
        given: see `CausalNetwork.generate`; a context is a map (N, context, height or 1, width or 1).

    Raises:
        ConfigurationError: this torch has no `scan`.
    """
    emission, noise, context, known, mask, progress = given
    height, width = network.grid
    count = len(noise)
    key = (emission, count, noise.dtype, noise.device, context is None, mask is None)
    draw_row = compiled_once(network, key, lambda: _row_sampler(emission))

    def rows(x: Tensor | None) -> list[Tensor] | list[None]:
        """Each row with its columns first, (width, N, numbers)."""
        return [None] * height if x is None else list(x.unflatten(-1, (height, width)).permute(2, 3, 0, 1).contiguous())  # type: ignore[no-untyped-call]

    above, matrices = network.rows_above(count), [layer.matrices() for layer in network.gated]
    previous = noise.new_zeros(count, network.inputs, 1, width)
    uniform, kept, where = rows(noise), rows(known), rows(mask)
    values = []
    for row in progress(range(height)):
        part = context if context is None or context.shape[2] == 1 else context[:, :, row : row + 1]
        drawn, previous, above = draw_row(network, previous, above, part, uniform[row], kept[row], where[row], matrices)
        values.append(drawn)  # (width, N, channels)
    return torch.stack(values).permute(2, 3, 0, 1).flatten(2)  # (N, channels, positions)


def _row_sampler(emission: Emission) -> Callable[..., Any]:
    """The function that is compiled."""
    try:
        from torch._higher_order_ops.scan import scan
    except ImportError:
        raise ConfigurationError("compiled sampling needs a newer torch, with `scan`: leave `compile` out") from None

    def draw_row(
        network: TwoStacks,
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
        start = (
            previous.new_zeros(previous.shape[:2]),
            [previous.new_zeros(len(previous), c.reach, c.inputs) for c in columns],
        )
        _, values = scan(draw_pixel, start, pixels)  # (width, N, channels)
        encoded = emission.encode(values.permute(1, 2, 0)[:, :, None])  # (N, inputs, 1, width)
        return values, encoded, above

    return draw_row


def _copied(x: Tensor) -> Tensor:
    """A copy with the strides of a new tensor, which is what a scan's carry must be."""
    return x.clone(memory_format=torch.contiguous_format)
