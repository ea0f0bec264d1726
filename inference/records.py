"""Results as files: plain values in JSON, written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyrogen.errors import DataError

__all__ = ["read_record", "write_record"]


def write_record(directory: str | Path, name: str, record: Mapping[str, Any]) -> Path:
    """Write a record into a directory, which is made if it is not there; the directory.

    A file of that name stays as it was until the new one is complete.
    """
    path = Path(directory)
    path.mkdir(parents=True, exist_ok=True)
    temporary = path / f"{name}.tmp"
    temporary.write_text(json.dumps(record, indent=1), encoding="utf-8")
    os.replace(temporary, path / name)
    return path


def read_record(directory: str | Path, name: str) -> dict[str, Any]:
    """Read what `write_record` wrote.

    Raises:
        DataError: the file is missing or damaged, or of another version.
    """
    path = Path(directory) / name
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: name the directory that it was saved to") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read ({error}): save it again") from error
    if not isinstance(record, dict) or record.get("version") != 1:
        raise DataError(f"{path} is no record of version 1: save it again")
    return record
