"""Tables from openml.org, through scikit-learn; scikit-learn keeps what it fetched."""

from __future__ import annotations

from ..errors import ConfigurationError, DataError
from .rows import Rows, Source
from .tabular_files import from_frame

__all__ = ["read"]


def read(location: str, *, labels: bool, seed: int) -> Source:
    """Read `openml:NAME` or `openml:NAME@VERSION`; without a version, the oldest active one.

    Args:
        location: the name of the data set, and after `@` its version, a number.
        labels: whether the data set's target is read as labels.

    Raises:
        ConfigurationError: if no name is given, or the version isn't a number.
        DataError: if it can't be fetched, has columns that aren't numbers, or no single target.

    Example:
        >>> read("", labels=False, seed=0)
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
    source = from_frame(found.data, where=where, name=name, labels=False)
    if not labels:
        return source
    if found.target is None or found.target.ndim != 1:
        raise DataError(f"{where}: there are no labels, or several for a row: load it with labels=False")
    rows = Rows(where, source.train.values, found.target.to_numpy(), source.train.columns)
    return Source(name, source.description, rows)
