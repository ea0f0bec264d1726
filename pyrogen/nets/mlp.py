"""The multilayer perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from .activations import Activation, make_activation
from .sizes import positive_size, positive_sizes

__all__ = ["MLP"]


class MLP(nn.Sequential):
    """Linear layers with an activation between each two.

    Args:
        in_features: size of the last dimension of the input.
        hidden: sizes of the hidden layers; empty for one linear map.
        out_features: size of the last dimension of the output.
        activation: see `Activation`.

    Raises:
        ConfigurationError: a size is not a positive integer, or no activation has that name.

    Example:
        >>> import torch
        >>> MLP(784, [400], 40)(torch.zeros(7, 784)).shape
        torch.Size([7, 40])
    """

    def __init__(self, in_features: int, hidden: Sequence[int], out_features: int, activation: Activation = "relu") -> None:
        first, last = positive_size("in_features", in_features), positive_size("out_features", out_features)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((first, *positive_sizes("hidden", hidden), last)):
            layers += [nn.Linear(inputs, outputs), make_activation(activation)]
        super().__init__(*layers[:-1])
