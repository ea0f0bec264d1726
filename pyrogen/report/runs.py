"""What a run has left in its directory, read as far as it is there and refused by name where it is damaged.

A run directory may hold `comparison.json`, `usage.json`, `history.csv`, `pictures.npz` and `config.yaml`, and what a closer
look has left: `sandwich.json`, `gaps.json`, `posteriors.json` and `calibration.json`. The report reads them here and nowhere
else. Of `checkpoint.pt`, if it is there, it takes the fingerprint only, to tell which results are of its parameters.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pyrogen.errors import ConfigurationError, DataError
from pyrogen.run_directory import CHECKPOINT, checkpoint_fingerprint

from .records import DAMAGE, Array, load_record, read_json, reading
from .wording import plain

__all__ = ["LOOKS", "PICTURES", "RunFiles", "load_config", "load_history", "load_look", "load_pictures", "load_usage"]

PICTURES = (
    *("inputs", "reconstructions", "samples", "traversal"),
    *("completed", "known", "completions", "order", "receptive", "receptive_at"),
)

LOOKS = ("sandwich", "gaps", "posteriors", "calibration")
"""Closer looks at a run, by the names of their files."""

RESULTS = ("comparison.json", "usage.json", "pictures.npz", *(f"{name}.json" for name in LOOKS))
"""What the report reads that was computed from the run's parameters."""

_HISTORY = ("step", "epoch", "seconds", "loss", "validation", "beta", "steps_per_second")


@dataclass(frozen=True)
class RunFiles:
    """All that a run has left, read and checked; `None` or empty where there was no file.

    Attributes:
        record, history, arrays, config, usage: see `load_record`, `load_history`, `load_pictures`, `load_config`,
            `load_usage`.
        looks: records of closer looks, by their names in `LOOKS`.
        notes: which results are left out, and which are shown without knowing whether they belong here, in sentences.
    """

    record: dict[str, Any] | None
    history: dict[str, Array] | None
    arrays: dict[str, Array]
    config: str
    usage: list[dict[str, Any]] = field(default_factory=list)
    looks: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, directory: Path) -> RunFiles:
        """Read those of the run's files that are there, but no result of other parameters than the checkpoint's."""
        results, notes = _belonging(directory)
        return cls(
            record=load_record(directory) if "comparison.json" in results else None,
            history=load_history(directory) if (directory / "history.csv").exists() else None,
            arrays=load_pictures(directory) if "pictures.npz" in results else {},
            config=load_config(directory) if (directory / "config.yaml").exists() else "",
            usage=load_usage(directory) if "usage.json" in results else [],
            looks={name: load_look(directory, name) for name in LOOKS if f"{name}.json" in results},
            notes=notes,
        )


def _belonging(directory: Path) -> tuple[list[str], list[str]]:
    """The result files that are there and not of other parameters than the checkpoint's, and what to say of them."""
    names = [name for name in RESULTS if (directory / name).exists()]
    if not names or not (directory / CHECKPOINT).exists():
        return names, []
    here = checkpoint_fingerprint(directory)
    if here is None:
        return names, [f"{CHECKPOINT} cannot be read, so that nothing tells whether {', '.join(names)} belong to it."]
    told = {name: _parameters_of(directory / name) for name in names}
    stale = [name for name, parameters in told.items() if parameters not in (None, here)]
    unmarked = [name for name, parameters in told.items() if parameters is None]
    notes = [f"{name} is left out: it was computed with other parameters than {CHECKPOINT} holds." for name in stale]
    if unmarked:
        notes.append(
            f"{', '.join(unmarked)}: nothing says with which parameters this was computed (older versions did not write it "
            f"down), so that it may not belong to {CHECKPOINT}; compute it again to be sure."
        )
    return [name for name in names if name not in stale], notes


def _parameters_of(path: Path) -> str | None:
    """The fingerprint that a result names; `None` where it names none, or cannot be read."""
    try:
        if path.suffix == ".npz":
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                return str(archive["parameters"])
        found = json.loads(path.read_text(encoding="utf-8"))
        named = (found[0] if isinstance(found, list) else found)["parameters"]
    except DAMAGE:
        return None
    return None if named is None else str(named)


def load_look(directory: str | Path, name: str) -> dict[str, Any]:
    """Read the record that a closer look, one of `LOOKS`, has left; `DataError` if it is missing, damaged or too new."""
    path = Path(directory) / f"{name}.json"
    found = read_json(path, "look again, or delete it")
    if not isinstance(found, dict) or found.get("version") != 1:
        raise DataError(f"{path} is no record of version 1: look again, or delete it")
    return found


