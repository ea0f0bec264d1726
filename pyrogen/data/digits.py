"""Handwritten digits of 8x8 pixels, embedded in scikit-learn: data for a machine without a network.

Reference: E. Alpaydin, C. Kaynak (1998), "Optical recognition of handwritten digits",
https://doi.org/10.24432/C50P49
"""

from __future__ import annotations

from ..errors import ConfigurationError
from .rows import Rows, Source

__all__ = ["read"]


def read(location: str, *, labels: bool, seed: int) -> Source:
    """Read `digits`: 1797 images of 8x8 pixels, integers from 0 to 16, with the digit as the label.

    Raises:
        ConfigurationError: if a location is named.

    Example:
        >>> read("", labels=False, seed=0).train.values.shape
        (1797, 8, 8)
    """
    if location:
        raise ConfigurationError(f"digits:{location}: digits are embedded and have no location: write digits")
    from sklearn.datasets import load_digits

    found = load_digits()
    rows = Rows("digits", found.images, found.target)
    return Source("digits", "1797 handwritten digits of 8x8 pixels, from scikit-learn.", rows, scale=16.0)
