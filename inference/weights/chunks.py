"""Log weights of any number of particles and data, in chunks that fit the processor's cache and a memory budget.

Axes: particles, data.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import pyro
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_iter
from tqdm.auto import trange

from pyrogen.batch import Batch, arguments, device_of, index, length
from pyrogen.errors import ConfigurationError, NotPerDatum
from pyrogen.pair import Pair
from pyrogen.programs.structure import Structure, evaluation_mode

from .chunk_weights import check_observations, weigher
from .terms import visit, weigh

__all__ = [
    "DEFAULT_MAX_BYTES",
    "AllocationCounter",
    "Chunk",
    "blocks",
    "check_extremes",
    "chunks",
    "evaluation",
    "log_weights",
]

DEFAULT_MAX_BYTES = 512 * 2**20
_CACHED_ROWS = 1024  # of each thread, so that a chunk stays in its cache
_CUDA_ROWS = 65536
_BYTES_PER_WEIGHT = 128


@contextmanager
def evaluation(pair: Pair) -> Iterator[None]:
    """Evaluate a pair: no gradients, modules in evaluation mode, and no validation (the probe has done it)."""
    with torch.no_grad(), evaluation_mode(pair), pyro.validation_enabled(False):
        yield


@dataclass(slots=True)
class Chunk:
    """The log weights of some particles of some data."""

    data: slice
    particles: slice
    log_weight: Tensor
    """(particles of the chunk, data of the chunk), in nats."""
    log_likelihood: Tensor
    """``log p(x | z)``, as `log_weight`."""
    latents: dict[str, Tensor]
    """Draws of the guide, (particles, data, other plates..., event...)."""


def log_weights(pair: Pair, batch: Batch, particles: int, *, max_bytes: int = DEFAULT_MAX_BYTES) -> Tensor:
    """Log weights of fresh particles from the guide, for each datum.

    ``log_weight[k, i] = log p(x_i, z_k) - log q(z_k | x_i)``

    Args:
        pair: the pair; it is run in evaluation mode.
        batch: the data.
        particles: number of particles for each datum.
        max_bytes: memory that the run may use beside the result.

    Returns:
        (particles, data), in nats.

    Raises:
        NotPerDatum: the pair's log weight is not one of each datum; the message names the site.
        ConfigurationError: a single datum and particle need more than `max_bytes`.

    Example:
        >>> from pyrogen.models import LinearGaussianVAE
        >>> x = torch.zeros(3, 4)
        >>> log_weights(LinearGaussianVAE((4,), latent=2), x, particles=10).shape
        torch.Size([10, 3])
    """
    rows = length(batch)
    result: Tensor | None = None
    for chunk in chunks(pair, batch, particles, max_bytes=max_bytes):
        if result is None:
            result = chunk.log_weight.new_empty(particles, rows)
        result[chunk.particles, chunk.data] = chunk.log_weight
    return cast(Tensor, result)


def chunks(
    pair: Pair,
    batch: Batch,
    particles: int,
    *,
    max_bytes: int = DEFAULT_MAX_BYTES,
    analytic: bool = False,
    progress: bool = False,
) -> Iterator[Chunk]:
    """Log weights in chunks: all particles of a few data, then of the next few.

    Chunks have about as many rows (data times particles) as keep the processor's cache warm, fewer where `max_bytes`
    demands it. Estimates hold all weights of a few data at a time, of one at least: 128 bytes for each of its
    particles. See `log_weights`.
    """
    if particles < 1:
        raise ConfigurationError(f"particles must be at least 1, not {particles}")
    structure = pair.structure(batch)
    structure.require_per_datum("an estimate")
    if structure.subsampled:
        raise NotPerDatum(
            f"plate '{pair.data_plate}' draws a subsample of the batch: an estimate needs every datum. "
            "Give the plate no subsample_size when you evaluate, and pass the data of interest as the batch"
        )
    with evaluation(pair):
        data_size, particle_size = _chunk_sizes(pair, batch, structure, particles, max_bytes)
        run = weigher(
            pair, structure, analytic=analytic, chunks=_ceil(length(batch), data_size) * _ceil(particles, particle_size)
        )
        for first in trange(0, length(batch), data_size, disable=not progress, unit="block", leave=False):
            data = slice(first, min(first + data_size, length(batch)))
            part = index(batch, data) if data_size < length(batch) else batch
            for start in range(0, particles, particle_size):
                span = slice(start, min(start + particle_size, particles))
                weights = run(part, span.stop - span.start, data.start if start == 0 else None)
                yield Chunk(data, span, *weights)


def blocks(
    pair: Pair,
    batch: Batch,
    particles: int,
    *,
    max_bytes: int = DEFAULT_MAX_BYTES,
    analytic: bool = False,
    progress: bool = False,
) -> Iterator[tuple[slice, Tensor]]:
    """Log weights of a few data at a time, of all particles: pairs (data, (particles, data)). See `chunks`."""
    parts: list[Tensor] = []
    for chunk in chunks(pair, batch, particles, max_bytes=max_bytes, analytic=analytic, progress=progress):
        parts.append(chunk.log_weight)
        if chunk.particles.stop == particles:
            yield chunk.data, torch.cat(parts)
            parts = []


def check_extremes(pair: Pair, batch: Batch) -> None:
    """Refuse data that hold a value outside the likelihood's support anywhere, by looking at the most extreme ones.

    These are the rows with the least value, with the greatest, and with the one farthest from a whole number.

    Raises:
        PairError: with site, row, value and remedy.
    """
    structure = pair.structure(batch)
    if not structure.amortized or structure.subsampled:
        return
    rows: set[int] = set()
    args, kwargs = arguments(batch)
    for tensor in (*args, *kwargs.values()):
        if isinstance(tensor, Tensor) and tensor.is_floating_point() and tensor.numel():
            flat = tensor.detach().reshape(len(tensor), -1)  # (data, elements)
            whole = (flat - flat.round()).abs_().amax(1)
            rows.update(int(place) for place in (flat.amin(1).argmin(), flat.amax(1).argmax(), whole.argmax()))
    if not rows:
        return
    chosen = sorted(rows)
    part = index(batch, torch.tensor(chosen, device=device_of(batch)))
    devices = [device_of(batch)] if device_of(batch).type == "cuda" else []
    with evaluation(pair), torch.random.fork_rng(devices=devices):
        check_observations(visit(pair, part, structure)[1], chosen)


def _ceil(count: int, size: int) -> int:
    return -(-count // size)


def _chunk_sizes(pair: Pair, batch: Batch, structure: Structure, particles: int, max_bytes: int) -> tuple[int, int]:
    rows = length(batch)
    per_row = _bytes_per_row(pair, batch, structure)
    affordable = int(max_bytes // per_row)
    least = 1 if structure.amortized else rows
    if affordable < least:
        raise ConfigurationError(
            f"one particle of {least} datum(s) takes about {per_row * least:,.0f} bytes, more than max_bytes={max_bytes:,}"
        )
    cuda = device_of(batch).type == "cuda"
    size = min(_CUDA_ROWS if cuda else _CACHED_ROWS * torch.get_num_threads(), affordable)
    if structure.loop is not None:
        return (min(size, rows) if structure.amortized else rows), 1
    if not structure.amortized:
        return rows, max(1, min(particles, size // rows))
    # Few data with many particles each: what depends on the datum alone (the encoder) is then computed seldom.
    particle_size = min(particles, max(1, size // 4))
    # All weights of a few data are kept until they are evaluated, which takes some copies in double precision.
    held = int(max_bytes // (_BYTES_PER_WEIGHT * particles))
    return min(rows, max(1, min(size // particle_size, held))), particle_size


def _bytes_per_row(pair: Pair, batch: Batch, structure: Structure) -> float:
    """Bytes of all that one run allocates for one particle of one datum, counted in a small run."""
    rows = min(2, length(batch)) if structure.amortized else length(batch)
    part = index(batch, slice(rows))
    count = 1 if structure.loop is not None else 8
    with torch.random.fork_rng(devices=[device_of(batch)] if device_of(batch).type == "cuda" else []):
        counter = AllocationCounter()
        with counter:
            weigh(pair, part, structure, count)
    return max(counter.bytes / (rows * count), 1.0)


class AllocationCounter(TorchFunctionMode):
    """Counts the bytes of all tensors that calls of torch make anew, as if none were freed: more than are held at once.

    (A dispatch mode would see temporaries inside such calls, too, but loads torch's compiler, which takes seconds.)
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        inputs = {leaf.untyped_storage().data_ptr() for leaf in tree_iter((args, kwargs)) if isinstance(leaf, Tensor)}
        for leaf in tree_iter(result):
            if isinstance(leaf, Tensor) and leaf.untyped_storage().data_ptr() not in inputs:
                self.bytes += leaf.numel() * leaf.element_size()
        return result
