"""The contract of causal networks: all positions in parallel for training, one group after the other for sampling.

A *position* is a pixel with all its channels, or an element of a sequence. Positions lie on a `grid`, (height, width) or
(length,), and are numbered in raster order: position ``i * width + j`` is row i, column j. A *group* of positions is sampled
in parallel, given all positions of the groups before it; in raster order each group is a single position.

Named axes: ``N`` data (all leading dimensions flattened), ``inputs``, ``outputs``, ``noise`` and ``channels`` numbers at a
position, ``*grid`` the grid, ``positions`` the grid flattened, ``group`` the positions of a group.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any, ClassVar, NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor, nn

from pyrogen.errors import ConfigurationError

from ..sizes import positive_size, positive_sizes

__all__ = ["Advance", "CausalNetwork", "Emission", "Group", "SamplerInput", "State", "evaluation", "keep_known"]

State: TypeAlias = Any
"""The cache of a sampler: tensors in tuples, lists or dicts, nothing else, so that steps can be compiled."""

Group: TypeAlias = tuple[int, ...]
"""Positions that are sampled in parallel, ascending."""

Step: TypeAlias = Callable[[int, "Tensor | None", State], tuple[Tensor, State]]
"""`CausalNetwork.step`."""

Advance: TypeAlias = Callable[[int, "Tensor | None", Tensor, State], tuple[Tensor, State]]
"""``advance(index, previous, noise, state) -> (values, state)``: sample the positions of one group.

