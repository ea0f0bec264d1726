"""Pictures of data, be they images or vectors: reconstructions, samples, walks through the latent space.

Data of shape (C, H, W) with C = 1 or 3 are drawn as images; data of shape (D,) as heat strips, one strip a datum, or as
points in the plane where D = 2. Values of images are clipped to [0, 1]. All data must be of one of these shapes, and there
must be some, or a `DataError` is raised. At most `limit` data are drawn, the first ones.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from pyrogen.errors import DataError

from .layout import checked, mosaic, plane, strips
from .records import Array
from .style import BLUE, GREY, VERMILION, legend, looks, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["completions", "interpolation", "reconstructions", "samples", "traversal"]


@styled
def reconstructions(inputs: ArrayLike, reconstructions: ArrayLike, limit: int = 20) -> Figure:
    """Draw data above what the pair makes of them.

    Args:
        inputs: data, shape `(n, C, H, W)` or `(n, D)`, values in about [0, 1].
        reconstructions: the means that the model gives back, of the same shape.
        limit: at most so many are drawn.

    Raises:
        DataError: the shapes differ.
    """
    above, below = checked(inputs, "inputs", 1), checked(reconstructions, "reconstructions", 1)
    if above.shape != below.shape:
        raise DataError(f"inputs of shape {above.shape} and reconstructions of shape {below.shape} must be alike")
    above, below = above[:limit], below[:limit]
    if above.ndim == 2 and above.shape[1] == 2:
        return _moved_points(above, below)
    if above.ndim == 2:
        blocks = [np.stack([one, other]) for one, other in zip(above[:12], below[:12], strict=True)]
        return strips(blocks, [["input", "reconstruction"]] * len(blocks), "Data and their reconstructions")
    columns = min(len(above), 10)
    # Pairs of rows: inputs 0..9, reconstructions 0..9, inputs 10..19, ...
    starts = range(0, len(above), columns)
    rows = [part[start : start + columns] for start in starts for part in (above, below)]
    return mosaic(rows, ["input", "reconstruction"] * len(starts), "Data and their reconstructions", every=2)


@styled
def samples(samples: ArrayLike, limit: int = 100) -> Figure:
    """Draw what the model makes up on its own, shape `(m, C, H, W)` or `(m, D)`; points in the plane are all drawn."""
    data = checked(samples, "samples", 1)
    if data.ndim == 2 and data.shape[1] == 2:
        figure, axes = plane("Samples from the model")
        axes.plot(data[:, 0], data[:, 1], ".", color=BLUE, alpha=0.5, ms=4, mew=0)
        return figure
    data = data[:limit]
    if data.ndim == 2:
        return strips([data], [[""] * len(data)], "Samples from the model", "samples, one a row")
    columns = math.ceil(math.sqrt(len(data)))
    rows = [data[start : start + columns] for start in range(0, len(data), columns)]
    return mosaic(rows, [""] * len(rows), "Samples from the model")


@styled
def completions(completed: ArrayLike, known: ArrayLike, completions: ArrayLike, limit: int = 12) -> Figure:
    """Draw the known part of data, several ways in which the model goes on from it, and how the data really go on.

    Args:
        completed: the data, shape `(n, C, H, W)` or `(n, D)`, values in about [0, 1].
        known: 1 where an element was given to the model, 0 where not; the shape of a datum.
        completions: what the model made of them, shape `(n, k, C, H, W)` or `(n, k, D)`.
        limit: at most so many data are drawn.

    Returns:
        The figure, one datum a row: what was given (the rest in grey), k completions, the datum.

    Raises:
        DataError: the shapes don't fit one another.
    """
    data, made = checked(completed, "completed", 1)[:limit], checked(completions, "completions", 2)[:limit]
    mask = checked(known, "known", 0)
    if mask.shape != data.shape[1:] or made.shape[2:] != data.shape[1:] or len(made) != len(data):
        raise DataError(
            f"data of shape {data.shape}, a mask of shape {mask.shape} and completions of shape {made.shape} don't fit"
        )
    given = np.where(mask > 0, data, np.nan)
    rows = [np.concatenate([one[None], many, real[None]]) for one, many, real in zip(given, made, data, strict=True)]
    title = "What was given, ways in which the model goes on, and the datum itself"
    if data.ndim == 2:
        names = [["given", *[""] * made.shape[1], "datum"]] * len(rows)
        return strips(rows, names, title)
    return mosaic(rows, [""] * len(rows), title, below="given  |  completions  |  datum", apart=(0, made.shape[1]))


@styled
def traversal(traversal: ArrayLike, limit: int = 16) -> Figure:
    """Draw how the model's mean changes while one latent coordinate, a row each, moves and the others are held.

    The means have shape `(latent_dims, steps, C, H, W)` or `(latent_dims, steps, D)`.
    """
    data = checked(traversal, "traversal", 2)[:limit]
    names = [f"latent {place}." for place in range(1, len(data) + 1)]
    return _walks(data, names, "One latent coordinate moved at a time, the most varied one first", ("low", "high"))


@styled
def interpolation(walks: ArrayLike, limit: int = 16) -> Figure:
    """Draw how the model's mean changes on the way from one datum to another.

    The means have shape `(n, steps, C, H, W)` or `(n, steps, D)`.
    """
    data = checked(walks, "walks", 2)[:limit]
    names = [f"walk {place}" for place in range(1, len(data) + 1)]
    return _walks(data, names, "From one datum to another, through their latents", ("one", "other"))


def _walks(data: Array, names: list[str], title: str, ends: tuple[str, str]) -> Figure:
    if data.ndim == 3 and data.shape[2] == 2:
        figure, axes = plane(title)
        handles: list[Any] = []
        for path, name, look in zip(data, names, looks([{"kind": ""}] * len(data)), strict=True):
            handles += axes.plot(path[:, 0], path[:, 1], color=look.color, ls=look.dash, marker=".", label=name)
        legend(figure, handles, columns=5)
        return figure
    if data.ndim == 3:
        labels = [[name if step == data.shape[1] // 2 else "" for step in range(data.shape[1])] for name in names]
        return strips(list(data), labels, title, f"{ends[0]} to {ends[1]}, downwards")
    return mosaic(list(data), names, title, below=f"{ends[0]}  →  {ends[1]}")


def _moved_points(above: Array, below: Array) -> Figure:
    figure, axes = plane("Data and their reconstructions")
    for start, end in zip(above, below, strict=True):
        axes.plot([start[0], end[0]], [start[1], end[1]], color=GREY, lw=0.8)
    handles = axes.plot(above[:, 0], above[:, 1], "o", color=BLUE, label="input")
    handles += axes.plot(below[:, 0], below[:, 1], "s", color=VERMILION, ms=4.5, label="reconstruction")
    legend(figure, handles)
    return figure
