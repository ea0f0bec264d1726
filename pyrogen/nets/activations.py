"""Activations by name, so that a command line or a configuration file can choose one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from torch import nn

from pyrogen.errors import ConfigurationError

__all__ = ["ACTIVATIONS", "Activation", "make_activation"]

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
