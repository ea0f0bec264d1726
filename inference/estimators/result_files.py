"""Results as files: plain values as JSON, posterior draws as ArviZ holds them.

Axes: chains, draws, data.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyrogen.errors import DataError

__all__ = ["as_chains", "as_draws", "load_arviz", "read_record", "write_record"]


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


def load_arviz() -> Any:
    """ArviZ, imported late and without the announcement of its next version that it makes once a day."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        import arviz
    return arviz


def as_chains(value: Tensor) -> Any:
    """Independent draws as four chains where they divide, for the diagnostics that want several.

    Args:
        value: (draws, data, ...).

    Returns:
        An array (chains, draws of a chain, data, ...).
    """
    chains = 4 if value.shape[0] % 4 == 0 and value.shape[0] >= 16 else 1
    return value.detach().cpu().reshape(chains, -1, *value.shape[1:]).numpy()  # (chain, draw, data, event...)


def as_draws(values: Any) -> Tensor:
    """The inverse of `as_chains`: from an xarray of (chains, draws, data, ...) to (draws, data, ...)."""
    return torch.from_numpy(values.to_numpy().copy()).flatten(0, 1)  # (draws, data, event...)
