"""Sizes of layers and images, checked in one place."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

from pyrogen.errors import ConfigurationError

__all__ = ["dropout_probability", "image_shape", "odd_size", "positive_size", "positive_sizes"]


def positive_size(name: str, size: Any, least: int = 1) -> int:
    """A size as a plain integer of at least `least`, from any integer type but bool; the name is for the message.

    Raises:
        ConfigurationError: it is not.

    Example:
        >>> positive_size("latent", 20)
        20
    """
    try:
        value = operator.index(size)
    except TypeError:
        value = 0
    if value < least or isinstance(size, bool):
        wanted = "a positive integer" if least == 1 else f"an integer of at least {least}"
        raise ConfigurationError(f"{name} must be {wanted}, not {size!r}")
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


def odd_size(name: str, size: Any, least: int = 1) -> int:
    """An odd size, as the side of a kernel must be to have a middle.

    Raises:
        ConfigurationError: it is not an odd integer of at least `least`.

    Example:
        >>> odd_size("kernel", 5, least=3)
        5
    """
    value = positive_size(name, size)
    if value % 2 == 0 or value < least:
        raise ConfigurationError(f"{name} must be odd and at least {least}, not {value}")
    return value


def dropout_probability(dropout: float) -> float:
    """A probability of dropout, in [0, 1).

    Raises:
        ConfigurationError: it is not.
    """
    if not 0 <= dropout < 1:
        raise ConfigurationError(f"dropout must lie in [0, 1), not {dropout}")
    return dropout


def image_shape(shape: Any) -> tuple[int, int, int]:
    """The shape of an image, (channels, height, width).

    Raises:
        ConfigurationError: it is not three positive integers.
    """
    sizes = positive_sizes("shape", shape)
    if len(sizes) != 3:
        raise ConfigurationError(f"a convolutional network needs an image of shape (channels, height, width), not {sizes}")
    return sizes
