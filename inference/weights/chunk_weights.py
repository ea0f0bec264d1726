"""One chunk of log weights: by a run of the pair, or by a recorded graph of it where that was asked for.

Axes: particles, data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor

from pyrogen.batch import Batch, length
from pyrogen.errors import ConfigurationError
from pyrogen.pair import Pair
from pyrogen.programs.structure import Structure
from pyrogen.randomness import forked

from ..graphs import SharedGraphs
from ..graphs.batches import BatchLayout, fixed_part
from .evaluation import check_observations
from .terms import weigh

__all__ = ["ChunkWeights", "Weights", "chunk_weights"]

Weights: TypeAlias = tuple[Tensor, Tensor, dict[str, Tensor]]
"""Log weights and log likelihoods, (particles, data), and latents, (particles, data, ...)."""

ChunkWeights: TypeAlias = Callable[[Batch, int, int | None], Weights]
"""``run(batch, particles, first_row)``; with the number of its first row, the batch is checked against the likelihood."""

_TOLERANCE = 2e-5  # of the largest log weight, or of one nat


def chunk_weights(
    pair: Pair, structure: Structure, graphs: SharedGraphs, *, analytic: bool, from_prior: bool, chunks: int
) -> ChunkWeights:
    """What computes the chunks of an estimate, of which so many are to come, by recorded graphs if there are any."""
    if graphs:
        return _ByGraph(pair, structure, graphs, analytic, from_prior, chunks)
    return lambda batch, particles, row: _by_pair(pair, structure, batch, particles, row, analytic, from_prior)


def _by_pair(
    pair: Pair, structure: Structure, batch: Batch, particles: int, row: int | None, analytic: bool, from_prior: bool
) -> Weights:
    rows = length(batch)
    weighed = weigh(pair, batch, structure, particles, analytic=analytic, from_prior=from_prior)
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

    def __init__(
        self, pair: Pair, structure: Structure, graphs: SharedGraphs, analytic: bool, from_prior: bool, chunks: int
    ) -> None:
        self.pair, self.structure, self.graphs, self.chunks = pair, structure, graphs, chunks
        self.analytic, self.from_prior = analytic, from_prior
        self.places: dict[str, tuple[int, int]] = {}  # the data plate's dimension and the event dimensions of a latent

    def __call__(self, batch: Batch, particles: int, row: int | None) -> Weights:
        if row is not None:
            self._look(batch, row)
        layout = BatchLayout(batch)
        function = self.graphs.function(
            (id(self.pair), self.analytic, self.from_prior, particles, fixed_part(batch)),
            self.pair,
            lambda: self._function(layout, particles),
            differs=_difference,
            calls=self.chunks,
        )
        names, values = function(layout.pack(batch))
        named = dict(zip(names, values, strict=True))
        latents = {name: named[f"latent.{name}"] for name in self.structure.latents}
        shape = particles, length(batch)
        return _shaped(named["log_weight"], named["log_likelihood"], latents, self.places, self.structure, shape)

    def _look(self, batch: Batch, row: int) -> None:
        """Run the pair itself for one particle, to check the data and to learn the shapes of the latents."""
        with forked(batch):
            weighed = weigh(self.pair, batch, self.structure)
        check_observations(weighed.model, range(row, row + length(batch)))
        sites = {name: weighed.model.visited[name] for name in self.structure.latents}
        self.places = {name: (site.dim or 0, site.fn.event_dim) for name, site in sites.items()}

    def _function(self, layout: BatchLayout, particles: int) -> Any:
        structure, analytic, from_prior = self.structure, self.analytic, self.from_prior

        def log_weights(pair: Pair, *inputs: Tensor) -> dict[str, Tensor | None]:
            batch = layout.unpack(inputs)
            with torch.no_grad():
                weighed = weigh(pair, batch, structure, particles, analytic=analytic, from_prior=from_prior)
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
