"""Encoder and decoder networks of one architecture, of the sizes that a model asks for."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Literal, TypeAlias

from torch import nn

from pyrogen.errors import ConfigurationError

from .convolutional import ConvDecoder, ConvEncoder
from .mlp import MLP, Activation

__all__ = ["Architecture", "make_decoder", "make_encoder"]

Architecture: TypeAlias = Literal["mlp", "conv"]
"""``"mlp"``, or ``"conv"`` for convolutions between an image and the dense layers."""


def make_encoder(
    architecture: Architecture,
    shape: Sequence[int],
    outputs: int,
    hidden: Sequence[int],
    channels: Sequence[int],
    activation: Activation,
) -> nn.Module:
    """A network from flattened data, (..., all elements of `shape`), to (..., outputs).

    Args:
        architecture: ``"mlp"`` or ``"conv"``.
        shape: shape of a datum.
        outputs: numbers given for a datum.
        hidden: sizes of the dense hidden layers, from the data inwards.
        channels: with ``"conv"``, the channels of each convolution, from the image inwards.
        activation: see `Activation`.

    Raises:
        ConfigurationError: there is no such architecture, or a size cannot be used.

    Example:
        >>> make_encoder("mlp", (1, 3, 3), 4, (), (), "relu")
        MLP(
          (0): Linear(in_features=9, out_features=4, bias=True)
        )
    """
    if _is_convolutional(architecture):
        return ConvEncoder(shape, outputs, channels, hidden, activation)
    return MLP(prod(shape), hidden, outputs, activation)


def make_decoder(
    architecture: Architecture,
    latent: int,
    shape: Sequence[int],
    outputs: int,
    hidden: Sequence[int],
    channels: Sequence[int],
    activation: Activation,
) -> nn.Module:
    """The mirror of `make_encoder`, of the same arguments: from (..., latent) to (..., outputs * all elements of `shape`).

    There are `outputs` numbers for each element of a datum, the first ones of all elements before the second ones.

    Example:
        >>> make_decoder("mlp", 2, (1, 3, 3), 2, (), (), "relu")
        MLP(
          (0): Linear(in_features=2, out_features=18, bias=True)
        )
    """
    if _is_convolutional(architecture):
        return ConvDecoder(latent, shape, outputs, channels, hidden[::-1], activation)
    return MLP(latent, hidden[::-1], outputs * prod(shape), activation)


def _is_convolutional(architecture: str) -> bool:
    if architecture not in ("mlp", "conv"):
        raise ConfigurationError(f"no architecture '{architecture}': choose 'mlp' or 'conv'")
    return architecture == "conv"
