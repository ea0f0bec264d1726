"""The WaveNet: a stack of causal dilated convolutions along a sequence.

A layer convolves the zero-padded sequence in training; in sampling, the features under its taps, from a ring buffer.

Named axes, beside those of `pyrogen.nets.causal.network`: ``features`` of the hidden layers, ``taps`` of a kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyrogen.errors import ConfigurationError

from ..sizes import dropout_probability, positive_size, positive_sizes
from .network import CausalNetwork, State

__all__ = ["WaveNet"]


class WaveNet(CausalNetwork):
    r"""Gated dilated convolutions with residual and skip connections; dilations double from layer to layer.

    With :math:`h^0_i` an affine function of the value at position :math:`i - 1` and :math:`c_i` the context,

    .. math::
        a^l_i = \sum_t W^l_t h^l_{i - t d_l} + V^l c_i, \qquad g = \tanh(a) \odot \sigma(a'), \qquad
        h^{l+1} = h^l + R^l g^l, \qquad \eta = \operatorname{MLP}\Big(\sum_l S^l g^l\Big).

    The receptive field is the last `reach` positions; an image is a sequence in raster order.

    Reference:
        van den Oord et al. (2016), *WaveNet: A Generative Model for Raw Audio*, https://arxiv.org/abs/1609.03499; the ring
        buffers are those of Paine et al. (2016), *Fast Wavenet Generation Algorithm*, https://arxiv.org/abs/1611.09482.

    Args:
        grid, inputs, outputs, context, context_map: see `CausalNetwork`; in raster order.
        features, layers: channels of the hidden layers, and number of dilated convolutions.
        kernel: taps of each, at least 2.
        dilations: distances of the taps, layer by layer; repeated as often as needed.
        dropout: probability that a gate's output is dropped in training.

    Example:
        >>> net = WaveNet((100,), features=8, layers=6)
        >>> net(torch.zeros(7, 1, 100)).shape, net.reach
        (torch.Size([7, 1, 100]), 64)
    """

    def __init__(
        self,
        grid: Sequence[int],
        inputs: int = 1,
        outputs: int = 1,
        features: int = 64,
        layers: int = 10,
        kernel: int = 2,
        dilations: Sequence[int] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
        context: int = 0,
        context_map: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(grid, inputs, outputs, context, context_map, dimensions=(1, 2))
        self.features, layers = positive_size("features", features), positive_size("layers", layers)
        if positive_size("kernel", kernel) < 2:
            raise ConfigurationError("kernel must be at least 2, not 1: with one tap no position sees another")
        distances = positive_sizes("dilations", dilations) or (1,)
        self.dropout = dropout_probability(dropout)
        self.embed = nn.Conv1d(inputs, features, 1)
        stack = (_Layer(features, kernel, distances[n % len(distances)]) for n in range(layers))
        self.layers: Sequence[_Layer] = nn.ModuleList(stack)  # type: ignore[assignment]
        self.head = nn.Sequential(nn.ReLU(), nn.Conv1d(features, features, 1), nn.ReLU(), nn.Conv1d(features, outputs, 1))
        self.project = nn.Conv1d(context, 2 * features * layers, 1, bias=False) if context else None

    @property
    def reach(self) -> int:
        """Length of the receptive field, in positions."""
        return 1 + sum(layer.reach for layer in self.layers)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """See `CausalNetwork.forward`."""
        embedded: Tensor = self.embed(F.pad(x.flatten(2), (1, -1)))  # (N, features, positions)
        offsets = self._offsets(context)
        features, skips = embedded, torch.zeros_like(embedded)
        for layer, offset in zip(self.layers, offsets, strict=True):
            window = F.pad(features, (layer.reach, 0))
            gated = layer.gate(F.conv1d(window, layer.weight, layer.bias, dilation=layer.dilation), offset)
            if self.training and self.dropout:
                gated = F.dropout(gated, self.dropout)
            features, skips = layer.connect(gated, features, skips)
        return self.head(skips).unflatten(2, self.grid)  # type: ignore[no-any-return]

    def start(self, count: int, context: Tensor | None = None) -> State:
        """See `CausalNetwork.start`; the state is the projected context and a ring buffer of features for each layer."""
        like = self.example
        rings = [like.new_zeros(layer.reach, count, self.features, 1) for layer in self.layers]
        return self._offsets(context), rings, like.new_zeros(count, self.inputs, 1)

    def step(self, index: int, previous: Tensor | None, state: State) -> tuple[Tensor, State]:
        """See `CausalNetwork.step`."""
        offsets, rings, nothing = state
        features: Tensor = self.embed(nothing if previous is None else previous)  # (N, features, 1)
        skips = torch.zeros_like(features)
        for layer, offset, ring in zip(self.layers, offsets, rings, strict=True):
            ages = range(layer.reach, 0, -layer.dilation)
            window = torch.cat([*(ring[(index - age) % layer.reach] for age in ages), features], 2)  # (N, features, taps)
            ring[index % layer.reach] = features  # in place of the oldest
            if offset is not None and offset.shape[2] > 1:
                offset = offset[:, :, index : index + 1]
            gated = layer.gate(F.conv1d(window, layer.weight, layer.bias), offset)
            features, skips = layer.connect(gated, features, skips)
        return self.head(skips), state

    def _offsets(self, context: Tensor | None) -> Sequence[Tensor | None]:
        """The context projected to the gates of each layer, (N, 2 features, 1 or positions)."""
        if self.project is None or context is None:
            return [None] * len(self.layers)
        flat = context.unsqueeze(2) if context.dim() == 2 else context.flatten(2)  # (N, context, 1 or positions)
        return cast("Tensor", self.project(flat)).chunk(len(self.layers), 1)


class _Layer(nn.Module):
    """A dilated convolution, its gate, and the residual and skip connections."""

    def __init__(self, features: int, kernel: int, dilation: int) -> None:
        super().__init__()
        convolution = nn.Conv1d(features, 2 * features, kernel)
        self.weight, self.bias = convolution.weight, convolution.bias
        self.out = nn.Conv1d(features, 2 * features, 1)
        self.dilation, self.reach = dilation, (kernel - 1) * dilation

    def gate(self, x: Tensor, offset: Tensor | None) -> Tensor:
        value, opening = (x if offset is None else x + offset).chunk(2, 1)
        return value.tanh() * opening.sigmoid()

    def connect(self, gated: Tensor, features: Tensor, skips: Tensor) -> tuple[Tensor, Tensor]:
        residual, skip = self.out(gated).chunk(2, 1)
        return features + residual, skips + skip
