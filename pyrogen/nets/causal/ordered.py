"""What networks of any order share: the order as a buffer, and positions sorted by it.

Named axes: ``N`` data, ``inputs`` and ``outputs`` numbers at a position, ``drawn`` the positions in the order in which they
are drawn, those of a group in raster order; see also `pyrogen.nets.causal.network`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pyrogen.errors import ConfigurationError

from ..sizes import positive_size, positive_sizes
from .network import CausalNetwork, Frontier
from .orders import Order

__all__ = ["OrderedNetwork", "refuse_other_groups"]


class OrderedNetwork(CausalNetwork):
    """A causal network that draws its positions in an order of the user's choice.

    The order is saved and loaded with the parameters. To write one, call this constructor, and in `forward` work between
    `drawn` and `as_grid`.

    Attributes:
        ranks: the rank of each position, shape (*grid).
        ascending: the ranks of the positions as they are drawn.
        bounds: the number of positions drawn before each group, and last that of all.

    Args:
        grid: (height, width), or (length,).
        inputs: numbers read at a position.
        outputs: numbers given for a position.
        order: which position is drawn when; row by row if ``None``.

    Raises:
        ConfigurationError: a size is not a positive integer, or the order is one of another grid.
    """

    ranks: Tensor
    _sorted: Tensor
    _unsorted: Tensor

    def __init__(self, grid: Sequence[int], inputs: int, outputs: int, order: Order | None) -> None:
        super().__init__()
        self.grid = positive_sizes("grid", grid)
        self.inputs, self.outputs = positive_size("inputs", inputs), positive_size("outputs", outputs)
        order = Order.raster(self.grid) if order is None else order
        if order.grid != self.grid:
            raise ConfigurationError(f"the order is one of the grid {order.grid}, and the network's grid is {self.grid}")
        self.register_buffer("ranks", order.ranks)
        self.register_buffer("_sorted", torch.empty(0, dtype=torch.long), persistent=False)
        self.register_buffer("_unsorted", torch.empty(0, dtype=torch.long), persistent=False)
        self.ascending: list[int] = sorted(order.ranks.flatten().tolist())
        self.bounds = [bisect_left(self.ascending, rank) for rank in range(order.steps + 1)]
        self._lay_out()
        self.register_load_state_dict_post_hook(_lay_out_again)  # type: ignore[no-untyped-call]

    @property
    def frontiers(self) -> tuple[Frontier, ...]:
        """See `CausalNetwork.frontiers`."""
        return self._frontiers

    def drawn(self, x: Tensor) -> Tensor:
        """A grid as it is drawn, (N, inputs, *grid) to (N, drawn, inputs)."""
        flat = x.flatten(2)  # (N, inputs, positions)
        return (flat if self._natural else flat.index_select(2, self._sorted)).transpose(1, 2)

    def as_grid(self, given: Tensor) -> Tensor:
        """What was found for positions as they are drawn as a grid, (N, drawn, outputs) to (N, outputs, *grid)."""
        flat = given.transpose(1, 2)  # (N, outputs, drawn)
        flat = flat if self._natural else flat.index_select(2, self._unsorted)
        return flat.reshape(len(given), self.outputs, *self.grid)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        refuse_other_groups(state_dict.get(f"{prefix}ranks"), self.ranks)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _lay_out(self) -> None:
        """Set what follows from the ranks: they may have been loaded."""
        if self.ranks.is_meta:
            return
        order = Order(self.ranks)
        self._frontiers = order.frontiers
        places = torch.tensor([position for group in order.frontiers for position in group])
        self._natural = bool((places == torch.arange(len(places))).all())
        self._sorted = places.to(self.ranks.device)
        self._unsorted = places.argsort().to(self.ranks.device)


def _lay_out_again(network: OrderedNetwork, _: Any) -> None:
    network._lay_out()


def refuse_other_groups(loaded: Any, ranks: Tensor, leading: int = 0) -> None:
    """Refuse to load ranks whose groups have other sizes than those the network was made for.

    Args:
        loaded: ranks from a state, if it has any; another shape is left for torch to refuse.
        ranks: the ranks of the network, shape (..., *grid).
        leading: how many dimensions there are before those of the grid.

    Raises:
        ConfigurationError: the sizes differ.
    """
    if not isinstance(loaded, Tensor) or loaded.shape != ranks.shape or ranks.is_meta or loaded.is_meta:
        return
    theirs, ours = (torch.bincount(each[(0,) * leading].flatten()).tolist() for each in (loaded, ranks))
    if theirs != ours:
        raise ConfigurationError(
            f"what is loaded draws its positions in {len(theirs)} groups, and this network in {len(ours)}, or in groups of "
            "other sizes: make the network with the same order"
        )
