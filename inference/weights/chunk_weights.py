"""One chunk of log weights: by a run of the pair, or by a recorded graph of it where that was asked for.

Axes: particles, data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias

import torch
from torch import Tensor

from pyrogen.batch import Batch, device_of, length
from pyrogen.errors import ConfigurationError
from pyrogen.pair import Pair
from pyrogen.programs.matching import check_observed
from pyrogen.programs.run import Sites
from pyrogen.programs.structure import Structure

from ..graphs import Compile, CompiledFunction, CompileReport
from ..graphs.batches import BatchLayout, fixed_part
from .terms import weigh

__all__ = ["Compiling", "Weigher", "Weights", "check_observations", "compilation", "compiling", "weigher"]

Weights: TypeAlias = tuple[Tensor, Tensor, dict[str, Tensor]]
"""Log weights and log likelihoods, (particles, data), and latents, (particles, data, ...)."""

Weigher: TypeAlias = Callable[[Batch, int, int | None], Weights]
"""``run(batch, particles, first_row)``; with the number of its first row, the batch is checked against the likelihood."""

_COMPILE_AFTER = 20  # chunks of one shape
_TOLERANCE = 2e-5  # of the largest log weight, or of one nat


class Compiling:
    """How log weights are to be computed, and the graphs made so far."""

    def __init__(self, compile: Compile) -> None:
        self.compile, self.report = compile, CompileReport()
        self.functions: dict[Any, CompiledFunction] = {}


_wanted: ContextVar[Compiling | None] = ContextVar("_wanted", default=None)


@contextmanager
def compiling(compile: Compile) -> Iterator[CompileReport]:
    """Compute the log weights of all estimates inside by recorded graphs, which they share.

    Args:
        compile: as in `pyrogen.inference.fit`.
    """
    state = Compiling(compile)
    token = _wanted.set(state if compile else None)
    try:
        yield state.report
    finally:
        _wanted.reset(token)


def compilation() -> Compiling | None:
    """How estimates are to be computed here, or None where the pair itself is to be run."""
    return _wanted.get()


def weigher(pair: Pair, structure: Structure, *, analytic: bool, chunks: int) -> Weigher:
    """What computes the chunks of an estimate.

    Args:
        pair: the pair, in evaluation mode.
        structure: what ``pair.structure(batch)`` says.
        analytic: take the KL divergence of a latent in closed form where that is right.
        chunks: how many are to come.
    """
    wanted = _wanted.get()
    if wanted is None:
        return lambda batch, particles, row: _by_pair(pair, structure, batch, particles, row, analytic=analytic)
    return _ByGraph(pair, structure, analytic, chunks, wanted)


def check_observations(model: Sites, rows: Sequence[int]) -> None:
    """Refuse data outside the support of what observes them; `rows` are their numbers, for the message.

    Raises:
        PairError: with site, index, value and remedy.
    """
    for name, site in model.visited.items():
        if site.observed and site.dim is not None:
            axis = site.value.dim() - site.fn.event_dim + site.dim
            check_observed(name, site.fn, site.value, masked=site.mask is not None, rows=rows, axis=axis)


def _by_pair(pair: Pair, structure: Structure, batch: Batch, particles: int, row: int | None, *, analytic: bool) -> Weights:
    rows = length(batch)
    weighed = weigh(pair, batch, structure, particles, analytic=analytic)
    if row is not None:
        check_observations(weighed.model, range(row, row + rows))
    sites = {name: weighed.model.visited[name] for name in structure.latents}
    return _shaped(
        weighed.log_weight().local,
        weighed.likelihood.local,
        {name: site.value for name, site in sites.items()},
        {name: (site.dim or 0, site.fn.event_dim) for name, site in sites.items()},
        structure,
        (particles, rows),
    )


class _ByGraph:
    """Chunks by recorded graphs, one for each number of particles and shape of batch."""

    def __init__(self, pair: Pair, structure: Structure, analytic: bool, chunks: int, wanted: Compiling) -> None:
        self.pair, self.structure, self.analytic, self.chunks, self.wanted = pair, structure, analytic, chunks, wanted
        self.places: dict[str, tuple[int, int]] = {}  # the data plate's dimension and the event dimensions of a latent

    def __call__(self, batch: Batch, particles: int, row: int | None) -> Weights:
        if row is not None:
            self._look(batch, row)
        layout = BatchLayout(batch)
        key = (id(self.pair), self.analytic, particles, fixed_part(batch))
        if key not in self.wanted.functions:
            self.wanted.functions[key] = CompiledFunction(
                self.pair,
                self._function(layout, particles),
                self.wanted.compile,
                self.wanted.report,
                differs=_difference,
                calls=self.chunks,
                compile_after=(_COMPILE_AFTER, _COMPILE_AFTER),
            )
        names, values = self.wanted.functions[key](layout.pack(batch))
        named = dict(zip(names, values, strict=True))
        latents = {name: named[f"latent.{name}"] for name in self.structure.latents}
        shape = particles, length(batch)
        return _shaped(named["log_weight"], named["log_likelihood"], latents, self.places, self.structure, shape)

    def _look(self, batch: Batch, row: int) -> None:
        """Run the pair itself for one particle, to check the data and to learn the shapes of the latents."""
        devices = [device_of(batch)] if device_of(batch).type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            weighed = weigh(self.pair, batch, self.structure)
        check_observations(weighed.model, range(row, row + length(batch)))
        sites = {name: weighed.model.visited[name] for name in self.structure.latents}
        self.places = {name: (site.dim or 0, site.fn.event_dim) for name, site in sites.items()}

    def _function(self, layout: BatchLayout, particles: int) -> Any:
        structure, analytic = self.structure, self.analytic

        def log_weights(pair: Pair, *inputs: Tensor) -> dict[str, Tensor | None]:
            batch = layout.unpack(inputs)
            with torch.no_grad():
                weighed = weigh(pair, batch, structure, particles, analytic=analytic)
            return {
                "log_weight": weighed.log_weight().local,
                "log_likelihood": weighed.likelihood.local,
                **{f"latent.{name}": weighed.model.visited[name].value for name in structure.latents},
            }

        return log_weights


def _shaped(
    log_weight: Tensor | None,
    log_likelihood: Tensor | None,
    latents: Mapping[str, Tensor],
    places: Mapping[str, tuple[int, int]],
    structure: Structure,
    shape: tuple[int, int],
) -> Weights:
    if log_weight is None or log_likelihood is None:
        raise ConfigurationError("the pair has no site in its data plate")
    found = {}
    for name, value in latents.items():
        dim, event_dim = places[name]
        missing = structure.nesting + 1 - (value.dim() - event_dim)
        full = value.reshape((1,) * missing + value.shape)  # (particles or 1, plates..., event...)
        full = full.movedim(dim - event_dim, 1)
        found[name] = full.expand(*shape, *full.shape[2:])  # (particles, data, other plates..., event...)
    return log_weight.expand(shape), log_likelihood.expand(shape), found


def _difference(graph: Mapping[str, Tensor], pair: Mapping[str, Tensor]) -> str | None:
    for name, expected in pair.items():
        seen, finite = graph[name], torch.isfinite(expected)
        size = max(1.0, float(expected[finite].abs().amax())) if bool(finite.any()) else 1.0
        gap = (seen - expected).abs()[finite]
        if not bool((gap <= _TOLERANCE * size).all()):
            return f"'{name}' differs by {float(gap.max()):.3g}, where its size is {size:.3g}"
        if not torch.equal(seen[~finite].nan_to_num(), expected[~finite].nan_to_num()):
            return f"'{name}' is not finite at other places, or otherwise"
    return None
