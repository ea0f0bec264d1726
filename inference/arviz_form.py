"""Posterior draws as ArviZ holds them, and back.

Axes: chains, draws, data.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

__all__ = ["as_chains", "as_draws", "load_arviz"]


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