def load_history(directory: str | Path) -> dict[str, Array]:
    """Read the `history.csv` in a run's directory.

    Returns:
        One array a column, all of one length, NaN where nothing was measured; `loss` (of an objective with several phases
        `loss.NAME` for each) and `validation` are in nats per datum.

    Raises:
        DataError: the file is missing, or a line is not what its header says; names the line.
    """
    path = Path(directory) / "history.csv"
    remedy = "restore it from a copy"
    trouble = reading(path, " that has been trained", "cannot be read as CSV", remedy, damage=csv.Error)
    with trouble, path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    header = lines[0] if lines else []
    if "step" not in header or not losses(header):
        raise DataError(f"{path}, line 1: the header is {header}; it must be {','.join(_HISTORY)}")
    table = np.empty((len(lines) - 1, len(header)))
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(header):
            raise DataError(
                f"{path}, line {number}: {len(line)} fields under a header of {len(header)}; delete the line "
                "(a run that is killed may leave its last one unfinished)"
            )
        try:
            table[number - 2] = [float(field) if field.strip() else np.nan for field in line]
        except ValueError as error:
            raise DataError(f"{path}, line {number}: {error}; mend or delete the line") from error
    unknown = {name: np.full(len(table), np.nan) for name in _HISTORY if name != "loss"}
    return {**unknown, **dict(zip(header, table.T, strict=True))}


def losses(history: Iterable[str]) -> dict[str, str]:
    """The columns of a history that are losses, each with what it is called: ``loss``, or ``loss.NAME`` of each phase.

    Example:
        >>> losses(["step", "loss.critic", "loss.generator", "beta"])
        {'loss.critic': 'loss of the critic', 'loss.generator': 'loss of the generator'}
    """
    names = (name.partition("loss.") for name in history if name == "loss" or name.startswith("loss."))
    return {f"{start}{dot}{phase}": f"loss of the {phase}" if dot else "training loss" for start, dot, phase in names}


def not_finite(history: Mapping[str, Array]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Whether a loss of a row is not finite, (rows,). A phase that was not taken since the last row has none."""
    values = np.stack([history[name] for name in losses(history)])
    return np.logical_or(np.isinf(values).any(0), np.isnan(values).all(0))


def further_columns(history: Iterable[str]) -> list[str]:
    """The columns of a history that the objective has measured beside its losses."""
    names = list(history)
    return [name for name in names if name not in _HISTORY and name not in losses(names)]


def load_pictures(directory: str | Path) -> dict[str, Array]:
    """Read the `pictures.npz` in a run's directory.

    Returns:
        Those of `inputs` (n, *shape), `reconstructions` (n, *shape), `samples` (m, *shape), `traversal`
        (latent_dims, steps, *shape), and of autoregressive models `completed` (n, *shape), `known` (*shape), `completions`
        (n, k, *shape), `order` (H, W), `receptive` (m, H, W) and `receptive_at` (m, 2) that are there.

    Raises:
        DataError: if the file is missing or damaged, or holds something other than arrays of numbers.
    """
    path = Path(directory) / "pictures.npz"
    wrong, remedy = "is not an archive of numeric arrays", "delete it, or draw the pictures again"
    trouble = reading(path, " that has drawn pictures", wrong, remedy)
    # Opened here, because np.load does not close the file that it finds damaged.
    with trouble, path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return {name: np.asarray(archive[name], np.float64) for name in PICTURES if name in archive.files}


def load_usage(directory: str | Path) -> list[dict[str, Any]]:
    """Read the `usage.json` in a run's directory: how much each latent says about the data.

    Returns:
        For each latent `site`, the `rates` of its units in nats, the `error` of their sum, and the `variances` of the
        units' posterior means as shares of the prior's, or `None` where they are not known.

    Raises:
        DataError: if the file is missing, is not JSON, or lacks one of these.
    """
    path = Path(directory) / "usage.json"
    found = read_json(path, "compare the run again")
    try:
        rows = [
            {
                "site": plain(row["site"]),
                "rates": [float(rate) for rate in row["rates"]],
                "error": float(row["error"]),
                "variances": None if row["variances"] is None else [float(value) for value in row["variances"]],
            }
            for row in found
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path} doesn't hold the usage of latents ({error!r}): compare the run again") from error
    if not all(row["rates"] for row in rows):
        raise DataError(f"{path} holds a latent without units: compare the run again")
    return rows


def load_config(directory: str | Path) -> str:
    """Read the text of the `config.yaml` in a run's directory, after checking that it is a mapping.

    Raises:
        ConfigurationError: if the file is missing, is not YAML or is not a mapping.
    """
    import yaml

    path = Path(directory) / "config.yaml"
    remedy = "restore it from a copy"
    with reading(path, "", "cannot be read as YAML", remedy, kind=ConfigurationError, damage=yaml.YAMLError):
        text = path.read_text(encoding="utf-8")
        values = yaml.safe_load(text)
    if not isinstance(values, Mapping):
        raise ConfigurationError(f"{path} holds {type(values).__name__}, not a mapping: restore it from a copy")
    return text
