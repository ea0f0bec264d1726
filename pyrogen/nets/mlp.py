"""The multilayer perceptron, and activations by name, so that a command line or a configuration file can choose one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import TypeAlias

from torch import nn

from pyrogen.errors import ConfigurationError

from .sizes import positive_size, positive_sizes

__all__ = ["ACTIVATIONS", "MLP", "Activation", "make_activation"]


Activation: TypeAlias = str | Callable[[], nn.Module]
"""A name in `ACTIVATIONS`, or anything that makes a module when called, such as ``nn.PReLU``."""

ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = MappingProxyType(
    {
        "elu": nn.ELU,
        "gelu": nn.GELU,
        "leaky_relu": nn.LeakyReLU,
        "relu": nn.ReLU,
        "silu": nn.SiLU,
        "softplus": nn.Softplus,
        "tanh": nn.Tanh,
    }
)


def make_activation(activation: Activation) -> nn.Module:
    """Make a new activation module.

    Raises:
        ConfigurationError: no activation has that name, or the callable makes no module.

    Example:
        >>> make_activation("tanh")
        Tanh()
    """
    if isinstance(activation, str):
        if activation not in ACTIVATIONS:
            raise ConfigurationError(f"no activation '{activation}': choose one of {', '.join(ACTIVATIONS)}")
        return ACTIVATIONS[activation]()
    made = activation() if callable(activation) else activation
    if not isinstance(made, nn.Module):
        seen = type(made).__name__
        raise ConfigurationError(f"an activation must be a name or a callable that makes a module, and this gives a {seen}")
    return made


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
