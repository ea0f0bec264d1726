"""The contract of families of conditional distributions: of the value at a position, given a network's outputs.

Named axes: ``N`` data, ``channels`` numbers of a value at a position, ``inputs`` and ``outputs`` of the network, ``noise``
uniform numbers that a draw takes, ``...`` any trailing dimensions: a grid, a group of positions, or none.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor
from torch.distributions import constraints

__all__ = ["Family", "choose"]


class Family(ABC):
    """A family of distributions of the value at one position.

    To write one, set the attributes and define `encode`, `log_prob` and `draw` as pure tensor functions, elementwise over N
    and ``...``, for them to be compiled. A draw depends on uniform noise alone: two samplers draw the same from the same.

    Attributes:
        channels: numbers of a value at a position.
        inputs: numbers of an encoded value, the inputs of the network.
        outputs: parameters of a position, the outputs of the network.
        noise: uniform numbers that a draw at a position takes.

    Raises:
        ConfigurationError: a size cannot be used, of any family.
    """

    channels: int
    inputs: int
    outputs: int
    noise: int

    def __eq__(self, other: object) -> bool:
        """Whether class and attributes are equal, so that code compiled for one serves the other."""
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *sorted(vars(self).items())))

    @property
    @abstractmethod
    def support(self) -> constraints.Constraint:
        """The support of each number of a value."""

    def encode(self, value: Tensor) -> Tensor:
        """Values (N, channels, ...) as inputs of a network, (N, inputs, ...); the values themselves unless overridden."""
        return value

    @abstractmethod
    def log_prob(self, parameters: Tensor, value: Tensor) -> Tensor:
        """Log probability or density, in nats, shape (N, ...), of values (N, channels, ...).

        The parameters have shape (N, outputs, ...).
        """

    @abstractmethod
    def draw(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """Values (N, channels, ...) from parameters (N, outputs, ...) and uniform noise in [0, 1), (N, noise, ...)."""


def choose(logits: Tensor, noise: Tensor, dim: int) -> Tensor:
    """A draw from categorical distributions along `dim`, by inversion of the cumulative distribution function.

    The noise, uniform in [0, 1), and the indices drawn have size 1 along `dim`.

    Example:
        >>> import torch
        >>> choose(torch.zeros(4), torch.tensor([0.6]), dim=0)
        tensor([2])
    """
    reached = logits.softmax(dim).cumsum(dim)
    last = logits.shape[dim] - 1
    # The sum may differ from 1 by rounding: the noise is scaled with it, or a last choice could be drawn too often.
    return (reached <= noise * reached.narrow(dim, last, 1)).sum(dim, keepdim=True).clamp(max=last)
