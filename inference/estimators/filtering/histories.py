"""Posterior draws from the particles of filters.

Axes: draws, data; rows (particles times islands).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..estimate import Draws
from .islands import Filtered

__all__ = ["choose", "draw"]


def draw(filtered: Filtered, draws: int) -> Draws:
    """Draws from the particles of some islands, each with the probability of its weight."""
    if draws == 0:
        return Draws({}, filtered.log_weight[:0])
    log_weight = filtered.log_weight
    highest = log_weight.amax(0)
    dead = highest == -math.inf  # there is nothing to choose by
    weight = torch.where(dead, 1.0, (log_weight - torch.where(dead, 0.0, highest)).exp())  # (rows, data)
    chosen = torch.multinomial(weight.T, draws, replacement=True).T  # (draws, data)
    column = torch.arange(chosen.shape[1], device=chosen.device)
    latents = {name: value[chosen, column] for name, value in filtered.latents.items()}
    return Draws(latents, filtered.log_likelihood[chosen, column])


def choose(parts: list[Draws], log_evidence: Tensor, islands: int) -> Draws:
    """One set of draws out of those of several groups of islands, each group as often as its evidence is large."""
    if len(parts) == 1:
        return parts[0]
    groups = torch.stack([group.logsumexp(0) for group in torch.split(log_evidence, islands)])  # (groups, data)
    groups = torch.where(groups.amax(0) == -math.inf, 0.0, groups)
    draws = len(parts[0].log_likelihood)
    chosen = torch.multinomial(groups.softmax(0).T, draws, replacement=True).T  # (draws, data)

    def pick(values: list[Tensor]) -> Tensor:
        stacked = torch.stack(values)  # (groups, draws, data, ...)
        place = torch.arange(draws, device=chosen.device).unsqueeze(1)
        return stacked[chosen, place, torch.arange(chosen.shape[1], device=chosen.device)]

    latents = {name: pick([part.latents[name] for part in parts]) for name in parts[0].latents}
    return Draws(latents, pick([part.log_likelihood for part in parts]))
