"""Binary values at a position, and values of which each has a free probability."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn import functional as F

from pyrogen.nets import positive_size

from ..unit_grid import UnitGrid, grid_index
from .conditional import Family, choose

__all__ = ["Bernoulli", "Categorical"]


class Bernoulli(Family):
    r"""Values 0 or 1; the network gives their logits :math:`l`: :math:`P(x) = \sigma(l)^x \sigma(-l)^{1-x}`.

    Args:
        channels: numbers at a position, independent of one another given the positions before.
        centred: whether the network's input is ``2 x - 1`` in place of ``x``, so that a zero from the padding is no value.

    Example:
        >>> Bernoulli().log_prob(torch.zeros(2, 1, 3), torch.ones(2, 1, 3)).exp()
        tensor([[0.5000, 0.5000, 0.5000],
                [0.5000, 0.5000, 0.5000]])
    """

    def __init__(self, channels: int = 1, centred: bool = False) -> None:
        self.channels = self.inputs = self.outputs = self.noise = positive_size("channels", channels)
        self.centred = centred

    @property
    def support(self) -> constraints.Constraint:
        """0 and 1."""
        return constraints.boolean

    def encode(self, value: Tensor) -> Tensor:
        """See `Family.encode`."""
        return 2 * value - 1 if self.centred else value

    def log_prob(self, parameters: Tensor, value: Tensor) -> Tensor:
        """See `Family.log_prob`."""
        return -F.binary_cross_entropy_with_logits(parameters, value, reduction="none").sum(1)

    def draw(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """See `Family.draw`."""
        return (noise < torch.sigmoid(parameters)).to(parameters.dtype)


class Categorical(Family):
    r"""One of B values at each channel; the network gives a logit for each: :math:`P(x_i) = e^{l_i} / \sum_j e^{l_j}`.

    Values are either on the grid ``0, 1/(B-1), ..., 1``, as pixels are in this package, or the integers ``0, ..., B-1``,
    as tokens are. The channels of a position are independent of one another given the positions before.

    Reference:
        van den Oord, Kalchbrenner, Kavukcuoglu (2016), *Pixel Recurrent Neural Networks*, https://arxiv.org/abs/1601.06759.

    Args:
        values: the number of values B, at least 2.
        channels: numbers at a position.
        integers: whether the values are integers, in place of points of the grid.
        one_hot: whether the network's input is a one-hot vector, in place of one number from -1 to 1.

    Example:
        >>> Categorical(4).log_prob(torch.zeros(2, 4), torch.ones(2, 1)).exp()
        tensor([0.2500, 0.2500])
    """

    def __init__(self, values: int, channels: int = 1, integers: bool = False, one_hot: bool = False) -> None:
        self.values, self.integers, self.one_hot = positive_size("values", values, least=2), integers, one_hot
        self.channels = self.noise = positive_size("channels", channels)
        self.inputs = channels * values if one_hot else channels
        self.outputs = channels * values

    @property
    def support(self) -> constraints.Constraint:
        """The grid, or the integers."""
        return constraints.integer_interval(0, self.values - 1) if self.integers else UnitGrid(self.values)  # type: ignore[no-untyped-call]

    def encode(self, value: Tensor) -> Tensor:
        """See `Family.encode`."""
        if not self.one_hot:
            return 2 * value / (self.values - 1) - 1 if self.integers else 2 * value - 1
        ones = F.one_hot(self._index(value), self.values).movedim(-1, 2)  # (N, channels, values, ...)
        return ones.flatten(1, 2).to(value.dtype)  # (N, inputs, ...)

    def log_prob(self, parameters: Tensor, value: Tensor) -> Tensor:
        """See `Family.log_prob`."""
        logits = self._logits(parameters)
        chosen = logits.gather(2, self._index(value)[:, :, None]) - logits.logsumexp(2, keepdim=True)
        return chosen.sum((1, 2))

    def draw(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """See `Family.draw`."""
        index = choose(self._logits(parameters), noise[:, :, None], 2)[:, :, 0].to(parameters.dtype)
        return index if self.integers else index / (self.values - 1)

    def _logits(self, parameters: Tensor) -> Tensor:
        count, _, *rest = parameters.shape
        return parameters.reshape(count, self.channels, self.values, *rest)  # (N, channels, values, ...)

    def _index(self, value: Tensor) -> Tensor:
        return (value if self.integers else grid_index(value, self.values)).to(torch.long)
