"""The causal transformer, with a key/value cache for sampling.

A block works on tokens (tokens, width); only its attention looks at other positions, in parallel in training, or by one
query against the key/value cache in sampling.

A step of a small transformer is short against the call of compiled code: the compiled sampler draws a few positions a
call. Code is compiled for one or two lengths of the cache; attention to later positions is masked.

Named axes, beside those of `pyrogen.nets.causal.network`: ``width`` of a token, ``heads``, ``head`` the width of a head,
``tokens`` of all data: N * positions, or N in a step; ``few`` the positions of a compiled call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyrogen.errors import ConfigurationError

from ..sizes import dropout_probability, positive_size
from .compilation import compiled_once
from .network import CausalNetwork, Emission, SamplerInput, State, keep_known

__all__ = ["CausalTransformer"]

FEW = 2
"""Positions of a compiled call: more are hardly faster, and take longer to compile."""
_LONG = 256
"""From this number of positions on, the first half is sampled by code for half of the cache."""


class CausalTransformer(CausalNetwork):
    r"""Blocks of causal self-attention and a perceptron, with normalization before each part.

    With :math:`h_i` the sum of the embeddings of the value at position :math:`i - 1`, of the position :math:`i` and of the
    context,

    .. math::
        h_i \leftarrow h_i + W \sum_{j \le i} \operatorname{softmax}_j\!\big(q_i^\top k_j / \sqrt{d}\big)\, v_j,
        \qquad h_i \leftarrow h_i + \operatorname{MLP}(h_i),

    block after block, each part on normalized tokens. The position embedding of an image is the sum of a row's and a
    column's. A step computes one token and caches its keys and values.

    Reference:
        Vaswani et al. (2017), *Attention Is All You Need*, https://arxiv.org/abs/1706.03762;
        Child, Gray, Radford, Sutskever (2019), *Generating Long Sequences with Sparse Transformers*,
        https://arxiv.org/abs/1904.10509 (images as sequences of pixels).

    Args:
        grid, inputs, outputs, context, context_map: see `CausalNetwork`; in raster order.
        width, layers: of a token, and number of blocks.
        heads: number of heads of the attention; divides `width`.
        dropout: probability of dropout after the attention and in the perceptron, in training.

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
        super().__init__(grid, inputs, outputs, context, context_map, dimensions=(1, 2))
        self.width, self.heads = positive_size("width", width), positive_size("heads", heads)
        if width % heads:
            raise ConfigurationError(f"heads must divide width: {heads} does not divide {width}")
        self.dropout = dropout_probability(dropout)
        self.embed = nn.Linear(inputs, width)
        self.places = nn.ParameterList(nn.Parameter(0.1 * torch.randn(size, width)) for size in self.grid)
        self.blocks = nn.ModuleList(_Block(width, layers) for _ in range(positive_size("layers", layers)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, outputs)
        self.project = nn.Linear(context, width, bias=False) if context else None

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """See `CausalNetwork.forward`."""
        parameters = self.of_prefix(x.flatten(2)[..., :-1], context)  # (N, outputs, positions)
        return parameters.reshape(len(x), self.outputs, *self.grid)  # (N, outputs, *grid)

    def of_prefix(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The parameters of the first n + 1 positions, (N, outputs, n + 1), without a cache.

        Args:
            x: encoded values of the first n positions, shape (N, inputs, n).
            context: as of `forward`.
        """
        count, length = len(x), x.shape[2] + 1
        values = F.linear(x.mT, self.embed.weight)  # (N, n, width)
        tokens = self._offsets(context)[:, :length] + F.pad(values, (0, 0, 1, 0))  # (N, n + 1, width)
        tokens = tokens.flatten(0, 1)  # (tokens, width)
        attend = partial(_attend_all, count=count, length=length, heads=self.heads)
        for layer in self._layers():
            tokens = _block(tokens, layer, attend, self.dropout if self.training else 0.0)
        parameters: Tensor = self.head(self.norm(tokens))  # (tokens, outputs)
        return parameters.reshape(count, length, self.outputs).mT  # (N, outputs, n + 1)

    def start(self, count: int, context: Tensor | None = None) -> State:
        """See `CausalNetwork.start`; the state is the embeddings of the positions, the key/value cache, and the weights."""
        offsets = self._offsets(context)
        shape = count * self.heads, self.width // self.heads, self.positions
        keys = [offsets.new_zeros(shape) for _ in self.blocks]  # in the layout that the product with the queries reads
        values = [offsets.new_zeros(shape).mT.contiguous() for _ in self.blocks]
        layers = [layer.prescaled(self.heads) for layer in self._layers()]
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

    def generate_compiled(self, given: SamplerInput) -> Tensor:
        """See `CausalNetwork.generate_compiled`: a few positions a call, the first and those left over one by one."""
        emission, noise, context, known, mask, progress = given
        positions, count = self.positions, len(noise)
        lengths = [(positions + 1) // 2, positions] if positions >= _LONG else [positions]
        # Compiled code depends on the layout of its inputs.
        noise = noise.contiguous()
        known, mask = (None if x is None else x.contiguous() for x in (known, mask))
        state = self.start(count, context)
        numbers = torch.arange(positions, device=noise.device)
        offsets, keys, caching, *rest = state
        caches = {n: (offsets, [k[:, :, :n] for k in keys], [v[:, :n] for v in caching], *rest) for n in lengths}
        values: list[Tensor] = []
        previous: Tensor | None = None
        rest = (positions - 1) % FEW
        bounds = [0, *range(1, positions - rest, FEW), *range(positions - rest, positions + 1)]
        for call in progress(range(len(bounds) - 1)):
            start, stop = bounds[call], bounds[call + 1]
            uniform = noise[..., start:stop]
            kept, where = (None if x is None else x[..., start:stop] for x in (known, mask))
            if stop - start == FEW and previous is not None:
                length = next(length for length in lengths if stop <= length)
                key = (emission, count, length, noise.dtype, noise.device, known is None)
                draw = compiled_once(self, key, lambda: _draw_few, **_UNGUARDED)
                drawn = draw(emission, previous, uniform, numbers[start : start + 1], kept, where, caches[length])
            else:
                parameters, state = self.step(start, None if previous is None else emission.encode(previous), state)
                drawn = keep_known(emission.draw(parameters, uniform), kept, where)
            values.append(drawn)
            previous = drawn[..., -1:].contiguous()
        return torch.cat(values, -1)  # (N, channels, positions)

    def _offsets(self, context: Tensor | None) -> Tensor:
        """The embeddings of positions and context, and the bias, (1 or N, positions, width)."""
        rows, *columns = self.places
        table: Tensor = rows if not columns else (rows[:, None] + columns[0]).flatten(0, 1)  # (positions, width)
        table = (table + self.embed.bias).unsqueeze(0)
        if self.project is None or context is None:
            return table
        context = context.unsqueeze(1) if context.dim() == 2 else context.flatten(2).mT  # (N, 1 or positions, context)
        return table + self.project(context)  # type: ignore[no-any-return]

    def _layers(self) -> list[_Layer]:
        return [block.layer() for block in self.blocks]  # type: ignore[operator]


class _Layer(NamedTuple):
    """The parameters of a block as tensors: looking them up takes too long in a step."""

    scale: Tensor
    shift: Tensor
    qkv: Tensor  # (3 width, width): queries, keys and values
    qkv_bias: Tensor
    mix: Tensor  # (width, width), transposed as the next
    scale_after: Tensor
    shift_after: Tensor
    up: Tensor  # (4 width, width)
    up_bias: Tensor
    down: Tensor  # (4 width, width)

    def prescaled(self, heads: int) -> _Layer:
        """With the factor of the attention scores multiplied into the queries, once for all steps."""
        width = len(self.mix)
        factor = torch.ones_like(self.qkv_bias)
        factor[:width] = (width // heads) ** -0.5
        return self._replace(qkv=self.qkv * factor[:, None], qkv_bias=self.qkv_bias * factor)


class _Block(nn.Module):
    """Self-attention, and a perceptron on each token. Its attributes name the parameters in checkpoints."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.norm, self.norm_after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.ask, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width, bias=False)
        with torch.no_grad():  # so that the residual stream does not grow with the number of layers
            for last in (self.mix, self.down):
                last.weight.mul_((2 * layers) ** -0.5)

    def layer(self) -> _Layer:
        norm, after, qkv, up = self.norm, self.norm_after, self.ask, self.up
        first = norm.weight, norm.bias, qkv.weight, qkv.bias, self.mix.weight.t()
        return _Layer(*first, after.weight, after.bias, up.weight, up.bias, self.down.weight.t())


def _block(x: Tensor, layer: _Layer, attend: Callable[[Tensor], Tensor], dropout: float = 0.0) -> Tensor:
    """Tokens (tokens, width) to tokens; `attend` maps queries, keys and values (tokens, 3 width) to (tokens, width)."""
    scale, shift, qkv, qkv_bias, mix, scale_after, shift_after, up, up_bias, down = layer
    shape = x.shape[-1:]
    attended = attend(F.linear(F.layer_norm(x, shape, scale, shift), qkv, qkv_bias))
    x = torch.addmm(x, F.dropout(attended, dropout) if dropout else attended, mix)
    # Exact GELU takes longer than a whole matrix product where there is one token.
    hidden = F.silu(F.linear(F.layer_norm(x, shape, scale_after, shift_after), up, up_bias))
    return torch.addmm(x, F.dropout(hidden, dropout) if dropout else hidden, down)


def _attend_all(qkv: Tensor, count: int, length: int, heads: int) -> Tensor:
    """Causal self-attention of all positions in parallel, (N * positions, 3 width) to (N * positions, width)."""
    head = qkv.shape[1] // (3 * heads)
    q, k, v = qkv.view(count, length, 3, heads, head).permute(2, 0, 3, 1, 4)  # (N, heads, positions, head) each
    attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # (N, heads, positions, head)
    return attended.transpose(1, 2).reshape(len(qkv), heads * head)  # (N * positions, width)


def _attend_cached(qkv: Tensor, keys: Tensor, values: Tensor, position: int | Tensor) -> Tensor:
    """Attention of one position to the cache, to which its keys and values are added, (N, 3 width) to (N, width).

    The cache is keys (N * heads, head, positions) and values (N * heads, positions, head). It is cropped after a position
    that is a number, and masked after one that is a tensor (1,). For a single query two matrix products around a softmax are
    faster than torch's fused attention.
    """
    rows, head, length = keys.shape
    q, k, v = qkv.view(len(qkv), 3, rows // len(qkv), head).unbind(1)  # (N, heads, head) each
    q = q.reshape(rows, 1, head)  # (N * heads, 1, head)
    if isinstance(position, int):
        keys[:, :, position], values[:, position] = k.reshape(rows, head), v.reshape(rows, head)  # (N * heads, head)
        scores = torch.bmm(q, keys[:, :, : position + 1])  # (N * heads, 1, positions so far)
        values = values[:, : position + 1]
    else:
        keys.index_copy_(2, position, k.reshape(rows, head, 1))  # (N * heads, head, 1)
        values.index_copy_(1, position, v.reshape(rows, 1, head))  # (N * heads, 1, head)
        later = torch.arange(length, device=position.device) > position  # (positions,)
        scores = torch.bmm(q, keys).masked_fill(later, -torch.inf)
    return torch.bmm(scores.softmax(-1), values).view(len(qkv), -1)  # (N, width)


def _of_token(tokens: Tensor, position: int | Tensor, state: State) -> Tensor:
    """Parameters (N, outputs, 1) of one position from its tokens (N, width), through all blocks."""
    _, keys, values, layers, (_, scale, shift, head, bias) = state
    for layer, k, v in zip(layers, keys, values, strict=True):
        tokens = _block(tokens, layer, partial(_attend_cached, keys=k, values=v, position=position))
    return F.linear(F.layer_norm(tokens, tokens.shape[-1:], scale, shift), head, bias).unsqueeze(-1)


def _draw_few(
    emission: Emission,
    previous: Tensor,
    noise: Tensor,
    position: Tensor,
    known: Tensor | None,
    mask: Tensor | None,
    state: State,
) -> Tensor:
    """Values (N, channels, few) from the value before them, (N, channels, 1); the function that is compiled."""
    values = []
    for number in range(FEW):
        here = slice(number, number + 1)
        # `CausalTransformer.step` at a position that is a tensor (1,), so that the same code serves all positions.
        offset = state[0].index_select(1, position + number)[:, 0]  # (1 or N, width)
        tokens = torch.addmm(offset, emission.encode(previous)[..., 0], state[4][0])
        drawn = emission.draw(_of_token(tokens, position + number, state), noise[..., here])
        previous = keep_known(drawn, None if known is None else known[..., here], None if mask is None else mask[..., here])
        values.append(previous)
    return torch.cat(values, -1)


_UNGUARDED: dict[str, Any] = (
    # All that the code depends on is in the key, so that torch need not check each tensor at each call.
    {"guard_filter_fn": lambda guards: [False] * len(guards)}
    if tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 8)
    else {}
)
