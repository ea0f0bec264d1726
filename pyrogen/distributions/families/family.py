"""The contract of conditional families: how the value at a position is distributed, given a network's outputs.

Named axes: ``N`` data, ``channels`` numbers of a value at a position, ``inputs`` and ``outputs`` of the network, ``noise``
uniform numbers that a draw takes, ``...`` any trailing dimensions: a grid, a group of positions, or none.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor
from torch.distributions import constraints

__all__ = ["Family"]


class Family(ABC):
    """A family of distributions of the value at one position.

    To write one, set the attributes and define `encode`, `log_prob` and `draw`, all elementwise over N and ``...``, of
    pure tensor functions, for them to be compiled. The draw is a function of uniform noise alone, so that two samplers
    given the same noise draw the same.

    Attributes:
        channels: numbers of a value at a position.
        inputs: numbers by which a network reads a value.
        outputs: parameters of a position, given by a network.
        noise: uniform numbers that a draw at a position takes.
    """

    channels: int
    inputs: int
    outputs: int
    noise: int

    def __eq__(self, other: object) -> bool:
        """Families of one class with the same attributes are equal: what is compiled for one serves the other."""
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *sorted(vars(self).items())))

    @property
    @abstractmethod
    def support(self) -> constraints.Constraint:
        """The support of each number of a value."""

    def encode(self, value: Tensor) -> Tensor:
        """Values (N, channels, ...) as a network reads them, (N, inputs, ...); the values themselves unless overridden."""
        return value

    @abstractmethod
    def log_prob(self, parameters: Tensor, value: Tensor) -> Tensor:
        """Log probability or density of values, in nats.

        Args:
            parameters: shape (N, outputs, ...).
            value: shape (N, channels, ...).

        Returns:
            shape (N, ...).
        """

    @abstractmethod
    def draw(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """Values made from uniform noise.

        Args:
            parameters: shape (N, outputs, ...).
            noise: independent uniform numbers in [0, 1), shape (N, noise, ...).

        Returns:
            shape (N, channels, ...).
        """
