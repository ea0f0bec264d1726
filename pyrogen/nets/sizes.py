"""Sizes of layers and images, checked in one place."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

from pyrogen.errors import ConfigurationError

__all__ = ["image_shape", "positive_size", "positive_sizes"]


def positive_size(name: str, size: Any) -> int:
    """A size as a plain integer of at least 1.

    Args:
        name: what the size is of, for the message.
        size: an integer, of any integer type but bool.

    Raises:
        ConfigurationError: it is not a positive integer.

    Example:
        >>> positive_size("latent", 20)
        20
    """
    try:
        value = operator.index(size)
    except TypeError:
        value = 0
    if value < 1 or isinstance(size, bool):
        raise ConfigurationError(f"{name} must be a positive integer, not {size!r}")
    return value


def positive_sizes(name: str, sizes: Any) -> tuple[int, ...]:
    """Several sizes, each checked by `positive_size`; there may be none.

    Raises:
        ConfigurationError: it is not a sequence of positive integers.

    Example:
        >>> positive_sizes("hidden", [400, 200])
        (400, 200)
    """
    if isinstance(sizes, (str, bytes)) or not isinstance(sizes, Iterable):
        raise ConfigurationError(f"{name} must be a sequence of positive integers, not {sizes!r}")
    return tuple(positive_size(f"each size in {name}", size) for size in sizes)


def image_shape(shape: Any) -> tuple[int, int, int]:
    """The shape of an image, (channels, height, width).

    Raises:
        ConfigurationError: it is not three positive integers.
    """
    sizes = positive_sizes("shape", shape)
    if len(sizes) != 3:
        raise ConfigurationError(
            f"a convolutional network needs the shape (channels, height, width) of an image, not {sizes}"
        )
    return sizes
