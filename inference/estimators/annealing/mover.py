"""Transitions of a block of data, by runs of the pair or by a recorded graph of one.

Axes: chains, data, dims.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pyrogen.batch import Batch, device_of, length
from pyrogen.pair import Pair

from ...graphs import SharedGraphs
from ...graphs.batches import BatchLayout
from ...weights.evaluation import evaluation
from ...weights.memory import bytes_per_row, evenly, rows_that_fit
from ..latent_density import LatentDensity
from .transition import Moved, State, evaluate, move

__all__ = ["Mover", "rows_at_once"]

_ROWS = 4096  # chains times data, of each thread: more are no faster
_CUDA_ROWS = 65536
_COPIES = 3  # of the latents and their gradients that a transition holds at a time, in units of an evaluation's
_STRAYS = 0.01  # share of chains that a rounding error may have sent another way
_TOLERANCE = 1e-2


class Mover:
    """Moves chains along a path of densities, and counts what that takes.

    Args:
        density: the path.
        graphs: recorded graphs to move by; the pair itself is run where there are none.
        calls: how many transitions are to come, by which ``compile="auto"`` decides.
    """

    def __init__(self, density: LatentDensity, graphs: SharedGraphs | None = None, calls: int = 0) -> None:
        self.density, self.graphs, self.calls = density, graphs, calls
        self.gradients = 0
        """Gradients evaluated so far, each of one chain of one datum."""

    def start(self, u: Tensor, batch: Batch) -> State:
        """The state of chains at unconstrained latents, (chains, data, dims)."""
        self.gradients += u.shape[0] * u.shape[1]
        with evaluation(self.density.pair):
            return evaluate(self.density, u, batch)

    def move(self, batch: Batch, state: State, beta: Tensor, step: Tensor, scale: Tensor, steps: int) -> Moved:
        """One transition; see `pyrogen.inference.estimators.annealing.transition.move`."""
        self.gradients += steps * state.base.numel()
        with evaluation(self.density.pair):
            if not self.graphs or self.density.in_turn:
                return move(self.density, batch, state, beta, step, scale, steps)
            layout = BatchLayout(batch)
            function = self.graphs.function(
                ("transition", id(self.density.pair), self.density.initial, steps, *layout.fixed.items()),
                self.density.pair,
                lambda: _Recorded(self.density, layout, steps),
                differs=_difference,
                calls=self.calls,
            )
            names, values = function([*layout.pack(batch), *state, beta, step, scale])
        found = dict(zip(names, values, strict=True))
        return Moved(State(*(found[name] for name in State._fields)), found["acceptance"])


def rows_at_once(density: LatentDensity, batch: Batch, chains: int, max_bytes: int) -> int:
    """How many data to move together, so that their chains fit a memory budget.

    Raises:
        ConfigurationError: the chains of one datum, or of a batch that cannot be split, take more than `max_bytes`.
    """
    rows, structure = length(batch), density.structure

    def run(few: Batch) -> None:
        for u in torch.split(density.draw(few, 4), 4 if structure.loop is None else 1):
            evaluate(density, u, few)

    with evaluation(density.pair):
        each = _COPIES * bytes_per_row(batch, structure, 4, run) * chains
    fitting = rows_that_fit(each, max_bytes, least=1 if structure.amortized else rows, what=f"{chains} chains")
    if not structure.amortized:
        return rows
    most = _CUDA_ROWS if device_of(batch).type == "cuda" else _ROWS * torch.get_num_threads()
    return evenly(rows, max(1, min(rows, fitting, most // chains)))


class _Recorded:
    """A transition as a function of a pair and tensors."""

    def __init__(self, density: LatentDensity, layout: BatchLayout, steps: int) -> None:
        self.density, self.layout, self.steps = density, layout, steps

    def __call__(self, pair: Pair, *inputs: Tensor) -> dict[str, Tensor | None]:
        count = len(self.layout.places)
        batch = self.layout.unpack(inputs[:count])
        *state, beta, step, scale = inputs[count:]
        moved = move(self.density, batch, State(*state), beta, step, scale, self.steps)
        return {**moved.state._asdict(), "acceptance": moved.acceptance}


def _difference(graph: Mapping[str, Tensor], pair: Mapping[str, Tensor]) -> str | None:
    """What differs between two runs of a transition, beyond chains that a rounding error has sent another way."""
    rows: Any = None
    for name, expected in pair.items():
        seen = graph[name]
        gap = (seen.double() - expected.double()).abs()
        close = gap <= _TOLERANCE * (1 + expected.double().abs())
        same = close | (seen.isnan() & expected.isnan()) | (seen == expected)
        same = same.flatten(2).all(-1) if same.dim() > 2 else same
        rows = same if rows is None or same.shape != rows.shape else rows & same
        if same.dim() >= 2 and (~same).double().mean() > _STRAYS and int((~same).sum()) > 1:
            worst = gap.nan_to_num(nan=torch.inf).max()
            return f"'{name}' differs by up to {float(worst):.3g} in {int((~same).sum())} of {same.numel()} chains"
    return None
