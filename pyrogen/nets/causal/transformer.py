"""The causal transformer, with what earlier positions were asked for and told kept in a cache.

A block works on rows of tokens, (rows, width), and reaches other positions through one function alone, its attention: all
positions at once in training, or one position against the cache when drawing. All else is the same code.

Named axes, beside those of `pyrogen.nets.causal.network`: ``width`` of a token, ``heads``, ``head`` numbers of a head,
``rows`` tokens of all data: N * positions, or N in a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyrogen.errors import ConfigurationError

from ..sizes import positive_size
from .network import CausalNetwork, Emission, State
from .unrolled import generate_unrolled
from .wavenet import sequence_grid

__all__ = ["CausalTransformer"]


class CausalTransformer(CausalNetwork):
    r"""Attention to all earlier positions, in layers with a residual stream.

    With :math:`h_i` the embedding of the value at position :math:`i - 1`, of the place :math:`i` and of the context,

    .. math::
        h_i \leftarrow h_i + W \sum_{j \le i} \operatorname{softmax}_j\!\big(q_i^\top k_j / \sqrt{d}\big)\, v_j,
        \qquad h_i \leftarrow h_i + \operatorname{MLP}(h_i),

    layer after layer, each on normalized tokens. Places of an image are embedded as the sum of a row's and a column's
    vector. A step computes the token of one position and keeps its keys and values, so that drawing all positions costs
    little more than the attention of one pass in parallel.

    Reference:
        Vaswani et al. (2017), *Attention Is All You Need*, https://arxiv.org/abs/1706.03762;
        Child, Gray, Radford, Sutskever (2019), *Generating Long Sequences with Sparse Transformers*,
        https://arxiv.org/abs/1904.10509 (images as sequences of pixels, normalization before each part).

    Args:
        grid: (height, width), or (length,); drawn row by row.
        inputs: numbers read at a position.
        outputs: numbers given for a position.
        width: numbers of a token.
        layers: number of blocks.
        heads: number of heads of the attention; divides `width`.
        context: features of a context, 0 for none.
        context_map: whether the context is a map, (context, *grid), and not a vector.
        dropout: probability with which attended values and hidden units are dropped in training.

    Raises:
        ConfigurationError: a size is not a positive integer, or the sizes don't fit one another.

    Example:
        >>> CausalTransformer((4, 4), width=16, layers=2)(torch.zeros(7, 1, 4, 4)).shape
        torch.Size([7, 1, 4, 4])
    """

    def __init__(
        self,
        grid: Sequence[int],
        inputs: int = 1,
        outputs: int = 1,
        width: int = 128,
        layers: int = 4,
        heads: int = 4,
        context: int = 0,
        context_map: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.grid = sequence_grid(grid)
        self.inputs, self.outputs = positive_size("inputs", inputs), positive_size("outputs", outputs)
        self.width, self.heads = positive_size("width", width), positive_size("heads", heads)
        if width % heads:
            raise ConfigurationError(f"heads must divide width: {heads} does not divide {width}")
        if not 0 <= dropout < 1:
            raise ConfigurationError(f"dropout must lie in [0, 1), not {dropout}")
        self.dropout = dropout
        self.embed = nn.Linear(inputs, width)
        self.places = nn.ParameterList(nn.Parameter(0.1 * torch.randn(size, width)) for size in self.grid)
        self.blocks = nn.ModuleList(_Block(width, layers) for _ in range(positive_size("layers", layers)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, outputs)
        self.project = nn.Linear(positive_size("context", context), width, bias=False) if context else None
        if context:
            self.context_shape = (context, *(self.grid if context_map else ()))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """See `CausalNetwork.forward`."""
        return self.of_prefix(x.flatten(2)[..., :-1], context).reshape(len(x), self.outputs, *self.grid)

    def of_prefix(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The parameters of as many positions as the values before them allow, without a cache.

        Args:
            x: encoded values of the first n positions, shape (N, inputs, n), n less than all.
            context: shape (N, *context_shape), or ``None``.

        Returns:
            shape (N, outputs, n + 1).
        """
        count, length = len(x), x.shape[2] + 1
        values = F.linear(x.mT, self.embed.weight)  # (N, n, width)
        tokens = self._offsets(context)[:, :length] + F.pad(values, (0, 0, 1, 0))  # (N, n + 1, width)
        tokens = tokens.flatten(0, 1)  # (rows, width)
        attend = partial(_attend_all, count=count, heads=self.heads)
        for layer in self._layers():
            tokens = _block(tokens, layer, attend, self.dropout if self.training else 0.0)
        parameters: Tensor = self.head(self.norm(tokens))  # (rows, outputs)
        return parameters.reshape(count, length, -1).mT  # (N, outputs, n + 1)

    def start(self, count: int, context: Tensor | None = None) -> State:
        """See `CausalNetwork.start`; the state is what is added to each token, the cache, and weights as a step has them."""
        offsets = self._offsets(context)
        shape = count * self.heads, self.width // self.heads, self.positions
        keys = [offsets.new_zeros(shape) for _ in self.blocks]  # keys lie as the scores' matrix product reads them
        values = [offsets.new_zeros(shape).mT.contiguous() for _ in self.blocks]
        layers = [layer.tempered(self.heads) for layer in self._layers()]
        ends = self.embed.weight.t(), self.norm.weight, self.norm.bias, self.head.weight, self.head.bias
        return offsets, keys, values, layers, ends

    def step(self, index: int, previous: Tensor | None, state: State) -> tuple[Tensor, State]:
        """See `CausalNetwork.step`."""
        offset = state[0][:, index]  # (1 or N, width)
        if previous is None:
            tokens = offset.expand(len(state[1][0]) // self.heads, -1)  # (N, width)
        else:
            tokens = torch.addmm(offset, previous[..., 0], state[4][0])
        return _of_token(tokens, index, state), state

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
        """See `CausalNetwork.generate`; compiled, a few positions at a time."""
        if compiled:
            return generate_unrolled(self, emission, noise, context, known, mask, progress)
        return super().generate(emission, noise, context, known, mask, compiled, progress)

    @staticmethod
    def of_place(previous: Tensor, place: Tensor, state: State) -> Tensor:
        """`step` at a place that is a tensor, so that compiled code serves all places.

        Args:
            previous: encoded value of the position before, shape (N, inputs, 1).
            place: number of the position, shape (1,).
            state: of `start`; its cache may be cut to the first positions, `place` among them.

        Returns:
            shape (N, outputs, 1).
        """
        offset = state[0].index_select(1, place)[:, 0]  # (1 or N, width)
        return _of_token(torch.addmm(offset, previous[..., 0], state[4][0]), place, state)

    def _offsets(self, context: Tensor | None) -> Tensor:
        """What is added to the values' embeddings, (1 or N, positions, width)."""
        rows, *columns = self.places
        table: Tensor = rows if not columns else (rows[:, None] + columns[0]).flatten(0, 1)  # (positions, width)
        table = (table + self.embed.bias).unsqueeze(0)
        if self.project is None or context is None:
            return table
        projected: Tensor = self.project(context.unsqueeze(1) if context.dim() == 2 else context.flatten(2).mT)
        return table + projected

    def _layers(self) -> list[_Layer]:
        return [block.layer() for block in self.blocks]  # type: ignore[operator]


class _Layer(NamedTuple):
    """The parameters of a block, as tensors: a step has no time to look them up."""

    scale: Tensor
    shift: Tensor
    ask: Tensor  # (3 width, width): queries, keys and values
    ask_bias: Tensor
    mix: Tensor  # (width, width), transposed as the next
    scale_after: Tensor
    shift_after: Tensor
    up: Tensor  # (4 width, width)
    up_bias: Tensor
    down: Tensor  # (4 width, width)

    def tempered(self, heads: int) -> _Layer:
        """With queries multiplied by the factor of the scores, so that no step need do it."""
        width = len(self.mix)
        factor = torch.ones_like(self.ask_bias)
        factor[:width] = (width // heads) ** -0.5
        return self._replace(ask=self.ask * factor[:, None], ask_bias=self.ask_bias * factor)


class _Block(nn.Module):
    """Attention, and a perceptron on each token."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.norm, self.norm_after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.ask, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width, bias=False)
        with torch.no_grad():  # so that the residual stream does not grow with the number of layers
            for last in (self.mix, self.down):
                last.weight.mul_((2 * layers) ** -0.5)

    def layer(self) -> _Layer:
        norm, after, ask, up = self.norm, self.norm_after, self.ask, self.up
        first = norm.weight, norm.bias, ask.weight, ask.bias, self.mix.weight.t()
        return _Layer(*first, after.weight, after.bias, up.weight, up.bias, self.down.weight.t())


def _block(x: Tensor, layer: _Layer, attend: Callable[[Tensor], Tensor], dropout: float = 0.0) -> Tensor:
    """Tokens (rows, width) to tokens; `attend` maps (rows, 3 width), what they ask, to (rows, width), what they learn."""
    scale, shift, ask, ask_bias, mix, scale_after, shift_after, up, up_bias, down = layer
    shape = x.shape[-1:]
    learnt = attend(F.linear(F.layer_norm(x, shape, scale, shift), ask, ask_bias))
    x = torch.addmm(x, F.dropout(learnt, dropout) if dropout else learnt, mix)
    # Exact GELU takes longer than a whole matrix product where there is one token.
    hidden = F.silu(F.linear(F.layer_norm(x, shape, scale_after, shift_after), up, up_bias))
    return torch.addmm(x, F.dropout(hidden, dropout) if dropout else hidden, down)


def _attend_all(asked: Tensor, count: int, heads: int) -> Tensor:
    """Attention of all positions to themselves and those before, (N * positions, 3 width) to (N * positions, width)."""
    q, k, v = asked.view(count, -1, 3, heads, asked.shape[1] // (3 * heads)).permute(2, 0, 3, 1, 4)
    learnt = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # (N, heads, positions, head)
    return learnt.transpose(1, 2).reshape(len(asked), -1)


def _attend_cached(asked: Tensor, keys: Tensor, values: Tensor, place: int | Tensor) -> Tensor:
    """Attention of one position, whose keys and values are written into the cache, (N, 3 width) to (N, width).

    For a single query two matrix products around a softmax are faster than torch's fused attention.

    Args:
        asked: queries, keys and values of the position.
        keys: shape (N * heads, head, positions).
        values: shape (N * heads, positions, head).
        place: the position: a number, and what lies after it is cut off; or a tensor (1,), and it is masked.
    """
    rows, head, length = keys.shape
    q, k, v = asked.view(len(asked), 3, rows // len(asked), head).unbind(1)  # (N, heads, head)
    q = q.reshape(rows, 1, head)
    if isinstance(place, int):
        keys[:, :, place], values[:, place] = k.reshape(rows, head), v.reshape(rows, head)
        scores = torch.bmm(q, keys[:, :, : place + 1])  # (N * heads, 1, positions so far)
        values = values[:, : place + 1]
    else:
        keys.index_copy_(2, place, k.reshape(rows, head, 1))
        values.index_copy_(1, place, v.reshape(rows, 1, head))
        later = torch.arange(length, device=place.device) > place
        scores = torch.bmm(q, keys).masked_fill(later, -torch.inf)
    return torch.bmm(scores.softmax(-1), values).view(len(asked), -1)


def _of_token(tokens: Tensor, place: int | Tensor, state: State) -> Tensor:
    """Parameters (N, outputs, 1) of one position from its tokens (N, width), through all layers."""
    _, keys, values, layers, (_, scale, shift, head, bias) = state
    for layer, k, v in zip(layers, keys, values, strict=True):
        tokens = _block(tokens, layer, partial(_attend_cached, keys=k, values=v, place=place))
    return F.linear(F.layer_norm(tokens, tokens.shape[-1:], scale, shift), head, bias).unsqueeze(-1)
