"""Causal networks with an autoregressive order of the user's choice.

Named axes: ``sorted`` the positions in autoregressive order, those of a group in raster order; see also
`pyrogen.nets.causal.network`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from pyrogen.errors import ConfigurationError

from .network import CausalNetwork, Group
from .orders import Order

__all__ = ["CustomOrderNetwork", "refuse_other_groups"]


class CustomOrderNetwork(CausalNetwork):
    """A causal network whose autoregressive order is saved and loaded with the parameters.

    To write one, call `set_order` in the constructor, and in `forward` work between `sort` and `as_grid`.

    Attributes:
        ranks: the rank of each position, shape (*grid).
        ascending: the ranks of the positions, sorted.
        bounds: the number of positions before each group, and last that of all.
    """

    steps_differ: ClassVar[bool] = True
    ranks: Tensor
    _sorted: Tensor
    _unsorted: Tensor

    def set_order(self, order: Order | None) -> None:
        """Set the autoregressive order, raster order if ``None``.

        Raises:
            ConfigurationError: the order is of another grid.
        """
        order = Order.raster(self.grid) if order is None else order
        if order.grid != self.grid:
            raise ConfigurationError(f"the order is of the grid {order.grid}, and the network's grid is {self.grid}")
        self.register_buffer("ranks", order.ranks)
        for name in ("_sorted", "_unsorted"):
            self.register_buffer(name, torch.empty(0, dtype=torch.long), persistent=False)
        self.ascending: list[int] = sorted(order.ranks.flatten().tolist())
        self.bounds = [bisect_left(self.ascending, rank) for rank in range(order.steps + 1)]
        self._index()
        self.register_load_state_dict_post_hook(CustomOrderNetwork._index)  # type: ignore[no-untyped-call]

    @property
    def groups(self) -> tuple[Group, ...]:
        """See `CausalNetwork.groups`."""
        return self._groups

    def sort(self, x: Tensor) -> Tensor:
        """Sort the positions of a grid, (N, inputs, *grid) to (N, sorted, inputs)."""
        flat = x.flatten(2)  # (N, inputs, positions)
        return (flat if self._raster else flat.index_select(2, self._sorted)).transpose(1, 2)  # (N, sorted, inputs)

    def as_grid(self, parameters: Tensor) -> Tensor:
        """Undo the sorting, (N, sorted, outputs) to (N, outputs, *grid)."""
        flat = parameters.transpose(1, 2)  # (N, outputs, sorted)
        flat = flat if self._raster else flat.index_select(2, self._unsorted)  # (N, outputs, positions)
        return flat.reshape(len(parameters), self.outputs, *self.grid)  # (N, outputs, *grid)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        refuse_other_groups(state_dict.get(f"{prefix}ranks"), self.ranks)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _index(self, _: Any = None) -> None:
        """Set the groups and the indices that sort positions, from the ranks, which may have been loaded."""
        if self.ranks.is_meta:
            return
        self._groups = Order(self.ranks).groups
        positions = torch.tensor([position for group in self._groups for position in group])
        self._raster = bool((positions == torch.arange(len(positions))).all())
        self._sorted = positions.to(self.ranks.device)
        self._unsorted = positions.argsort().to(self.ranks.device)


def refuse_other_groups(loaded: Any, ranks: Tensor, leading: int = 0) -> None:
    """Refuse to load an order whose groups differ in size from the network's.

    Args:
        loaded: the ranks in a state dict, if it has any; another shape is left for torch to refuse.
        ranks: the ranks of the network, shape (..., *grid), with `leading` dimensions before those of the grid.
    """
    if not isinstance(loaded, Tensor) or loaded.shape != ranks.shape or ranks.is_meta or loaded.is_meta:
        return
    theirs, ours = (torch.bincount(each[(0,) * leading].flatten()).tolist() for each in (loaded, ranks))
    if theirs != ours:
        raise ConfigurationError(
            f"what is loaded draws its positions in {len(theirs)} groups, and this network in {len(ours)}, or in groups of "
            "other sizes: make the network with the same order"
        )
