"""Results as files: plain values as JSON, posterior draws as ArviZ holds them.

Axes: chains, draws, data.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyrogen.errors import DataError
from pyrogen.saving import replace_file

__all__ = ["as_chains", "as_draws", "load_arviz", "read_netcdf", "read_record", "write_netcdf", "write_record"]


def write_record(directory: str | Path, name: str, record: Mapping[str, Any]) -> Path:
    """Write a record into a directory, which is made if it is not there; the directory."""
    path = Path(directory)
    path.mkdir(parents=True, exist_ok=True)
    with replace_file(path / name) as temporary:
        temporary.write_text(json.dumps(record, indent=1), encoding="utf-8")
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


def write_netcdf(path: str | Path, found: Any) -> None:
    """Write an ``arviz.InferenceData`` to a file."""
    with replace_file(path) as temporary:
        found.to_netcdf(str(temporary))


def read_netcdf(path: str | Path) -> Any:
    """Read what `write_netcdf` wrote.

    Raises:
        DataError: the file is missing or damaged.
    """
    try:
        return load_arviz().from_netcdf(str(path))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} is damaged or missing ({error}): save the result again") from error


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