``previous`` are the values (N, channels, group) of the group before, ``None`` at the first; ``noise`` has shape
(N, noise, group).
"""


class Emission(Protocol):
    """How a value is fed to a network and sampled from its outputs, as a `pyrogen.distributions.families.Family` does.

    Both functions take any trailing dimensions ``...``.
    """

    def encode(self, value: Tensor) -> Tensor:
        """Values (N, channels, ...) as inputs of the network, (N, inputs, ...)."""

    def draw(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """Values (N, channels, ...) from parameters (N, outputs, ...) and uniform noise (N, noise, ...)."""


class SamplerInput(NamedTuple):
    """The arguments of `CausalNetwork.generate`, as a compiled sampler receives them."""

    emission: Emission
    noise: Tensor
    context: Tensor | None
    known: Tensor | None
    mask: Tensor | None
    progress: Callable[[Iterable[int]], Iterable[int]]


class CausalNetwork(nn.Module, ABC):
    """A network whose outputs at a position depend only on the inputs at positions sampled before it.

    To write one, call this constructor (or set the attributes below), and define `forward`, `start` and `step` from one
    definition of each layer; define `groups` if the order is not raster order. Register masks and orders as buffers, so
    that they are saved and moved with the parameters. Add a case to ``tests/contracts/causal_cases.py``.

    Attributes:
        context_shape: shape of the conditioning of a datum: ``None`` for none, (features,) for a vector,
            (features, *grid) for a feature map, of which each position may see all.

    Args:
        grid: (height, width), or (length,); left out by a network that sets all four attributes itself.
        inputs: input channels of a position: those of an encoded value.
        outputs: output channels of a position: the parameters of its conditional distribution.
        context: features of the context, 0 for none.
        context_map: whether the context is a feature map rather than a vector.
        dimensions: how many axes the grid may have; any number if empty.

    Raises:
        ConfigurationError: a size, of this or of a derived class, cannot be used, or the grid has another number of axes.
    """

    grid: tuple[int, ...]
    inputs: int
    outputs: int
    context_shape: tuple[int, ...] | None = None
    steps_differ: ClassVar[bool] = False
    """Whether each step has shapes of its own, so that there is nothing to compile: `compiled_step` is then `step`."""

    def __init__(
        self,
        grid: Sequence[int] | None = None,
        inputs: int = 1,
        outputs: int = 1,
        context: int = 0,
        context_map: bool = False,
        dimensions: Collection[int] = (),
    ) -> None:
        super().__init__()
        if grid is None:
            return
        self.grid = positive_sizes("grid", grid)
        if dimensions and len(self.grid) not in dimensions:
            wanted = " or ".join(("(length,)", "(height, width)")[axes - 1] for axes in dimensions)
            raise ConfigurationError(f"the grid of a {type(self).__name__} must be {wanted}, not {self.grid}")
        self.inputs, self.outputs = positive_size("inputs", inputs), positive_size("outputs", outputs)
        if context:
            self.context_shape = (positive_size("context", context), *(self.grid if context_map else ()))

    @property
    def positions(self) -> int:
        """The number of positions."""
        return prod(self.grid)

    @property
    def groups(self) -> tuple[Group, ...]:
        """Groups of positions in autoregressive order: single positions in raster order, unless overridden."""
        return tuple((position,) for position in range(self.positions))

    @property
    def frontiers(self) -> tuple[Group, ...]:
        """The former name of `groups`."""
        warnings.warn("`frontiers` is now called `groups`", DeprecationWarning, stacklevel=2)
        return self.groups

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "frontiers" in vars(cls):  # which would be ignored, and the order with it
            raise TypeError(f"{cls.__name__} defines `frontiers`: call it `groups`")

    @property
    def example(self) -> Tensor:
        """A tensor of the dtype and on the device of the network, to make others from."""
        for tensor in (*self.parameters(), *self.buffers()):
            if tensor.is_floating_point():
                return tensor
        return torch.empty(0)

    @abstractmethod
    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The parameters of all positions in parallel.

        Args:
            x: encoded values, shape (N, inputs, *grid).
            context: shape (N, *context_shape), or ``None`` if the network takes none.

        Returns:
            shape (N, outputs, *grid); those at a position do not depend on `x` at it or at positions sampled later.
        """

    @abstractmethod
    def start(self, count: int, context: Tensor | None = None) -> State:
        """The empty cache for `count` data, and what depends on the context alone, computed once.

        This and `step` are called under `torch.no_grad` and in evaluation mode.
        """

    @abstractmethod
    def step(self, index: int, previous: Tensor | None, state: State) -> tuple[Tensor, State]:
        """The parameters of the next group of positions, as `forward` gives them, and the next cache.

        Args:
            index: number of the group.
            previous: encoded values of the group before, shape (N, inputs, group); ``None`` at index 0.
            state: the cache that `start` or the step before returned. It may be changed in place.

        Returns:
            parameters, shape (N, outputs, group), and the next state.
        """

    def advance(self, emission: Emission, compiled: bool = False) -> Advance:
        """The function that `generate` calls for each group; override it where more than the step can be compiled."""
        step = self.compiled_step() if compiled else self.step

        def advance(index: int, previous: Tensor | None, noise: Tensor, state: State) -> tuple[Tensor, State]:
            parameters, state = step(index, None if previous is None else emission.encode(previous), state)
            return emission.draw(parameters, noise), state

        return advance

    def compiled_step(self) -> Step:
        """`step`, compiled; a network that can be compiled overrides it, or `advance`, or `generate_compiled`.

        Raises:
            ConfigurationError: it can't.
        """
        if self.steps_differ:
            return self.step
        raise ConfigurationError(f"{type(self).__name__} has no compiled sampler: leave `compile` out")

    def generate_compiled(self, given: SamplerInput) -> Tensor | None:
        """`generate` by compiled code that samples several positions a call; ``None`` if there is no such code."""
        return None

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
        """Sample all positions, group by group; call it under `torch.no_grad` and in evaluation mode.

        Args:
            emission: how values are encoded and drawn.
            noise: uniform numbers in [0, 1), shape (N, noise, positions).
            context: shape (N, *context_shape), or ``None``.
            known: values to keep, shape (N, channels, positions).
            mask: true where a position's value is known, shape (N, 1, positions).
            compiled: whether to compile; the first call then takes long.
            progress: wraps the loop, such as ``tqdm``.

        Returns:
            shape (N, channels, positions).
        """
        if compiled:
            drawn = self.generate_compiled(SamplerInput(emission, noise, context, known, mask, progress))
            if drawn is not None:
                return drawn
        groups = self.groups
        order = torch.tensor([position for group in groups for position in group], device=noise.device)
        sizes = [len(group) for group in groups]

        def by_group(x: Tensor | None) -> Sequence[Tensor | None]:
            """Parts of the last axis, (..., group) each."""
            return [None] * len(sizes) if x is None else x.index_select(-1, order).split(sizes, -1)  # type: ignore[no-untyped-call]

        uniform, kept, where = by_group(noise), by_group(known), by_group(mask)
        advance = self.advance(emission, compiled)
        state = self.start(len(noise), context)
        values: list[Tensor] = []
        previous: Tensor | None = None
        for index in progress(range(len(groups))):
            previous, state = advance(index, previous, uniform[index], state)  # type: ignore[arg-type]  # (N, channels, group)
            previous = keep_known(previous, kept[index], where[index])
            values.append(previous)
        return torch.cat(values, -1).index_select(-1, order.argsort())  # (N, channels, positions)


def keep_known(drawn: Tensor, known: Tensor | None, mask: Tensor | None) -> Tensor:
    """Values drawn, with the known ones in their place where the mask is true."""
    return drawn if known is None or mask is None else torch.where(mask, known, drawn)


@contextmanager
def evaluation(network: nn.Module) -> Iterator[None]:
    """Put a network in evaluation mode, and each of its modules back in its own mode afterwards."""
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
