"""A compiled sampler for the gated PixelCNN: one call of compiled code draws a whole row.

The pixels of a row are a `scan`, so that what is compiled is one pixel, whatever the width, and no Python runs between two
pixels. It is the same definition of the layers that draws step by step, on windows that are made anew for each pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from pyrogen.errors import ConfigurationError

from .gated import right
from .network import Emission

if TYPE_CHECKING:
    from .pixelcnn import GatedPixelCNN

__all__ = ["generate_rows"]

_compiled: WeakKeyDictionary[GatedPixelCNN, dict[Any, Callable[..., Any]]] = WeakKeyDictionary()


def generate_rows(
    network: GatedPixelCNN,
    emission: Emission,
    noise: Tensor,
    context: Tensor | None,
    known: Tensor | None,
    mask: Tensor | None,
    progress: Callable[[Iterable[int]], Iterable[int]],
) -> Tensor:
    """Draw an image row by row with compiled code; see `CausalNetwork.generate`.

    Raises:
        ConfigurationError: this torch has no `scan`.
    """
    height, width = network.grid
    count = len(noise)
    draw_row = _draw_row(network, emission, (count, noise.dtype, noise.device, context is None, mask is None))

    def rows(x: Tensor | None) -> list[Tensor] | list[None]:
        """Each row with its columns first, (width, N, numbers)."""
        return [None] * height if x is None else list(x.unflatten(-1, (height, width)).permute(2, 3, 0, 1).contiguous())  # type: ignore[no-untyped-call]

    above, matrices = network.above(count), [layer.matrices() for layer in network.gated]
    previous = noise.new_zeros(count, network.inputs, 1, width)
    uniform, kept, where = rows(noise), rows(known), rows(mask)
    values = []
    for row in progress(range(height)):
        part = context if context is None or context.shape[2] == 1 else context[:, :, row : row + 1]
        drawn, previous, above = draw_row(network, previous, above, part, uniform[row], kept[row], where[row], matrices)
        values.append(drawn)  # (width, N, channels)
    return torch.stack(values).permute(2, 3, 0, 1).flatten(2)  # (N, channels, positions)


def _draw_row(network: GatedPixelCNN, emission: Emission, key: tuple[Any, ...]) -> Callable[..., Any]:
    """The compiled function that draws a row, made once for each network, family and shape."""
    made = _compiled.setdefault(network, {})
    if (emission, key) not in made:
        made[emission, key] = torch.compile(
            _own_code(_row_drawer(emission)), fullgraph=True, dynamic=False, options={"cpp_wrapper": True}
        )
    return made[emission, key]


def _row_drawer(emission: Emission) -> Callable[..., Any]:
    try:
        from torch._higher_order_ops.scan import scan
    except ImportError:
        raise ConfigurationError("compiled sampling needs a newer torch, with `scan`: leave `compile` out") from None

    def draw_row(
        network: GatedPixelCNN,  # an argument, not a free variable: what is compiled for a network must not keep it alive
        previous: Tensor,
        above: list[Tensor],
        context: Tensor | None,
        noise: Tensor,
        known: Tensor | None,
        mask: Tensor | None,
        matrices: list[tuple[Tensor, Tensor]],
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        columns = [layer.horizontal for layer in network.gated]
        links, above = network.links(previous, above, context)

        def draw_pixel(carry: Any, pixel: Any) -> Any:
            """One pixel; carried are the pixel to the left, encoded, and each layer's left context, (N, reach, inputs)."""
            current, lefts = carry
            features, nexts = None, []
            for number, left in enumerate(lefts):
                window = torch.cat([left, current[:, None]], 1)  # (N, reach + 1, inputs)
                nexts.append(_own(window[:, 1:]))
                features = right(window[:, :: columns[number].dilation], pixel["links"][number], features, matrices[number])
                current = features
            value = emission.draw(network.top(current), pixel["noise"])
            if "mask" in pixel:
                value = torch.where(pixel["mask"], pixel["known"], value)
            return (_own(emission.encode(value)), nexts), _own(value)

        pixels = {"links": [link[:, :, 0].permute(2, 0, 1) for link in links], "noise": noise}
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


def _own(x: Tensor) -> Tensor:
    """A copy with the strides of a new tensor, which is what a scan's carry must be."""
    return x.clone(memory_format=torch.contiguous_format)


def _own_code(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with a code object of its own: torch limits how often the same one is compiled."""
    assert isinstance(function, FunctionType)
    code: CodeType = function.__code__.replace()
    return FunctionType(code, function.__globals__, function.__name__, function.__defaults__, function.__closure__)
