"""The compiled sampler of the causal transformer: one call samples a few positions, one after the other.

A step of a small transformer is so short that the call of compiled code takes a good part of it, hence a few steps a call.
Code is compiled for one or two lengths of the key/value cache; attention to positions not yet sampled is masked.

Named axes: see `pyrogen.nets.causal.network`; ``few`` the positions of a call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

from .compilation import compiled_once
from .network import CausalNetwork, Emission, SamplerInput, State, keep_known

__all__ = ["generate_few_at_once"]

FEW = 2
"""Positions of a call: more are hardly faster, and take longer to compile."""
_LONG = 256
"""From this number of positions on, the first half is sampled by code for half of the cache."""

StepAt: TypeAlias = Callable[[Tensor, Tensor, State], Tensor]


def generate_few_at_once(
    network: CausalNetwork, step_at: StepAt, crop: Callable[[State, int], State], given: SamplerInput
) -> Tensor:
    """Sample a few positions at a time; the first one, and those left over at the end, by single steps.

    Args:
        network: the network, in evaluation mode.
        step_at: ``step_at(previous, position, state) -> parameters``: `CausalNetwork.step` at a position that is a tensor
            (1,), so that the same code serves all positions.
        crop: ``crop(state, length) -> state``: views of the cache of the first positions.
        given: the arguments of `CausalNetwork.generate`.
    """
    emission, noise, context, known, mask, progress = given
    positions, count = network.positions, len(noise)
    lengths = [(positions + 1) // 2, positions] if positions >= _LONG else [positions]
    # Compiled code depends on the layout of its inputs.
    noise = noise.contiguous()
    known, mask = (None if x is None else x.contiguous() for x in (known, mask))
    state = network.start(count, context)
    numbers = torch.arange(positions, device=noise.device)
    caches = {length: crop(state, length) for length in lengths}
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
            draw = compiled_once(network, key, lambda: _draw_few, **_UNGUARDED)
            drawn = draw(step_at, emission, previous, uniform, numbers[start : start + 1], kept, where, caches[length])
        else:
            parameters, state = network.step(start, None if previous is None else emission.encode(previous), state)
            drawn = keep_known(emission.draw(parameters, uniform), kept, where)
        values.append(drawn)
        previous = drawn[..., -1:].contiguous()
    return torch.cat(values, -1)  # (N, channels, positions)


def _draw_few(
    step_at: StepAt,
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
        drawn = emission.draw(step_at(emission.encode(previous), position + number, state), noise[..., here])
        previous = keep_known(drawn, None if known is None else known[..., here], None if mask is None else mask[..., here])
        values.append(previous)
    return torch.cat(values, -1)


_UNGUARDED: dict[str, Any] = (
    # All that the code depends on is in the key, so that torch need not check each tensor at each call.
    {"guard_filter_fn": lambda guards: [False] * len(guards)}
    if tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 8)
    else {}
)
