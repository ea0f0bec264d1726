"""The order of generation as an animation: images grow pixel by pixel, or group by group."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from pyrogen.errors import DataError

from .layout import checked, colours, paste
from .records import Array

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["generation"]

_TILE = 72  # pixels of an image's longer side, at least
_GAP = 6
_TO_COME = np.array([0.80, 0.84, 0.90])  # pale blue, told apart from every grey
_NEW = np.array([0.84, 0.37, 0.0])  # vermilion
_LAST = 2000  # milliseconds for which the finished images stand


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
        DataError: if the shapes don't fit one another, or the samples are no images.
    """
    images, rank = checked(samples, "samples", 1)[:limit], np.asarray(order, np.float64)
    if images.ndim != 4 or rank.shape != images.shape[2:]:
        raise DataError(
            f"samples of shape {images.shape} and an order of shape {rank.shape}: they must be (m, C, H, W) and (H, W)"
        )
    steps = np.unique(rank)
    ends = steps[np.unique(np.linspace(0, len(steps) - 1, min(frames, len(steps))).round().astype(int))]
    shown = [_frame(images, rank, before, end) for before, end in zip([-np.inf, *ends[:-1]], ends, strict=True)]
    shown.append(_frame(images, rank, np.inf, np.inf))
    pause = max(20, round(1000 * seconds / len(ends)))
    buffer = io.BytesIO()
    shown[0].save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=shown[1:],
        duration=[pause] * len(ends) + [_LAST],
        loop=0,
        disposal=1,
    )
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
