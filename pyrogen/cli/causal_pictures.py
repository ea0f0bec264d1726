"""What there is to see of a fully visible pair: completions of half data, the order of drawing, what a pixel sees.

Named axes: data, completions, shape (of a datum), fields (receptive ones), grid (height, width).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

    from pyrogen.distributions import Autoregressive

__all__ = ["Causal", "causal_pictures"]


@runtime_checkable
class Causal(Protocol):
    """What offers the one autoregressive distribution that all its data are drawn from, flattened: a fully visible pair."""

    def distribution(self) -> Autoregressive:
        """The distribution of a datum, with event shape (event,) and no batch shape."""


def causal_pictures(pair: Causal, x: Tensor, *, count: int = 6, completions: int = 8) -> dict[str, Tensor]:
    """The arrays of `pictures.npz` that only an autoregressive pair has.

    Args:
        pair: the pair.
        x: data, shape (data, event).
        count: how many data to complete.
        completions: how many times each.

    Returns:
        ``completed`` (data, event), ``known`` (event,): true for the upper half of an image or the first half of a
        sequence, ``completions`` (data, completions, event); for images also ``order`` (grid), the step at which each
        pixel is drawn, ``receptive`` (fields, grid) and ``receptive_at`` (fields, 2), the pixels whose fields these are.
    """
    import torch

    from pyrogen.nets.causal import receptive_field

    found = pair.distribution()
    network, family, grid = found.network, found.family, found.network.grid
    known = torch.zeros(family.channels, *grid, dtype=torch.bool, device=x.device)
    known[:, : (grid[0] + 1) // 2] = True
    some = x[:count]
    arrays = {
        "completed": some,
        "known": known.flatten(),
        "completions": found.complete(some.unsqueeze(1).expand(-1, completions, -1), known.flatten(), progress=False),
    }
    if len(grid) == 2:
        order = torch.empty(network.positions)
        for step, group in enumerate(network.groups):
            order[list(group)] = step
        height, width = grid
        at = [(height // 2, width // 2), (height // 2, width - 1), (height - 1, width // 2)]
        values = family.encode(some.reshape(-1, family.channels, *grid).to(network.example))
        arrays["order"] = order.reshape(grid)
        arrays["receptive"] = torch.stack([receptive_field(network, row * width + column, values) for row, column in at])
        arrays["receptive_at"] = torch.tensor(at)
    return arrays
