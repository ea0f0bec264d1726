"""A compiled sampler for the causal transformer: one call of compiled code draws a few positions, one after the other.

A step of a small transformer is so short that calling compiled code takes a good part of it, hence a few steps a call. The
code is compiled for a few lengths of the cache; what lies after a position is masked.

Named axes: see `pyrogen.nets.causal.network`; ``few`` the positions of a call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import FunctionType
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from .network import Emission, State

if TYPE_CHECKING:
    from .transformer import CausalTransformer

__all__ = ["generate_unrolled"]

FEW = 2
"""Positions of a call: more are hardly faster, and take longer to compile."""
_LONG = 256
"""From so many positions on, code is compiled for half of the cache, too, and reads no more than it needs."""

_compiled: WeakKeyDictionary[CausalTransformer, dict[Any, Callable[..., Tensor]]] = WeakKeyDictionary()


def generate_unrolled(
    network: CausalTransformer,
    emission: Emission,
    noise: Tensor,
    context: Tensor | None,
    known: Tensor | None,
    mask: Tensor | None,
    progress: Callable[[Iterable[int]], Iterable[int]],
) -> Tensor:
    """Draw a few positions at a time with compiled code; see `CausalNetwork.generate`.

    The first position, and those left over at the end, are drawn by single steps.
    """
    positions, count = network.positions, len(noise)
    ends = [(positions + 1) // 2, positions] if positions >= _LONG else [positions]
    noise = noise.contiguous()  # of one layout, and the next two, for that is compiled, too
    known, mask = (None if x is None else x.contiguous() for x in (known, mask))
    state = network.start(count, context)
    places = torch.arange(positions, device=noise.device)
    parts = {end: _cut(state, end) for end in ends}
    values: list[Tensor] = []
    previous: Tensor | None = None
    rest = (positions - 1) % FEW
    starts = [0, *range(1, positions - rest, FEW), *range(positions - rest, positions)]
    for number in progress(range(len(starts))):
        start = starts[number]
        stop = starts[number + 1] if number + 1 < len(starts) else positions
        uniform = noise[..., start:stop]
        kept, where = (None if x is None else x[..., start:stop] for x in (known, mask))
        if stop - start == FEW and previous is not None:
            end = next(end for end in ends if stop <= end)
            draw = _draw_few(network, emission, (count, end, noise.dtype, noise.device, known is None))
            drawn = draw(network.of_place, emission, previous, uniform, places[start : start + 1], kept, where, parts[end])
        else:
            parameters, state = network.step(start, None if previous is None else emission.encode(previous), state)
            drawn = _keep(emission.draw(parameters, uniform), kept, where)
        values.append(drawn)
        previous = drawn[..., -1:].contiguous()
    return torch.cat(values, -1)  # (N, channels, positions)


def _cut(state: State, end: int) -> State:
    """The state with views of the first positions of the cache."""
    offsets, keys, values, *rest = state
    return offsets, [k[:, :, :end] for k in keys], [v[:, :end] for v in values], *rest


def _few(
    of_place: Callable[[Tensor, Tensor, State], Tensor],
    emission: Emission,
    previous: Tensor,
    noise: Tensor,
    place: Tensor,
    known: Tensor | None,
    mask: Tensor | None,
    state: State,
) -> Tensor:
    """Values (N, channels, few) of a few positions from the value before them, (N, channels, 1)."""
    values = []
    for number in range(FEW):
        here = slice(number, number + 1)
        drawn = emission.draw(of_place(emission.encode(previous), place + number, state), noise[..., here])
        previous = _keep(drawn, None if known is None else known[..., here], None if mask is None else mask[..., here])
        values.append(previous)
    return torch.cat(values, -1)


def _keep(drawn: Tensor, known: Tensor | None, mask: Tensor | None) -> Tensor:
    return drawn if known is None or mask is None else torch.where(mask, known, drawn)


def _draw_few(network: CausalTransformer, emission: Emission, shape: tuple[Any, ...]) -> Callable[..., Tensor]:
    """`_few`, compiled once for each network, family and shape."""
    made = _compiled.setdefault(network, {})
    key = (emission, *shape)
    if key not in made:
        # A copy: torch limits how often one and the same code is compiled.
        copy = FunctionType(_few.__code__.replace(), _few.__globals__)
        options: dict[str, Any] = {"cpp_wrapper": True}  # no Python between two kernels
        if tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 8):
            # All that the code depends on is in the key, so that torch need not look at each tensor at each call.
            options["guard_filter_fn"] = lambda guards: [False] * len(guards)
        made[key] = torch.compile(copy, fullgraph=True, dynamic=False, options=options)
    return made[key]
