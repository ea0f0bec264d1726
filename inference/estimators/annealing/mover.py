"""Transitions of a block of data, by runs of the pair or by a recorded graph of one.

Axes: chains, data, dims.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pyrogen.batch import Batch
from pyrogen.pair import Pair

from ...graphs import CompiledFunction
from ...graphs.batches import BatchLayout
from ...weights.chunk_weights import Compiling, compilation
from ...weights.chunks import evaluation
from ..latent_density import LatentDensity
from .transition import Moved, State, evaluate, move

__all__ = ["Mover"]

_COMPILE_AFTER = 20  # transitions of one shape
_ROWS = 0.01  # share of chains that a rounding error may have sent another way
_TOLERANCE = 1e-2


class Mover:
    """Moves chains along a path of densities, and counts what that takes.

    Args:
        density: the path.
        calls: how many transitions are to come, by which ``compile="auto"`` decides; with none, nothing is compiled.
    """

    def __init__(self, density: LatentDensity, calls: int = 0) -> None:
        self.density, self.calls = density, calls
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
            wanted = compilation()
            if wanted is None or not self.calls:
                return move(self.density, batch, state, beta, step, scale, steps)
            layout = BatchLayout(batch)
            names, values = self._compiled(layout, steps, wanted)([*layout.pack(batch), *state, beta, step, scale])
        found = dict(zip(names, values, strict=True))
        return Moved(State(*(found[name] for name in State._fields)), found["acceptance"])

    def _compiled(self, layout: BatchLayout, steps: int, wanted: Compiling) -> CompiledFunction:
        key = ("transition", id(self.density.pair), self.density.initial, steps, *layout.fixed.items())
        if key not in wanted.functions:
            wanted.functions[key] = CompiledFunction(
                self.density.pair,
                _Recorded(self.density, layout, steps),
                wanted.compile,
                wanted.report,
                differs=_difference,
                calls=self.calls,
                compile_after=(_COMPILE_AFTER, _COMPILE_AFTER),
            )
        return wanted.functions[key]


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
        if same.dim() >= 2 and (~same).double().mean() > _ROWS and int((~same).sum()) > 1:
            worst = gap.nan_to_num(nan=torch.inf).max()
            return f"'{name}' differs by up to {float(worst):.3g} in {int((~same).sum())} of {same.numel()} chains"
    return None
