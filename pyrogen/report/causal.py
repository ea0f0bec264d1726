"""What only autoregressive models can show: the order of generation as an animation, and what a pixel sees.

Pixels that were drawn before and yet have no influence at all lie in a pixel's blind spot, or out of its reach.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from pyrogen.errors import DataError

from .layout import bare, checked, colours, paste
from .records import Array
from .style import BLACK, VERMILION, legend, panels, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

__all__ = ["generation", "receptive_field"]

_TILE = 72  # pixels of an image's longer side, at least
_GAP = 6
_TO_COME = np.array([0.80, 0.84, 0.90])  # pale blue, told apart from every grey
_NEW = np.array([0.84, 0.37, 0.0])  # vermilion
_LAST = 2000  # milliseconds for which the finished images stand
_DECADES = 4  # of influence, from the strongest pixel down; less is drawn as the least
_LATER = "#e9e9e9"


def generation(samples: ArrayLike, order: ArrayLike, limit: int = 9, frames: int = 60, seconds: float = 6.0) -> bytes:
    """Show images in the order in which their pixels are drawn.

    Args:
        samples: finished images, shape `(m, C, H, W)` with C = 1 or 3, values in about [0, 1].
        order: the step at which each pixel is drawn, shape `(H, W)`.
        limit: at most so many images are shown, the first ones.
        frames: at most so many frames; where there are more steps, a frame shows several.
        seconds: how long the growing takes; the finished images stand for two seconds more.

    Returns:
        The bytes of a GIF that repeats: pixels to come are pale blue, those of the newest step vermilion.

    Raises:
        DataError: the shapes don't fit one another, or the samples are no images.
    """
    images, rank = checked(samples, "samples", 1)[:limit], np.asarray(order, np.float64)
    if images.ndim != 4 or rank.shape != images.shape[2:]:
        raise DataError(
            f"samples of shape {images.shape} and an order of shape {rank.shape}: they must be (m, C, H, W) and (H, W)"
        )
    steps = np.unique(rank)
    ends = steps[np.unique(np.linspace(0, len(steps) - 1, min(frames, len(steps))).round().astype(int))]
    first, *others = (_frame(images, rank, *step) for step in zip([-np.inf, *ends], [*ends, np.inf], strict=True))
    durations = [max(20, round(1000 * seconds / len(ends)))] * len(ends) + [_LAST]
    buffer = io.BytesIO()
    first.save(buffer, format="GIF", save_all=True, append_images=others, duration=durations, loop=0, disposal=1)
    return buffer.getvalue()


def _frame(images: Array, rank: Array, before: float, end: float) -> Image:
    """A mosaic in which steps up to `end` are drawn, and those after `before` are new."""
    import PIL.Image

    count, _, height, width = images.shape
    across = math.ceil(math.sqrt(count))
    down = math.ceil(count / across)
    zoom = max(1, math.ceil(_TILE / max(height, width)))
    picture = np.ones((down * (zoom * height + _GAP) + _GAP, across * (zoom * width + _GAP) + _GAP, 3))
    for place, image in enumerate(images):
        pixels = colours(image)  # (H, W, 3)
        pixels[rank > end] = _TO_COME
        new = (rank > before) & (rank <= end)
        pixels[new] = 0.5 * pixels[new] + 0.5 * _NEW  # its value can still be seen
        top = _GAP + place // across * (zoom * height + _GAP)
        left = _GAP + place % across * (zoom * width + _GAP)
        paste(picture, pixels, top, left, zoom)
    return PIL.Image.fromarray((255 * picture).round().astype(np.uint8)).quantize(64)


@styled
def receptive_field(
    fields: ArrayLike, order: ArrayLike, at: ArrayLike, names: Sequence[str] | None = None, columns: int = 4
) -> Figure:
    """Draw how much a pixel's prediction depends on each other pixel, and to which earlier ones it is blind.

    Args:
        fields: the mean magnitude of the gradient of the prediction with respect to every pixel, shape `(m, H, W)`.
        order: the step at which each pixel is drawn, shape `(H, W)`, or `(m, H, W)`.
        at: row and column of the predicted pixel of each field, shape `(m, 2)`.
        names: what stands above each field; the pixel's row and column if left out.
        columns: at most so many side by side.

    Returns:
        The figure: influence from dark (strong) to pale on a logarithmic scale, later pixels in grey, earlier ones
        without any influence in red.

    Raises:
        DataError: if the shapes don't fit one another.
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch, Rectangle

    influence, places, ranks = np.asarray(fields, np.float64), np.asarray(at, np.int64), np.asarray(order, np.float64)
    if influence.ndim != 3 or places.shape != (len(influence), 2) or not influence.size:
        raise DataError(
            f"fields of shape {influence.shape} and places of shape {places.shape}: they must be (m, H, W) and (m, 2)"
        )
    shape = influence.shape[1:]
    if ranks.shape not in (influence.shape, shape):
        raise DataError(f"the order has shape {ranks.shape}: it must be that of a field, {shape}")
    if not ((places >= 0) & (places < shape)).all():
        raise DataError(f"a predicted pixel lies outside a field of shape {shape}: {places.tolist()}")
    across = min(columns, len(influence))
    down = math.ceil(len(influence) / across)
    side = min(7.5 / max(across, 2), 3.4)
    height = side * down * shape[0] / shape[1] + 0.4 * down
    figure, grid = panels(side * across, height, down, across, squeeze=False)
    for axes in grid.flat:
        bare(axes)
        axes.set_xticks([])
        axes.set_yticks([])
    blind_anywhere = False
    drawn = zip(grid.flat, influence, np.broadcast_to(ranks, influence.shape), places, strict=False)
    for number, (axes, field, rank, (row, column)) in enumerate(drawn):
        strongest = field.max() if field.max() > 0 else 1.0
        depth = np.log10(np.where(field > 0, field / strongest, 1.0)) / _DECADES  # 0 for the strongest, -1 a long way down
        blind = (rank < rank[row, column]) & (field <= 0)
        blind_anywhere |= bool(blind.any())
        axes.imshow(np.ones_like(field), cmap=ListedColormap([_LATER]))
        axes.imshow(np.ma.masked_where(~blind, blind), cmap=ListedColormap([VERMILION]))
        axes.imshow(np.ma.masked_where(field <= 0, np.clip(depth, -1, 0)), cmap="YlGnBu", vmin=-1.25, vmax=0)
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=BLACK, lw=1.6, clip_on=False))
        axes.set_title(f"pixel ({row}, {column})" if names is None else names[number], loc="left", pad=6)
    handles = [
        Rectangle((0, 0), 1, 1, fill=False, edgecolor=BLACK, label="the pixel that is predicted"),
        Patch(color="#225ea8", label="strong influence"),
        Patch(color="#c7e9b4", label=f"weak (to {10**-_DECADES:.0e} of the strongest)"),
        Patch(color=_LATER, label="drawn later"),
    ]
    if blind_anywhere:
        handles.append(Patch(color=VERMILION, label="blind to: drawn earlier, without influence"))
    legend(figure, handles, columns=2)
    return figure
