"""Checkpoints: everything that a run needs to go on as if it had never stopped, in one file.

A checkpoint is written to a temporary file, flushed to the disk and renamed, so that a run that dies while writing leaves
the one before intact. It is read with ``weights_only=True``: a checkpoint from a stranger runs no code.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyro
import torch
from torch import nn

from pyrogen.batch import Batch, map_tensors
from pyrogen.errors import CheckpointError
from pyrogen.pair import Pair
from pyrogen.run_directory import CHECKPOINT
from pyrogen.saving import replace_file

__all__ = [
    "CHECKPOINT",
    "generator_states",
    "load_best",
    "load_checkpoint",
    "restore",
    "save_checkpoint",
    "set_generator_states",
]

_VERSION = 2


def save_checkpoint(state: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint; when the call returns it is on the disk, or the old one is as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as temporary:
        torch.save({"version": _VERSION, **state}, temporary)


def load_checkpoint(path: Path | str, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint.

    Args:
        path: the file, or the run directory that holds it.
        device: where its tensors go.

    Raises:
        CheckpointError: there is none, it is damaged, or another version of pyrogen wrote it.
    """
    path = Path(path)
    if path.is_dir():
        path = path / CHECKPOINT
    if not path.exists():
        raise CheckpointError(f"{path} does not exist: fit with directory={str(path.parent)!r} writes it")
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{path} is damaged or holds more than plain values ({type(error).__name__}: {str(error).splitlines()[0]}): "
            "restore it from a copy, or fit again"
        ) from error
    if isinstance(state, dict) and state.get("version") == 1:
        state = _from_one_phase(state)
    if not isinstance(state, dict) or state.get("version") != _VERSION:
        raise CheckpointError(f"{path} is no checkpoint of this version of pyrogen")
    return state


def _from_one_phase(state: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint from before objectives had several phases, in the present form."""
    first = state["step"] - len(state["losses"])
    losses = [[first + place, loss] for place, loss in enumerate(state["losses"])]
    phase = {"optimizer": state.pop("optimizer"), "scheduler": state.pop("scheduler"), "losses": losses, "measured": {}}
    return {**state, "version": _VERSION, "networks": {}, "phases": {"loss": phase}}


def restore(pair: Pair, path: Path | str, batch: Batch | None = None) -> Pair:
    """Give a pair the parameters of a checkpoint, the best ones where the run validated with patience.

    Args:
        pair: a pair built as the one that was fitted.
        path: the file, or the run directory that holds it.
        batch: some data, for a pair whose ``pyro.param`` parameters are made in its first run; those that the checkpoint
            holds if not given.

    Raises:
        CheckpointError: see `load_checkpoint`; or the pair's parameters have other names or shapes.
    """
    load_best(pair, load_checkpoint(path), path, batch)
    return pair


def load_best(pair: Pair, state: Mapping[str, Any], path: Path | str, batch: Batch | None = None) -> None:
    """Give a pair the parameters of a checkpoint that has been read; see `restore`."""
    parameters = (state.get("best") or {}).get("pair") or state["pair"]
    batch = state.get("example") if batch is None else batch
    if batch is not None and pair.state_dict().keys() != parameters.keys():
        batch = map_tensors(batch, lambda tensor: tensor.to(next(pair.parameters(), tensor).device))
        with pyro.get_param_store().scope():  # whose values, of other sizes maybe, would all be replaced
            pair.initialise(batch)
    load_parameters(pair, parameters, path)


def load_parameters(pair: nn.Module, parameters: Mapping[str, Any], path: Path | str) -> None:
    """Load parameters and buffers into a pair, all of them or none.

    Raises:
        CheckpointError: names or shapes differ.
    """
    own = pair.state_dict()
    missing, unknown = sorted(own.keys() - parameters.keys()), sorted(parameters.keys() - own.keys())
    shapes = sorted(name for name in own.keys() & parameters.keys() if own[name].shape != parameters[name].shape)
    for problem, names in (("lacks", missing), ("has unknown", unknown), ("has another shape for", shapes)):
        if names:
            raise CheckpointError(
                f"{path} {problem} {names[0]!r}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: it belongs to a "
                f"pair built with other arguments than this {type(pair).__name__}"
            )
    pair.load_state_dict(dict(parameters))


def generator_states(device: torch.device) -> dict[str, torch.Tensor]:
    """States of torch's default generators that a run on a device draws from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_generator_states(states: Mapping[str, torch.Tensor], device: torch.device) -> None:
    """Put torch's default generators into saved states."""
    torch.set_rng_state(states["cpu"].cpu())
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"].cpu(), device)
