"""How many data are annealed at a time, so that their chains fit a memory budget.

Axes: chains, data.
"""

from __future__ import annotations

import torch

from pyrogen.batch import Batch, device_of, index, length
from pyrogen.errors import ConfigurationError

from ...weights.chunks import AllocationCounter, evaluation
from ..latent_density import LatentDensity
from .transition import evaluate

__all__ = ["rows_at_once"]

_ROWS = 4096  # chains times data, of each thread: more are no faster
_CUDA_ROWS = 65536
_COPIES = 3  # of the latents and their gradients that a transition holds at a time, in units of an evaluation's


def rows_at_once(density: LatentDensity, batch: Batch, chains: int, max_bytes: int) -> int:
    """How many data to anneal together.

    Raises:
        ConfigurationError: the chains of one datum take more than `max_bytes`.
    """
    rows = length(batch)
    if not density.structure.amortized:
        return rows
    few = index(batch, slice(min(2, rows)))
    devices = [device_of(batch)] if device_of(batch).type == "cuda" else []
    with torch.random.fork_rng(devices=devices), evaluation(density.pair), AllocationCounter() as counter:
        evaluate(density, density.draw(few, 4), few)
    each = _COPIES * max(counter.bytes / (4 * length(few)), 1.0) * chains
    if each > max_bytes:
        raise ConfigurationError(
            f"{chains} chains of one datum take about {each:,.0f} bytes, more than max_bytes={max_bytes:,}: use fewer chains"
        )
    most = _CUDA_ROWS if device_of(batch).type == "cuda" else _ROWS * torch.get_num_threads()
    size = max(1, min(rows, int(max_bytes // each), most // chains))
    return -(-rows // -(-rows // size))  # as even as can be
