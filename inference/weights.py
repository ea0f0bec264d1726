"""Log weights: ``log_weight[k, i] = log p(x_i, z_k) - log q(z_k | x_i)``, the quantity that all of inference is made of.

Axes: particles, data. Sites outside the data plate are shared by all data and weigh in with shape (particles,).

`weigh` does one run of a pair, differentiably. `log_weights` evaluates any number of particles in chunks that fit the
processor's cache and a memory budget.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pyro
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_iter
from tqdm.auto import trange

from pyrogen.agreement import check_observed
from pyrogen.batch import Batch, arguments, device_of, index, length
from pyrogen.errors import ConfigurationError, NotPerDatum
from pyrogen.pair import Pair
from pyrogen.run import Site, Sites, run_guide, run_model
from pyrogen.structure import Structure, evaluation_mode

__all__ = [
    "Chunk",
    "LogTerms",
    "Weighed",
    "blocks",
    "check_extremes",
    "check_observations",
    "chunks",
    "evaluation",
    "log_weights",
    "reduce_site",
    "scaled",
    "weigh",
]

DEFAULT_MAX_BYTES = 512 * 2**20
_CACHED_ROWS = 1024  # of each thread: larger chunks leave its cache and are slower
_CUDA_ROWS = 65536


@dataclass(slots=True)
class LogTerms:
    """A sum of log densities, kept apart by whether they belong to one datum or to all."""

    local: Tensor | None = None
    """(particles or 1, data), in nats, not scaled by the data plate."""
    shared: Tensor | None = None
    """(particles or 1,), in nats."""

    def add(self, value: Tensor, site: Site, structure: Structure) -> None:
        """Add a quantity of a site's batch shape."""
        value = reduce_site(value, site.dim, structure.nesting)
        if site.dim is None:
            self.shared = value if self.shared is None else self.shared + value
        else:
            self.local = value if self.local is None else self.local + value

    def joint(self) -> Tensor:
        """What is shared plus that of all data: (particles or 1,)."""
        local = 0.0 if self.local is None else self.local.sum(-1)
        return torch.as_tensor(local if self.shared is None else self.shared + local)

    def minus(self, other: LogTerms, factor: float | Tensor = 1.0) -> LogTerms:
        """``self - factor * other``."""
        return LogTerms(_minus(self.local, other.local, factor), _minus(self.shared, other.shared, factor))


@dataclass(slots=True)
class Weighed:
    """One run of a pair, weighed."""

    likelihood: LogTerms
    """``log p(x | z)``: the observed sites."""
    divergence: LogTerms
    """``log q(z | x) - log p(z)``: the latents; of analytic ones their KL divergence."""
    guide: Sites
    model: Sites
    score_sites: list[Site] = field(default_factory=list)
    """Guide sites whose draws carry no pathwise gradient."""

    def log_weight(self, beta: float | Tensor = 1.0) -> LogTerms:
        """The log weight; `beta` multiplies the divergence."""
        return self.likelihood.minus(self.divergence, beta)

    @property
    def scale(self) -> float:
        """Full size of the data plate over its subsample's."""
        return self.model.scale


def weigh(
    pair: Pair,
    batch: Batch,
    structure: Structure,
    particles: int = 1,
    *,
    analytic: bool = False,
    guide: Sites | None = None,
    latents: Mapping[str, Tensor] | None = None,
) -> Weighed:
    """Run guide and model once, for all particles together, and weigh each latent and observed site.

    Args:
        pair: the pair.
        batch: the data.
        structure: what ``pair.structure(batch)`` says.
        particles: number of particles; with one, latents have no particle dimension.
        analytic: take the KL divergence of a latent in closed form where that is right.
        guide: a run of the guide to weigh instead of a new one.
        latents: values of latents that the model sees in place of the guide's own draws.
    """
    args, kwargs = arguments(batch)
    count = None if particles == 1 else particles
    with pair.scope():
        if guide is None:
            guide = run_guide(pair, args, kwargs, particles=count, nesting=structure.nesting)
        model = run_model(
            pair,
            args,
            kwargs,
            guide.latents() if latents is None else latents,
            indices=guide.indices,
            particles=count,
            nesting=structure.nesting,
        )
    result = Weighed(LogTerms(), LogTerms(), guide, model)
    for name, prior in model.visited.items():
        if prior.observed:
            result.likelihood.add(scaled(prior.log_prob(), prior, model), prior, structure)
        elif name in guide.visited:
            posterior = guide.visited[name]
            if analytic and name in structure.analytic:
                divergence = posterior.masked(torch.distributions.kl_divergence(posterior.fn, prior.fn))
                divergence = scaled(divergence, posterior, guide)
            else:
                value = None if latents is None else latents[name]
                divergence = scaled(posterior.log_prob(value), posterior, guide) - scaled(prior.log_prob(), prior, model)
            result.divergence.add(divergence, posterior, structure)
    for name, site in guide.visited.items():
        if name not in model.visited:
            result.divergence.add(scaled(site.log_prob(), site, guide), site, structure)
        if name not in structure.reparameterized:
            result.score_sites.append(site)
    return result


