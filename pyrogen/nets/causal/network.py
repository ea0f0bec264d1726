"""The contract of causal networks: all positions at once in training, one group after the other when drawing.

A *position* is a pixel with all its channels, or an element of a sequence. The positions lie on a `grid`, (height, width)
or (length,), and are counted row by row: position ``i * width + j`` is row i, column j. They are drawn in *frontiers*:
groups of positions drawn at once, each given all positions of the groups before it.

Named axes: ``N`` data (all leading dimensions flattened), ``inputs``, ``outputs``, ``noise``, ``channels`` numbers at a
position, ``*grid`` the grid, ``positions`` the grid flattened, ``group`` the positions of a frontier.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from math import prod
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor, nn

from pyrogen.errors import ConfigurationError

__all__ = ["Advance", "CausalNetwork", "Emission", "Frontier", "State"]

State: TypeAlias = Any
"""What is carried from group to group: tensors in tuples, lists or dicts, nothing else, so that steps can be compiled."""

Frontier: TypeAlias = tuple[int, ...]
"""Positions that are drawn at once, ascending."""

Advance: TypeAlias = Callable[[int, "Tensor | None", Tensor, State], tuple[Tensor, State]]
"""``advance(index, previous, noise, state) -> (values, state)``: draw the positions of one frontier.

``previous`` are the values (N, channels, group) of the frontier before, ``None`` at the first; ``noise`` has shape
(N, noise, group).
"""


class Emission(Protocol):
    """What a network needs to know to draw: how a value is read by it, and drawn from its outputs.

    A `pyrogen.distributions.families.Family` is one. Both functions take any trailing dimensions ``...``.
    """

    def encode(self, value: Tensor) -> Tensor:
        """Values (N, channels, ...) as the network reads them, (N, inputs, ...)."""
        ...

    def draw(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """Values (N, channels, ...) from parameters (N, outputs, ...) and uniform noise (N, noise, ...)."""
        ...


class CausalNetwork(nn.Module, ABC):
    """A network whose output at a position depends only on the inputs at positions drawn before it.

    To write one, set the attributes below and define `forward`, `start` and `step` from one definition of every layer;
    define `frontiers` if the order is not row by row. A mask or an order is a buffer, for it to be saved and moved with
    the parameters. The contract test in ``tests/distributions/test_autoregressive_contract.py`` runs over all networks:
    add a case to ``tests/distributions/causal_cases.py``.

    Attributes:
        grid: (height, width), or (length,).
        inputs: numbers that the network reads at a position: the channels of an encoded value.
        outputs: numbers that it gives for a position: the parameters of a family of distributions.
        context_shape: shape of a datum's context: ``None`` if the network takes none, (features,) for a vector,
            (features, *grid) for a map of features, of which each position may see all.
    """

    grid: tuple[int, ...]
    inputs: int
    outputs: int
    context_shape: tuple[int, ...] | None = None

    @property
    def positions(self) -> int:
        """The number of positions."""
        return prod(self.grid)

    @property
    def frontiers(self) -> tuple[Frontier, ...]:
        """The groups of positions, in the order in which they are drawn; row by row, one by one, unless overridden."""
        return tuple((position,) for position in range(self.positions))

    @property
    def example(self) -> Tensor:
        """A tensor of the dtype and on the device of the network, to make others from."""
        for tensor in (*self.parameters(), *self.buffers()):
            if tensor.is_floating_point():
                return tensor
        return torch.empty(0)

    @abstractmethod
    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The parameters of all positions at once.

        Args:
            x: encoded values, shape (N, inputs, *grid).
            context: shape (N, *context_shape), or ``None`` if the network takes none.

        Returns:
            shape (N, outputs, *grid); those at a position do not depend on `x` at it or at positions drawn later.
        """

    @abstractmethod
    def start(self, count: int, context: Tensor | None = None) -> State:
        """The state before anything is drawn; this and `step` are called under `torch.no_grad` and in evaluation mode.

        Args:
            count: number of data N.
            context: as of `forward`. What depends on the context alone is best computed here, once.
        """

    @abstractmethod
    def step(self, index: int, previous: Tensor | None, state: State) -> tuple[Tensor, State]:
        """The parameters of the positions of one frontier, given all that was drawn.

        Args:
            index: number of the frontier; frontiers come in turn, from 0.
            previous: encoded values of the frontier before, shape (N, inputs, group); ``None`` at index 0.
            state: what `start` or the step before returned. It may be changed in place.

        Returns:
            parameters, shape (N, outputs, group of this frontier), and the next state. The parameters are those that
            `forward` gives at these positions.
        """

    def advance(self, emission: Emission, compiled: bool = False) -> Advance:
        """The function that `generate` calls for each frontier: `step` and a draw from what it gives.

        Args:
            emission: how values are read and drawn.
            compiled: whether to compile it. Override this where more than the step itself can be compiled.
        """
        step = self.compiled_step() if compiled else self.step

        def advance(index: int, previous: Tensor | None, noise: Tensor, state: State) -> tuple[Tensor, State]:
            parameters, state = step(index, None if previous is None else emission.encode(previous), state)
            return emission.draw(parameters, noise), state

        return advance

    def compiled_step(self) -> Callable[[int, Tensor | None, State], tuple[Tensor, State]]:
        """`step`, compiled; a network that can be compiled overrides it, or `advance`, or `generate`.

        Raises:
            ConfigurationError: it can't.
        """
        raise ConfigurationError(f"{type(self).__name__} has no compiled sampler: leave `compile` out")

    def generate(
        self,
        emission: Emission,
        noise: Tensor,
        context: Tensor | None = None,
        known: Tensor | None = None,
        mask: Tensor | None = None,
        compiled: bool = False,
        progress: Callable[[Iterable[int]], Iterable[int]] = iter,
    ) -> Tensor:
        """Draw all positions, frontier by frontier, from noise given.

        Call it under `torch.no_grad` and in evaluation mode; `pyrogen.distributions.Autoregressive.sample` does.

        Args:
            emission: how values are read and drawn.
            noise: uniform numbers in [0, 1), shape (N, noise, positions).
            context: shape (N, *context_shape), or ``None``.
            known: values to keep, shape (N, channels, positions).
            mask: true where a position's value is known, shape (N, 1, positions).
            compiled: whether to compile the step; the first call then takes long.
            progress: wraps the loop over frontiers, or over rows of them, to show how far it is.

        Returns:
            shape (N, channels, positions).
        """
        frontiers = self.frontiers
        order = torch.tensor([position for group in frontiers for position in group], device=noise.device)
        sizes = [len(group) for group in frontiers]

        def pieces(x: Tensor) -> tuple[Tensor, ...]:
            return x.index_select(-1, order).split(sizes, -1)  # type: ignore[no-untyped-call, no-any-return]

        uniform = pieces(noise)
        kept = None if known is None or mask is None else list(zip(pieces(known), pieces(mask), strict=True))
        advance = self.advance(emission, compiled)
        state = self.start(len(noise), context)
        values: list[Tensor] = []
        previous: Tensor | None = None
        for index in progress(range(len(frontiers))):
            previous, state = advance(index, previous, uniform[index], state)  # (N, channels, group)
            if kept is not None:
                previous = torch.where(kept[index][1], kept[index][0], previous)
            values.append(previous)
        return torch.cat(values, -1).index_select(-1, order.argsort())  # (N, channels, positions)
