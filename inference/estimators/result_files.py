"""Results as files: plain values as JSON, posterior draws as ArviZ holds them.

ArviZ holds groups of variables in an ``InferenceData`` of its own, and from version 1, which needs Python 3.12, in a
``DataTree`` of xarray. Files of the one can be read with the other.

Axes: chains, draws, data.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyrogen.errors import DataError
from pyrogen.saving import replace_file

__all__ = [
    "arviz_data",
    "arviz_group",
    "as_chains",
    "as_draws",
    "load_arviz",
    "read_netcdf",
    "read_record",
    "write_netcdf",
    "write_record",
]


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
    """Write what `arviz_data` made to a file."""
    with replace_file(path) as temporary:
        found.to_netcdf(str(temporary), engine="h5netcdf")


def read_netcdf(path: str | Path) -> Any:
    """Read what `write_netcdf` wrote.

    Raises:
        DataError: the file is missing or damaged.
    """
    arviz = load_arviz()
    try:
        if _has_inference_data(arviz):
            return arviz.from_netcdf(str(path))
        with arviz.from_netcdf(str(path), engine="h5netcdf") as found:
            return found.load()  # for the file may be replaced
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} is damaged or missing ({error}): save the result again") from error


def load_arviz() -> Any:
    """ArviZ, imported late and without the announcement of its next version that it makes once a day."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        import arviz
    return arviz


def arviz_data(groups: Mapping[str, Any]) -> Any:
    """Groups, each an ``xarray.Dataset``, as ArviZ holds them."""
    arviz = load_arviz()
    if _has_inference_data(arviz):
        return arviz.InferenceData(**groups)
    import xarray

    return xarray.DataTree.from_dict(dict(groups))


def arviz_group(values: Mapping[str, Any], dims: Sequence[str] = (), attrs: Mapping[str, Any] | None = None) -> Any:
    """Arrays of draws (chains, draws, ...) as a group; `dims` are the names of the axes after these two."""
    import xarray

    variables = {}
    for name, value in values.items():
        names = ["chain", "draw", *dims]
        names += [f"{name}_dim_{place}" for place in range(value.ndim - len(names))]
        variables[name] = xarray.Variable(names, value)
    sizes = {dim: size for variable in variables.values() for dim, size in variable.sizes.items()}
    return xarray.Dataset(variables, {dim: range(size) for dim, size in sizes.items()}, dict(attrs or {}))


def _has_inference_data(arviz: Any) -> bool:
    return int(arviz.__version__.partition(".")[0]) < 1


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
