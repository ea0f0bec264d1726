"""A folder of PNG or JPEG images, all of one size."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np

from ..errors import ConfigurationError, DataError
from .files import MOST_INFLATION, existing_folder
from .rows import Array, RawRows, Source

__all__ = ["read"]

# Axes: data (rows, N), channels (1 or 3), height, width.

_SUFFIXES = (".png", ".jpg", ".jpeg")

# What Pillow calls the kinds of pixels, and what they are read as; an alpha channel isn't silently dropped.
_MODES = {
    "1": "L",
    "L": "L",
    "I;16": "I;16",
    "I;16B": "I;16",
    "P": "RGB",
    "RGB": "RGB",
    "CMYK": "RGB",
    "YCbCr": "RGB",
}


def read(location: str, *, labels: bool, seed: int) -> Source:
    """Read `images:DIRECTORY`: images in the folder itself, or in subfolders, which are classes, numbered in sorted order.

    The rows, (data, channels, height, width), come in the order of their paths.

    Raises:
        ConfigurationError: if no folder is named.
        DataError: if the folder is missing or has no images, or both images and classes, and for an image
            that is damaged, transparent, or of another size or kind than the first.
    """
    if not location:
        raise ConfigurationError("images needs a folder: write images:DIRECTORY")
    folder = existing_folder(location)
    here = _images(folder)
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and _images(path))
    if here and classes:
        raise DataError(
            f"{folder}: images both in the folder and in its subfolder {classes[0].name}: keep either, "
            "subfolders are classes"
        )
    paths = here or [path for each in classes for path in _images(each)]
    if not paths:
        raise DataError(f"{folder}: no images, here or in subfolders: files end in {', '.join(_SUFFIXES)}")
    marks = None if here else np.array([classes.index(path.parent) for path in paths], dtype=np.int64)
    values = _stack(paths)
    description = f"Images from {folder}, {len(paths)} of shape {values.shape[1:]}."
    return Source(folder.resolve().name, description, RawRows(str(folder), values, marks))


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES and path.is_file())


def _stack(paths: list[Path]) -> Array:
    first = _pixels(paths[0])
    values = np.empty((len(paths), *first.shape), dtype=first.dtype)
    for row, path in enumerate(paths):
        pixels = _pixels(path)
        if pixels.shape != first.shape or pixels.dtype != first.dtype:
            raise DataError(
                f"{path}: an image of shape {pixels.shape} and type {pixels.dtype}, but {paths[0]} has shape "
                f"{first.shape} and type {first.dtype}: bring all to one size and kind"
            )
        values[row] = pixels
    return values


def _pixels(path: Path) -> Array:
    from PIL import Image

    try:
        raw = path.read_bytes()  # a part of a file on the disk is read into as much memory as a damaged length says
        with Image.open(io.BytesIO(raw)) as image:
            if image.mode not in _MODES or "transparency" in image.info:
                raise DataError(f"{path}: pixels of kind {image.mode}, or transparent: save it as grey or RGB")
            if image.format == "PNG" and math.prod(image.size) // 8 > MOST_INFLATION * len(raw):
                raise DataError(f"{path}: claims {image.width} x {image.height} pixels, which it cannot hold: save it again")
            pixels = np.asarray(image.convert(_MODES[image.mode]))
    except DataError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # Pillow's of damaged files
        raise DataError(f"{path}: not an image, or a damaged one ({error}): save it again or take it out") from error
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)  # (channels, height, width)
