"""A saved comparison: reading it, and refusing by name what is damaged.

The tables, the plots and the page all check their record here first, so that none of them need look again.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Real
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from pyrogen.errors import DataError, PyrogenError

__all__ = ["DAMAGE", "KINDS", "VERSION", "Array", "check_record", "column", "load_record", "read_json", "reading"]

Array = NDArray[np.float64]

DAMAGE = (OSError, ValueError, TypeError, AttributeError, LookupError, EOFError, RecursionError, BadZipFile, zlib.error)
"""What the readers of JSON, text and arrays raise on a damaged file."""

VERSION = 1
KINDS = ("lower", "upper", "consistent", "exact")

_NUMBERS = (
    *("nats", "error", "spread", "bits_per_dimension", "worst_khat", "share_khat_above", "median_ess", "worst_ess"),
    *("evaluations", "gradients", "seconds"),
)


@contextmanager
def reading(
    path: Path, run: str, wrong: str, remedy: str, kind: type[PyrogenError] = DataError, damage: type[Exception] = ValueError
) -> Iterator[None]:
    """Make named errors, of a `kind`, of a file that is missing (which `run` has it?), unreadable, or damaged."""
    try:
        yield
    except FileNotFoundError:
        raise kind(f"{path} does not exist: name the directory of a run{run}") from None
    except PermissionError as error:
        raise kind(f"{path} cannot be read ({error}): check its permissions") from error
    except (*DAMAGE, damage) as error:
        raise kind(f"{path} {wrong} ({error}): {remedy}") from error


def read_json(path: Path, remedy: str) -> Any:
    """What a JSON file holds; `DataError`, with the remedy, where it is missing or no JSON."""
    with reading(path, run=f" that has it, or {remedy}", wrong="is not valid JSON", remedy=remedy):
        return json.loads(path.read_text(encoding="utf-8"))


def load_record(directory: str | Path) -> dict[str, Any]:
    """Read the `comparison.json` in a run's directory, the record that the tables and plots are made from.

    Returns:
        The record: `data`, `sentences`, `rows` and `estimates`, with numbers in nats per datum.

    Raises:
        DataError: the file is missing, is not JSON, or lacks what a comparison holds.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     text = '{"version": 1, "data": {"name": "coins"}, "rows": [], "estimates": []}'
        ...     _ = (Path(directory) / "comparison.json").write_text(text)
        ...     load_record(directory)["data"]["name"]
        'coins'
    """
    path = Path(directory) / "comparison.json"
    record = read_json(path, "save the comparison again")
    check_record(record, str(path))
    return dict(record)


def check_record(record: Any, source: str = "the record") -> None:
    """Refuse a record that the tables and plots could not be made from.

    Raises:
        DataError: names the source, the place in the record and what was expected there.
    """

    def require(right: bool, otherwise: str) -> None:
        if not right:
            raise DataError(f"{source}: {otherwise}; save the comparison again")

    require(isinstance(record, Mapping), f"expected a mapping, got {type(record).__name__}")
    if record.get("version", VERSION) != VERSION:
        raise DataError(
            f"{source}: version {record['version']!r} of the format; this pyrogen reads version {VERSION}: "
            "use the pyrogen that wrote it, or save the comparison again"
        )
    require(isinstance(record.get("data", {}), Mapping), "'data' is not a mapping")
    for name in ("rows", "estimates", "sentences"):
        require(isinstance(record.get(name, []), list | tuple), f"'{name}' is not a list")
    require("rows" in record, "it has no 'rows'")
    for place, row in enumerate(record["rows"]):
        where = f"rows[{place}]"
        require(isinstance(row, Mapping) and isinstance(row.get("name"), str), f"{where} is not a mapping with a 'name'")
        kind = row.get("kind")
        require(kind in KINDS, f"{where}: kind is {kind!r}, not one of {', '.join(KINDS)}")
        require("nats" in row, f"{where} has no 'nats'")
        for key in _NUMBERS:
            require(isinstance(row.get(key), Real | None), f"{where}: {key} is {row.get(key)!r}, not a number or null")
        require(isinstance(row.get("warnings", []), list | tuple), f"{where}: 'warnings' is not a list")
    estimates = record.get("estimates", [])
    names = [estimate.get("name") if isinstance(estimate, Mapping) else None for estimate in estimates]
    same = not estimates or names == [row["name"] for row in record["rows"]]
    require(same, f"'estimates' ({names}) are not those of 'rows', in the same order")
    for place, estimate in enumerate(estimates):
        where = f"estimates[{place}]"
        for key in ("log_prob", "standard_error", "khat", "ess"):
            column(estimate.get(key), f"{source}: {where}.{key}")
        curve = {} if estimate.get("curve") is None else estimate["curve"]
        require(isinstance(curve, Mapping), f"{where}.curve is not a mapping")
        keys = ("particles", "bound", "error")
        lengths = [len(column(curve.get(key), f"{source}: {where}.curve.{key}")) for key in keys]
        require(len(set(lengths)) == 1, f"{where}.curve: {keys} have different lengths {lengths}")


def column(values: Sequence[float | None] | None, where: str = "the values") -> Array:
    """Turn a saved list of numbers into an array, with NaN where there was no number.

    Returns:
        An array of floats, shape `(len(values),)`; empty for `None`.

    Raises:
        DataError: something in the list is not a number; says `where`.

    Example:
        >>> column([0.5, None])
        array([0.5, nan])
    """
    if values is None:
        return np.empty(0)
    try:
        return np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where} is not a list of numbers ({error}); save it again") from error
