"""How images and vectors are laid out in a figure: mosaics, heat strips, points in the plane.

Data of shape (C, H, W) with C = 1 or 3 are images, data of shape (D,) vectors. Values of images are clipped to [0, 1].
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from pyrogen.errors import DataError

from .records import Array
from .style import caption, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["bare", "checked", "colours", "mosaic", "paste", "plane", "strips"]

_TILE = 48  # pixels of an image's longer side, at least, so that the gaps between images stay thin
_GAP = 5  # pixels between images
_BREAK = 16  # pixels between blocks of images
_WIDTH = 7.5  # inches
_TITLE_LETTER = 0.08  # inches, on average


def checked(values: ArrayLike, name: str, leading: int) -> Array:
    """Check the one thing that all pictures ask of their data: `leading` axes, then an image or a vector."""
    try:
        data = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} are not an array of numbers ({error}): save them again") from error
    shape = data.shape[leading:]
    if not (len(shape) == 1 or (len(shape) == 3 and shape[0] in (1, 3))):
        raise DataError(
            f"{name} have shape {data.shape}: after {leading} leading axes expected (C, H, W) with C = 1 or 3, or (D,)"
        )
    if data.size == 0:
        raise DataError(f"{name} have shape {data.shape}, which holds nothing to draw: leave them out")
    return data


def colours(image: Array) -> Array:
    """An image (C, H, W) as pixels (H, W, 3), clipped to [0, 1]; what is not a number is grey."""
    pixels = np.nan_to_num(np.clip(image, 0, 1), nan=0.5)
    result: Array = np.broadcast_to(pixels, (3, *image.shape[1:])).transpose(1, 2, 0).copy()
    return result


def paste(picture: Array, pixels: Array, top: int, left: int, zoom: int) -> None:
    """Put pixels (H, W, 3) into a picture, each as a square of `zoom` pixels to a side."""
    tile = pixels.repeat(zoom, 0).repeat(zoom, 1)  # (zoom H, zoom W, 3)
    picture[top : top + len(tile), left : left + tile.shape[1]] = tile


def mosaic(
    rows: Sequence[Array], names: Sequence[str], title: str, every: int = 0, below: str = "", apart: Sequence[int] = ()
) -> Figure:
    """Draw rows of images, each row (columns, C, H, W), with wider gaps after `every` so many rows and some columns."""
    height, width = rows[0].shape[2:]
    zoom = max(1, math.ceil(_TILE / max(height, width)))
    columns = max(len(row) for row in rows)
    breaks = [_BREAK if every and place % every == every - 1 else _GAP for place in range(len(rows))]
    total = zoom * height * len(rows) + sum(breaks[:-1])
    lefts = [place * (zoom * width + _GAP) + (_BREAK - _GAP) * sum(place > end for end in apart) for place in range(columns)]
    picture = np.ones((total, lefts[-1] + zoom * width, 3))
    middles, top = [], 0
    for row, gap in zip(rows, breaks, strict=True):
        for place, image in enumerate(row):
            paste(picture, colours(image), top, lefts[place], zoom)
        middles.append(top + zoom * height / 2 - 0.5)
        top += zoom * height + gap

    # Small grids are not blown up to the page's width; tall ones are kept on a screen.
    inches = min(_WIDTH, 0.8 * columns * max(1.0, width / height))
    scale = min(inches / picture.shape[1], 10 / picture.shape[0])
    margin = 1.2 if any(names) else 0.2
    wide = picture.shape[1] * scale
    lines = textwrap.wrap(title, max(24, round(wide / _TITLE_LETTER)))
    tall = picture.shape[0] * scale + (0.75 if below else 0.5) + 0.17 * (len(lines) - 1)
    figure, axes = panels(max(wide + margin, 3.0), tall)
    axes.imshow(picture, interpolation="nearest")
    axes.set_yticks(middles if any(names) else [], labels=names if any(names) else [])
    axes.set_xticks([])
    caption(axes, "\n".join(lines), x=below)
    bare(axes)
    return figure


def strips(blocks: Sequence[Array], names: Sequence[Sequence[str]], title: str, side: str = "") -> Figure:
    """Draw blocks of vectors, each (strips, D), as rows of colour with an empty row between blocks."""
    dimensions = blocks[0].shape[1]
    empty = np.full((1, dimensions), np.nan)
    lines = np.concatenate([part for block in blocks for part in (block, empty)])[:-1]
    labels = [name for block in names for name in (*block, "")][:-1]
    figure, axes = panels(_WIDTH, min(max(1.2 + 0.17 * len(lines), 2.2), 10))
    drawn = axes.imshow(np.ma.masked_invalid(lines), aspect="auto", cmap="cividis", interpolation="nearest")
    ticks = [place for place, name in enumerate(labels) if name]
    axes.set_yticks(ticks, labels=[labels[place] for place in ticks])
    if dimensions <= 20:
        axes.set_xticks(range(dimensions))
    caption(axes, title, x="dimension of the data, counted from 0", y=side)
    bare(axes)
    bar = figure.colorbar(drawn, ax=axes, pad=0.02, aspect=30)
    bar.set_label("value")
    bar.outline.set_visible(False)
    return figure


def plane(title: str) -> tuple[Figure, Axes]:
    """A figure of two axes of equal scale."""
    figure, axes = panels(5.2, 5.0)
    axes.set_aspect("equal", adjustable="datalim")
    caption(axes, title, x="dimension 0", y="dimension 1", grid="xy")
    return figure, axes


def bare(axes: Axes) -> None:
    """Take away all that frames a picture."""
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
