"""Encoder and decoder networks of one architecture, of the sizes that a model asks for, and the convolutional ones.

Each convolution halves height and width, rounding up, so that every size works, odd ones and a single pixel
included: 28 -> 14 -> 7, 9 -> 5 -> 3. The decoder goes through the same sizes the other way.

Named axes: ``...`` any leading dimensions, ``images`` all of them flattened into one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Literal, TypeAlias

from torch import Tensor, nn

from pyrogen.errors import ConfigurationError

from .mlp import MLP, Activation, make_activation
from .sizes import image_shape, odd_size, positive_size, positive_sizes

__all__ = ["Architecture", "ConvDecoder", "ConvEncoder", "make_decoder", "make_encoder"]


class ConvEncoder(nn.Module):
    """Flattened images to features, by convolutions of stride 2 and a perceptron on top.

    Args:
        shape: (channels, height, width) of an image.
        out_features: size of the last dimension of the output.
        channels: output channels of each convolution, from the image inwards.
        hidden: sizes of the perceptron's hidden layers.
        activation: see `Activation`.
        kernel: side of the kernels, odd.

    Raises:
        ConfigurationError: a size cannot be used, or no activation has that name.

    Example:
        >>> import torch
        >>> ConvEncoder((1, 28, 28), 40)(torch.zeros(7, 784)).shape
        torch.Size([7, 40])
    """

    def __init__(
        self,
        shape: Sequence[int],
        out_features: int,
        channels: Sequence[int] = (32, 64),
        hidden: Sequence[int] = (),
        activation: Activation = "relu",
        kernel: int = 3,
    ) -> None:
        super().__init__()
        self.shape = image_shape(shape)
        kernel = odd_size("kernel", kernel)
        stages, sizes = _stages(self.shape, channels)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(stages):
            layers += [nn.Conv2d(inputs, outputs, kernel, 2, kernel // 2), make_activation(activation)]
        self.convolutions = nn.Sequential(*layers)
        self.dense = MLP(stages[-1] * prod(sizes[-1]), hidden, out_features, activation)

    def forward(self, x: Tensor) -> Tensor:
        """Flattened images (..., channels * height * width) to features (..., out_features)."""
        features: Tensor = self.convolutions(x.reshape(-1, *self.shape))  # (images, channels, height, width)
        return self.dense(features.reshape(*x.shape[:-1], -1))  # type: ignore[no-any-return]  # (..., out_features)


class ConvDecoder(nn.Module):
    """Features to flattened images, the mirror of `ConvEncoder`.

    All pixels' first numbers come first, then all second ones, as ``chunk(parameters, dim=-1)`` takes them apart.

    Args:
        in_features: size of the last dimension of the input.
        shape: (channels, height, width) of an image.
        parameters: numbers per pixel and channel.
        channels: channels of the inner images, from the image inwards, as the encoder has them.
        hidden: sizes of the hidden layers of the perceptron, from the input on.
        activation, kernel: as of `ConvEncoder`, as are the errors.

    Example:
        >>> import torch
        >>> ConvDecoder(20, (1, 9, 9), parameters=2)(torch.zeros(5, 7, 20)).shape
        torch.Size([5, 7, 162])
    """

    def __init__(
        self,
        in_features: int,
        shape: Sequence[int],
        parameters: int = 1,
        channels: Sequence[int] = (32, 64),
        hidden: Sequence[int] = (),
        activation: Activation = "relu",
        kernel: int = 3,
    ) -> None:
        super().__init__()
        self.shape = image_shape(shape)
        kernel = odd_size("kernel", kernel)
        stages, sizes = _stages(self.shape, channels)
        stages[0] *= positive_size("parameters", parameters)
        self.inner = (stages[-1], *sizes[-1])
        self.dense = nn.Sequential(MLP(in_features, hidden, prod(self.inner), activation), make_activation(activation))
        layers: list[nn.Module] = []
        for stage in reversed(range(len(stages) - 1)):
            # Two sizes shrink to one when they halve; the padding says which of the two comes back.
            padding = (1 - sizes[stage][0] % 2, 1 - sizes[stage][1] % 2)
            widen = nn.ConvTranspose2d(stages[stage + 1], stages[stage], kernel, 2, kernel // 2, output_padding=padding)
            layers += [widen, make_activation(activation)]
        self.convolutions = nn.Sequential(*layers[:-1])

    def forward(self, z: Tensor) -> Tensor:
        """Features (..., in_features) to flattened images (..., parameters * channels * height * width)."""
        inner: Tensor = self.dense(z).reshape(-1, *self.inner)  # (images, channels, height, width)
        images: Tensor = self.convolutions(inner)  # (images, parameters * channels, height, width)
        return images.reshape(*z.shape[:-1], -1)  # (..., parameters * channels * height * width)


def _stages(shape: tuple[int, int, int], channels: Sequence[int]) -> tuple[list[int], list[tuple[int, int]]]:
    """Channels and (height, width) of the images at every stage, the outer one first."""
    depths = [shape[0], *positive_sizes("channels", channels)]
    if len(depths) == 1:
        raise ConfigurationError("channels must name at least one convolution; without any, use an MLP")
    sizes = [shape[1:]]
    for _ in depths[1:]:
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    return depths, sizes


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