def reduce_site(value: Tensor, dim: int | None, nesting: int) -> Tensor:
    """Sum a site's quantity over all plates but the data plate.

    Args:
        value: of the site's batch shape: (plates...) or (particles, plates...), the plates at most `nesting` many.
        dim: the data plate's dimension, counted from the right, or None for a global site.
        nesting: number of plate dimensions of the pair.

    Returns:
        (particles or 1, data) for a local site, (particles or 1,) for a global one.
    """
    if nesting == 1 and dim == -1:
        return value if value.dim() == 2 else value.unsqueeze(0)  # (particles or 1, data)
    missing = nesting + 1 - value.dim()
    value = value.reshape((1,) * missing + value.shape)  # (particles or 1, plates...)
    summed = [d for d in range(-nesting, 0) if d != dim]
    return value.sum(summed) if summed else value


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
    weighed: Weighed
    log_weight: Tensor
    """(particles of the chunk, data of the chunk), in nats."""


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
    demands it. See `log_weights`.
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
        for first in trange(0, length(batch), data_size, disable=not progress, unit="block", leave=False):
            data = slice(first, min(first + data_size, length(batch)))
            part = index(batch, data) if data_size < length(batch) else batch
            for start in range(0, particles, particle_size):
                span = slice(start, min(start + particle_size, particles))
                count = span.stop - span.start
                weighed = weigh(pair, part, structure, count, analytic=analytic)
                log_weight = weighed.log_weight().local
                if start == 0:
                    check_observations(weighed, range(data.start, data.stop))
                if log_weight is None:
                    raise ConfigurationError("the pair has no site in its data plate")
                yield Chunk(data, span, weighed, log_weight.expand(count, data.stop - data.start))


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


def check_observations(weighed: Weighed, rows: Sequence[int]) -> None:
    """Refuse data outside the support of what observes them; `rows` are their numbers, for the message.

    Raises:
        PairError: with site, index, value and remedy.
    """
    for name, site in weighed.model.visited.items():
        if site.observed and site.dim is not None:
            axis = site.value.dim() - site.fn.event_dim + site.dim
            check_observed(name, site.fn, site.value, masked=site.mask is not None, rows=rows, axis=axis)


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
        check_observations(weigh(pair, part, structure), chosen)


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
    return min(rows, max(1, size // particle_size)), particle_size


def _bytes_per_row(pair: Pair, batch: Batch, structure: Structure) -> float:
    """Bytes of all that one run allocates for one particle of one datum, counted in a small run."""
    rows = min(2, length(batch)) if structure.amortized else length(batch)
    part = index(batch, slice(rows))
    count = 1 if structure.loop is not None else 8
    with torch.random.fork_rng(devices=[device_of(batch)] if device_of(batch).type == "cuda" else []):
        counter = _AllocationCounter()
        with counter:
            weigh(pair, part, structure, count)
    return max(counter.bytes / (rows * count), 1.0)


class _AllocationCounter(TorchFunctionMode):
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


def scaled(value: Tensor, site: Site, sites: Sites) -> Tensor:
    """A site's quantity with its own scale, the data plate's left out (it multiplies the bound, not the weight)."""
    if isinstance(site.scale, Tensor) or site.scale != 1.0:
        return value * (site.scale / (sites.scale if site.dim is not None else 1.0))
    return value


def _minus(first: Tensor | None, second: Tensor | None, factor: float | Tensor) -> Tensor | None:
    if second is None:
        return first
    if isinstance(factor, Tensor) or factor != 1.0:
        second = second * factor
    return -second if first is None else first - second
