"""Pictures of data, be they images or vectors: reconstructions, samples, walks through the latent space.

Data of shape (C, H, W) with C = 1 or 3 are drawn as images; data of shape (D,) as heat strips, one strip a
datum, or as points in the plane where D = 2. Values of images are clipped to [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from pyrogen.errors import DataError

from .records import Array
from .style import BLUE, GREY, VERMILION, canvas, caption, legend, looks, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["reconstructions", "samples", "traversal"]

_TILE = 48  # pixels of an image's longer side, at least, so that the gaps between images stay thin
_GAP = 5  # pixels between images
_BREAK = 16  # pixels between blocks of images
_WIDTH = 7.5  # inches


@styled
def reconstructions(inputs: ArrayLike, reconstructions: ArrayLike, limit: int = 20) -> Figure:
    """Draws data above what the pair makes of them.

    Args:
        inputs: data, shape `(n, C, H, W)` or `(n, D)`, values in about [0, 1].
        reconstructions: the means that the model gives back, of the same shape.
        limit: at most so many are drawn, the first ones.

    Returns:
        The figure.

    Raises:
        DataError: if the shapes differ, or are neither images nor vectors, or there are no data.
    """
    above, below = _data(inputs, "inputs", 1), _data(reconstructions, "reconstructions", 1)
    if above.shape != below.shape:
        raise DataError(f"inputs of shape {above.shape} and reconstructions of shape {below.shape} must be alike")
    above, below = above[:limit], below[:limit]
    if above.ndim == 2 and above.shape[1] == 2:
        return _moved_points(above, below)
    if above.ndim == 2:
        blocks = [np.stack([one, other]) for one, other in zip(above[:12], below[:12], strict=True)]
        return _strips(blocks, [["input", "reconstruction"]] * len(blocks), "Data and their reconstructions")
    columns = min(len(above), 10)
    # Pairs of rows: inputs 0..9, reconstructions 0..9, inputs 10..19, ...
    starts = range(0, len(above), columns)
    rows = [part[start : start + columns] for start in starts for part in (above, below)]
    return _mosaic(rows, ["input", "reconstruction"] * len(starts), "Data and their reconstructions", every=2)


@styled
def samples(samples: ArrayLike, limit: int = 100) -> Figure:
    """Draws what the model makes up on its own.

    Args:
        samples: shape `(m, C, H, W)` or `(m, D)`, values in about [0, 1].
        limit: at most so many are drawn, the first ones; points in the plane are all drawn.

    Returns:
        The figure.

    Raises:
        DataError: if the data are neither images nor vectors, or there are none.
    """
    data = _data(samples, "samples", 1)
    if data.ndim == 2 and data.shape[1] == 2:
        figure, axes = _plane("Samples from the model")
        axes.plot(data[:, 0], data[:, 1], ".", color=BLUE, alpha=0.5, ms=4, mew=0)
        return figure
    data = data[:limit]
    if data.ndim == 2:
        return _strips([data], [[""] * len(data)], "Samples from the model", "samples, one a row")
    columns = math.ceil(math.sqrt(len(data)))
    rows = [data[start : start + columns] for start in range(0, len(data), columns)]
    return _mosaic(rows, [""] * len(rows), "Samples from the model")


@styled
def traversal(traversal: ArrayLike, limit: int = 16) -> Figure:
    """Draws how the model's mean changes while one latent coordinate moves and the others are held.

    Args:
        traversal: shape `(latent_dims, steps, C, H, W)` or `(latent_dims, steps, D)`.
        limit: at most so many latent coordinates are drawn, the first ones.

    Returns:
        The figure, one latent coordinate a row.

    Raises:
        DataError: if the data are neither images nor vectors, or there are none.
    """
    data = _data(traversal, "traversal", 2)[:limit]
    title = "One latent coordinate moved at a time, the most varied one first"
    names = [f"latent {place}." for place in range(1, len(data) + 1)]
    if data.ndim == 3 and data.shape[2] == 2:
        figure, axes = _plane(title)
        handles: list[Any] = []
        for path, name, look in zip(data, names, looks([{"kind": ""}] * len(data)), strict=True):
            handles += axes.plot(path[:, 0], path[:, 1], color=look.color, ls=look.dash, marker=".", label=name)
        legend(figure, handles, columns=5)
        return figure
    if data.ndim == 3:
        labels = [[name if step == data.shape[1] // 2 else "" for step in range(data.shape[1])] for name in names]
        return _strips(list(data), labels, title, "low to high, downwards")
    return _mosaic(list(data), names, title, below="low  →  high")


def _data(values: ArrayLike, name: str, leading: int) -> Array:
    """Checks the one thing that all pictures ask of their data: `leading` axes, then an image or a vector."""
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


def _mosaic(rows: Sequence[Array], names: Sequence[str], title: str, every: int = 0, below: str = "") -> Figure:
    """Draws rows of images, each row (columns, C, H, W), with a wider gap after `every` so many rows."""
    height, width = rows[0].shape[2:]
    zoom = max(1, math.ceil(_TILE / max(height, width)))
    columns = max(len(row) for row in rows)
    breaks = [_BREAK if every and place % every == every - 1 else _GAP for place in range(len(rows))]
    total = zoom * height * len(rows) + sum(breaks[:-1])
    picture = np.ones((total, columns * (zoom * width + _GAP) - _GAP, 3))
    middles, top = [], 0
    for row, gap in zip(rows, breaks, strict=True):
        for place, image in enumerate(row):
            pixels = np.nan_to_num(np.clip(image, 0, 1), nan=0.5)
            pixels = np.broadcast_to(pixels, (3, height, width)).transpose(1, 2, 0)  # (H, W, 3)
            left = place * (zoom * width + _GAP)
            # (zoom H, zoom W, 3)
            tile = pixels.repeat(zoom, axis=0).repeat(zoom, axis=1)
            picture[top : top + zoom * height, left : left + zoom * width] = tile
        middles.append(top + zoom * height / 2 - 0.5)
        top += zoom * height + gap

    # Small grids are not blown up to the page's width; tall ones are kept on a screen.
    inches = min(_WIDTH, 0.8 * columns * max(1.0, width / height))
    scale = min(inches / picture.shape[1], 10 / picture.shape[0])
    margin = 1.2 if any(names) else 0.2
    figure = canvas(max(picture.shape[1] * scale + margin, 3.0), picture.shape[0] * scale + (0.75 if below else 0.5))
    axes = figure.subplots()
    axes.imshow(picture, interpolation="nearest")
    axes.set_yticks(middles if any(names) else [], labels=names if any(names) else [])
    axes.set_xticks([])
    axes.set_xlabel(below)
    _bare(axes)
    caption(axes, title)
    return figure


def _strips(blocks: Sequence[Array], names: Sequence[Sequence[str]], title: str, side: str = "") -> Figure:
    """Draws blocks of vectors, each (strips, D), as rows of colour with an empty row between blocks."""
    dimensions = blocks[0].shape[1]
    empty = np.full((1, dimensions), np.nan)
    lines = np.concatenate([part for block in blocks for part in (block, empty)])[:-1]
    labels = [name for block in names for name in (*block, "")][:-1]
    figure = canvas(_WIDTH, min(max(1.2 + 0.17 * len(lines), 2.2), 10))
    axes = figure.subplots()
    drawn = axes.imshow(np.ma.masked_invalid(lines), aspect="auto", cmap="cividis", interpolation="nearest")
    ticks = [place for place, name in enumerate(labels) if name]
    axes.set_yticks(ticks, labels=[labels[place] for place in ticks])
    if dimensions <= 20:
        axes.set_xticks(range(dimensions))
    axes.set_xlabel("dimension of the data, counted from 0")
    axes.set_ylabel(side)
    _bare(axes)
    caption(axes, title)
    bar = figure.colorbar(drawn, ax=axes, pad=0.02, aspect=30)
    bar.set_label("value")
    bar.outline.set_visible(False)
    return figure


def _plane(title: str) -> tuple[Figure, Axes]:
    figure = canvas(5.2, 5.0)
    axes = figure.subplots()
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel("dimension 0")
    axes.set_ylabel("dimension 1")
    axes.grid(visible=True, axis="both")
    caption(axes, title)
    return figure, axes


def _moved_points(above: Array, below: Array) -> Figure:
    figure, axes = _plane("Data and their reconstructions")
    for start, end in zip(above, below, strict=True):
        axes.plot([start[0], end[0]], [start[1], end[1]], color=GREY, lw=0.8)
    handles = axes.plot(above[:, 0], above[:, 1], "o", color=BLUE, label="input")
    handles += axes.plot(below[:, 0], below[:, 1], "s", color=VERMILION, ms=4.5, label="reconstruction")
    legend(figure, handles)
    return figure


def _bare(axes: Axes) -> None:
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
