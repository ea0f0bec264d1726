"""A saved comparison: reading it, and refusing by name what is damaged.

The tables, the plots and the page all check their record here first, so that none of them need look again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyrogen.errors import DataError

__all__ = ["KINDS", "VERSION", "Array", "check_record", "column", "load_record", "read_json"]

Array = NDArray[np.float64]

VERSION = 1
KINDS = ("lower", "upper", "consistent", "exact")

_MEASURES = ("nats", "error", "spread", "bits_per_dimension", "worst_khat", "share_khat_above", "median_ess", "worst_ess")
_COSTS = ("evaluations", "gradients", "seconds")


def read_json(path: Path, remedy: str) -> Any:
    """What a JSON file holds.

    Raises:
        DataError: it is missing or no JSON; the message ends with the remedy.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: name the directory of a run that has it, or {remedy}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}): check its permissions") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid JSON ({error}): {remedy}") from error


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

    Args:
        record: what `load_record` returns, or the same built in memory.
        source: where it came from, for the error's message.

    Raises:
        DataError: names the source, the place in it and what was expected there.
    """

    def refuse(seen: str) -> DataError:
        return DataError(f"{source}: {seen}; save the comparison again")

    if not isinstance(record, Mapping):
        raise refuse(f"expected a mapping, got {type(record).__name__}")
    if record.get("version", VERSION) != VERSION:
        raise DataError(
            f"{source}: version {record['version']!r} of the format; this pyrogen reads version {VERSION}: "
            "use the pyrogen that wrote it, or save the comparison again"
        )
    if not isinstance(record.get("data", {}), Mapping):
        raise refuse("'data' is not a mapping")
    for name in ("rows", "estimates", "sentences"):
        if not isinstance(record.get(name, []), list | tuple):
            raise refuse(f"'{name}' is not a list")
    if "rows" not in record:
        raise refuse("it has no 'rows'")
    for place, row in enumerate(record["rows"]):
        where = f"rows[{place}]"
        if not isinstance(row, Mapping) or not isinstance(row.get("name"), str):
            raise refuse(f"{where} is not a mapping with a 'name'")
        if row.get("kind") not in KINDS:
            raise refuse(f"{where}: kind is {row.get('kind')!r}, not one of {', '.join(KINDS)}")
        if "nats" not in row:
            raise refuse(f"{where} has no 'nats'")
        for key in _MEASURES + _COSTS:
            if not isinstance(row.get(key), Real | None):
                raise refuse(f"{where}: {key} is {row[key]!r}, not a number or null")
        if not isinstance(row.get("warnings", []), list | tuple):
            raise refuse(f"{where}: 'warnings' is not a list")
    estimates = record.get("estimates", [])
    names = [estimate.get("name") if isinstance(estimate, Mapping) else None for estimate in estimates]
    if estimates and names != [row["name"] for row in record["rows"]]:
        raise refuse(f"'estimates' ({names}) are not those of 'rows', in the same order")
    for place, estimate in enumerate(estimates):
        for key in ("log_prob", "standard_error", "khat", "ess"):
            column(estimate.get(key), f"{source}: estimates[{place}].{key}")
        curve = estimate.get("curve")
        if curve is None:
            continue
        if not isinstance(curve, Mapping):
            raise refuse(f"estimates[{place}].curve is not a mapping")
        keys = ("particles", "bound", "error")
        lengths = [len(column(curve.get(key), f"{source}: estimates[{place}].curve.{key}")) for key in keys]
        if len(set(lengths)) != 1:
            raise refuse(f"estimates[{place}].curve: {keys} have different lengths {lengths}")


def column(values: Sequence[float | None] | None, where: str = "the values") -> Array:
    """Turn a saved list of numbers into an array, with NaN where there was no number.

    Args:
        values: numbers and nulls, or null for none at all.
        where: what they are, for the error's message.

    Returns:
        An array of floats, shape `(len(values),)`; empty for `None`.

    Raises:
        DataError: if something in the list is not a number.

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
