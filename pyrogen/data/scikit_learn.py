"""Data by way of scikit-learn: the digits that it embeds, and tables of openml.org, which it fetches and keeps."""

from __future__ import annotations

from ..errors import ConfigurationError, DataError
from .rows import RawRows, Source
from .tabular_files import from_frame

__all__ = ["read_digits", "read_openml"]


def read_digits(location: str, *, labels: bool, seed: int) -> Source:
    """Read `digits`: 1797 images of 8x8 pixels, integers from 0 to 16, with the digit as the label; needs no network.

    Reference:
        E. Alpaydin, C. Kaynak (1998), "Optical recognition of handwritten digits", https://doi.org/10.24432/C50P49

    Raises:
        ConfigurationError: if a location is named.

    Example:
        >>> read_digits("", labels=False, seed=0).train.values.shape
        (1797, 8, 8)
    """
    if location:
        raise ConfigurationError(f"digits:{location}: digits are embedded and have no location: write digits")
    from sklearn.datasets import load_digits

    found = load_digits()
    rows = RawRows("digits", found.images, found.target)
    return Source("digits", "1797 handwritten digits of 8x8 pixels, from scikit-learn.", rows, scale=16.0)


def read_openml(location: str, *, labels: bool, seed: int) -> Source:
    """Read `openml:NAME` or `openml:NAME@VERSION`; without a version, the oldest active one. Its target is the labels.

    Raises:
        ConfigurationError: if no name is given, or the version isn't a number.
        DataError: if it can't be fetched, has columns that aren't numbers, or no single target.

    Example:
        >>> read_openml("", labels=False, seed=0)
        Traceback (most recent call last):
        ...
        pyrogen.errors.ConfigurationError: openml needs a name: write openml:NAME or openml:NAME@VERSION
    """
    name, _, version = location.partition("@")
    if not name:
        raise ConfigurationError("openml needs a name: write openml:NAME or openml:NAME@VERSION")
    if version and not version.isdecimal():
        raise ConfigurationError(f"openml:{location}: the version {version!r} isn't a number")
    from http.client import HTTPException

    from sklearn.datasets import fetch_openml

    where = f"openml:{location}"
    try:
        found = fetch_openml(name, version=int(version) if version else "active", as_frame=True, parser="auto")
    except (OSError, HTTPException) as error:  # URLError, HTTPError and TimeoutError are OSErrors
        raise DataError(
            f"{where}: can't be fetched ({error}): openml needs the network; go online, or save the table "
            "as a file elsewhere and load that"
        ) from error
    except ValueError as error:  # scikit-learn's word for an unknown name, and for sparse data
        raise DataError(f"{where}: can't be used ({error}): check its name on openml.org") from error
    target = found.target if labels else None
    if labels and (target is None or target.ndim != 1):
        raise DataError(f"{where}: there are no labels, or several for a row: load it with labels=False")
    return from_frame(found.data, target, where=where, name=name)
