"""What lies in a run directory beside its configuration and history: a checkpoint, and results computed from its parameters.

Each result names the parameters that it was computed with, by a fingerprint of their values, so that a result of an earlier
fit is told from one of the checkpoint at hand, wherever the pair has been in between. Torch is imported where it is needed,
since a report is made without it where there is no checkpoint.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

__all__ = ["CHECKPOINT", "RESULTS", "checkpoint_fingerprint", "fingerprint", "forget_results", "remove_run"]

CHECKPOINT = "checkpoint.pt"

RESULTS = (
    "comparison.json",
    "comparison.nc",
    "usage.json",
    "pictures.npz",
    "sandwich.json",
    "gaps.json",
    "posteriors.json",
    "posterior-*.nc",
    "calibration.json",
    "joint_evidence.json",
    "joint_evidence.nc",
)
"""Files that are computed from a pair's parameters, as patterns."""

_PAGE = ("report.html", "pictures/*.png", "pictures/*.gif")
"""What the report is drawn into, which shows the history and the configuration, too."""


def fingerprint(state: Mapping[str, Any]) -> str:
    """A hash of a ``state_dict()``, the same on every device and in every order.

    Returns:
        64 hexadecimal digits, the SHA-256 of names, types, shapes and values.

    Example:
        >>> import torch
        >>> first = {"a": torch.zeros(2), "b": torch.ones(())}
        >>> fingerprint(first) == fingerprint({"b": torch.ones(()), "a": torch.zeros(2)})
        True
        >>> fingerprint(first) == fingerprint({"b": torch.ones(()), "a": torch.tensor([0.0, 1e-30])})
        False
    """
    import torch

    found = hashlib.sha256()
    for name, value in sorted(state.items()):
        if isinstance(value, torch.Tensor):
            found.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def checkpoint_fingerprint(directory: str | Path) -> str | None:
    """The fingerprint of the parameters that a checkpoint gives to a pair, the best where there are such; None without one.

    A checkpoint that can't be read counts as none.
    """
    import torch

    try:
        state = torch.load(Path(directory) / CHECKPOINT, map_location="cpu", weights_only=True)
        return fingerprint((state.get("best") or {}).get("pair") or state["pair"])
    except (RuntimeError, EOFError, OSError, ValueError, AttributeError, KeyError, pickle.UnpicklingError, BadZipFile):
        return None


def forget_results(directory: Path, state: Mapping[str, Any]) -> None:
    """Make room for a checkpoint that will give `state` to a pair: remove the page, and results of other parameters."""
    results = list(_files(directory, RESULTS))
    stale = results if results and checkpoint_fingerprint(directory) != fingerprint(state) else []
    for path in [*stale, *_files(directory, _PAGE)]:
        path.unlink(missing_ok=True)


def remove_run(directory: Path) -> None:
    """Remove a run's checkpoint and all that was made from it, for a run that begins anew."""
    for path in _files(directory, (CHECKPOINT, *RESULTS, *_PAGE)):
        path.unlink(missing_ok=True)


def _files(directory: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    for pattern in patterns:
        yield from list(directory.glob(pattern))
