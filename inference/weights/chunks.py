"""Log weights of any number of particles and data, in chunks that fit the processor's cache and a memory budget.

Axes: particles, data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor
from tqdm.auto import trange

from pyrogen.batch import Batch, device_of, index, length
from pyrogen.errors import require_at_least
from pyrogen.pair import Pair
from pyrogen.programs.structure import Structure

from ..graphs import Compile, SharedGraphs
from .chunk_weights import chunk_weights
from .evaluation import evaluation, require_per_datum
from .memory import DEFAULT_MAX_BYTES, bytes_per_row, rows_that_fit
from .terms import weigh

__all__ = ["Block", "Chunk", "chunks", "log_weights", "whole"]

_CACHED_ROWS = 1024  # of each thread, so that a chunk stays in its cache
_CUDA_ROWS = 65536
_BYTES_PER_WEIGHT = 128


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


@dataclass(frozen=True)
class Block:
    """Some data of a batch, and how their log weights are computed.

    Attributes:
        pair: the pair, in evaluation mode.
        batch: the data of this block.
        structure: what ``pair.structure`` says of the whole batch.
        data: their places in the whole batch.
        graphs: recorded graphs to compute by, or none, which is false.
        max_bytes: memory that the block may use.
        progress: whether a progress bar is shown.
        size: how many data a block has, but for the last one.
        blocks: how many blocks there are.
        particles_at_once: how many particles of a block's data run together.
        state: what an estimator's `begin` has left there for all blocks.
    """

    pair: Pair
    batch: Batch
    structure: Structure
    data: slice
    graphs: SharedGraphs
    max_bytes: int = DEFAULT_MAX_BYTES
    progress: bool = False
    size: int = 1
    blocks: int = 1
    particles_at_once: int = 1
    state: Any = None

    @property
    def rows(self) -> int:
        """Number of data."""
        return int(self.data.stop - self.data.start)

    def sized(self, size: int, *, particles_at_once: int = 1, state: Any = None) -> Block:
        """The same data, to be split into blocks of `size` data."""
        return replace(self, size=size, blocks=-(-self.rows // size), particles_at_once=particles_at_once, state=state)

    def sized_for(self, particles: int) -> Block:
        """The same data, to be split into blocks whose log weights, of so many particles, fit the memory budget.

        Raises:
            ConfigurationError: the particles are none, or a single one takes more memory than there is.
        """
        require_at_least(1, particles=particles)
        size, at_once = _chunk_sizes(self.pair, self.batch, self.structure, particles, self.max_bytes)
        return self.sized(size, particles_at_once=at_once)

    def split(self) -> Iterator[Block]:
        """The blocks, one after the other, with a progress bar if one is to be shown."""
        rows, size = self.rows, self.size
        for first in trange(0, rows, size, disable=not self.progress, unit="block", leave=False):
            data = slice(first, min(first + size, rows))
            yield replace(self, batch=index(self.batch, data) if size < rows else self.batch, data=data)

    def chunks(self, particles: int, *, analytic: bool = False, from_prior: bool = False) -> Iterator[Chunk]:
        """The log weights of fresh particles from the guide, in chunks; the block is one of those that `sized_for` makes.

        Args:
            particles: particles of each datum.
            analytic: take the KL divergence of a latent in closed form where that is right.
            from_prior: draw the latents from the prior in place of the guide.
        """
        calls = self.blocks * -(-particles // self.particles_at_once)
        run = chunk_weights(self.pair, self.structure, self.graphs, analytic=analytic, from_prior=from_prior, chunks=calls)
        for start in range(0, particles, self.particles_at_once):
            span = slice(start, min(start + self.particles_at_once, particles))
            yield Chunk(self.data, span, *run(self.batch, span.stop - span.start, self.data.start if start == 0 else None))

    def log_weights(self, particles: int, *, analytic: bool = False) -> Tensor:
        """All log weights of `chunks`, (particles, data), in nats."""
        return torch.cat([chunk.log_weight for chunk in self.chunks(particles, analytic=analytic)])


def whole(
    pair: Pair,
    batch: Batch,
    *,
    max_bytes: int = DEFAULT_MAX_BYTES,
    compile: Compile | SharedGraphs = False,
    progress: bool = False,
) -> Block:
    """All data of a batch as one block, to be split."""
    data, graphs = slice(0, length(batch)), SharedGraphs.of(compile)
    return Block(pair, batch, pair.structure(batch), data, graphs, max_bytes, progress)


def log_weights(
    pair: Pair,
    batch: Batch,
    particles: int,
    *,
    max_bytes: int = DEFAULT_MAX_BYTES,
    compile: Compile | SharedGraphs = False,
) -> Tensor:
    """Log weights of fresh particles from the guide, for each datum.

    ``log_weight[k, i] = log p(x_i, z_k) - log q(z_k | x_i)``

    Args:
        pair: the pair; it is run in evaluation mode.
        batch: the data.
        particles: number of particles for each datum.
        max_bytes: memory that the run may use beside the result.
        compile: see `pyrogen.inference.compare`.

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
    for chunk in chunks(pair, batch, particles, max_bytes=max_bytes, compile=compile):
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
    compile: Compile | SharedGraphs = False,
    progress: bool = False,
) -> Iterator[Chunk]:
    """Log weights in chunks: all particles of a few data, then of the next few.

    Chunks have about as many rows (data times particles) as keep the processor's cache warm, fewer where `max_bytes`
    demands it. Estimates hold all weights of a few data at a time, of one at least: 128 bytes for each of its
    particles. See `log_weights`.
    """
    require_per_datum(pair, batch)
    with evaluation(pair):
        data = whole(pair, batch, max_bytes=max_bytes, compile=compile, progress=progress).sized_for(particles)
        for block in data.split():
            yield from block.chunks(particles)


def _chunk_sizes(pair: Pair, batch: Batch, structure: Structure, particles: int, max_bytes: int) -> tuple[int, int]:
    """How many data a block has, and how many of their particles run together."""
    rows, few = length(batch), 1 if structure.loop is not None else 8
    each = bytes_per_row(batch, structure, few, lambda part: weigh(pair, part, structure, few))
    least = 1 if structure.amortized else rows
    affordable = rows_that_fit(each, max_bytes, least=least, what="one particle")
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
