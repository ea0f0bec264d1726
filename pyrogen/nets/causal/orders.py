"""Autoregressive orders: in which order the positions of a grid are sampled, and which of them in parallel.

The chain rule holds for any order, and for groups of positions as well if the positions of a group are conditionally
independent given all earlier groups: another model, with fewer steps to sample and some nats lost.

Named axes: ``*grid`` the axes of the grid, ``positions`` all its positions, flattened in raster order.
"""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

import torch
from torch import Tensor

from pyrogen.errors import ConfigurationError

from ..sizes import positive_size, positive_sizes

__all__ = ["Order"]


class Order:
    r"""A rank for each position of a grid: a position is sampled given all positions of lower rank.

    .. math::
        p(x) = \prod_{r} \prod_{i:\, \mathrm{rank}(i) = r} p(x_i \mid \{x_j : \mathrm{rank}(j) < r\}).

    Make one by `raster`, `permutation`, `diagonal`, `coarse_to_fine`, or from ranks of your own.

    Args:
        ranks: the rank of each position, integers ``0, ..., steps - 1`` of which none is left out, shape (*grid).

    Raises:
        ConfigurationError: the ranks are no integers, or some rank is left out.

    Example:
        >>> Order.diagonal((3, 4)).ranks
        tensor([[0, 1, 2, 3],
                [1, 2, 3, 4],
                [2, 3, 4, 5]])
        >>> Order.raster((3, 4)).steps, Order.diagonal((3, 4)).steps
        (12, 6)
    """

    def __init__(self, ranks: Any) -> None:
        self.ranks = _integers("the ranks of an order", ranks)
        if self.ranks.dim() == 0 or self.ranks.numel() == 0:
            raise ConfigurationError("an order needs at least one position, and the ranks given are of none")
        missing = set(range(int(self.ranks.max()) + 1)) - set(self.ranks.flatten().tolist())
        if int(self.ranks.min()) < 0 or missing:
            seen = f"{min(missing)} is left out" if missing else f"{int(self.ranks.min())} is negative"
            raise ConfigurationError(
                f"the ranks of an order must be 0, 1, ... with none left out, and {seen}: number the groups in turn"
            )

    @classmethod
    def raster(cls, grid: Sequence[int]) -> Order:
        """Raster order: row by row from left to right; for a sequence, from the first element to the last.

        Example:
            >>> Order.raster((2, 3)).ranks
            tensor([[0, 1, 2],
                    [3, 4, 5]])
        """
        sizes = _grid(grid)
        return cls(torch.arange(prod(sizes)).reshape(sizes))  # (*grid)

    @classmethod
    def permutation(cls, positions: Any, grid: Sequence[int] | None = None) -> Order:
        """One position after another, as listed.

        Args:
            positions: the positions, numbered in raster order, in autoregressive order; shape (positions,).
            grid: (height, width) or (length,); (positions,) if not given.

        Raises:
            ConfigurationError: this is no permutation of the positions.

        Example:
            >>> Order.permutation([2, 0, 1]).ranks
            tensor([1, 2, 0])
        """
        listed = _integers("a permutation", positions).flatten()  # (positions,)
        sizes = _grid(grid if grid is not None else (max(1, listed.numel()),))
        count = prod(sizes)
        if not torch.equal(listed.sort().values, torch.arange(count)):
            raise ConfigurationError(
                f"an order of {count} positions must list each of 0, ..., {count - 1} once, "
                f"and this is no such permutation: {textwrap.shorten(str(listed.tolist()), 99)}"
            )
        ranks = torch.empty(count, dtype=torch.long)
        ranks[listed] = torch.arange(count)
        return cls(ranks.reshape(sizes))  # (*grid)

    @classmethod
    def random(cls, grid: Sequence[int], seed: int) -> Order:
        """One position after another, in random order; torch's global generator is not used.

        Example:
            >>> sorted(Order.random((2, 2), seed=0).ranks.flatten().tolist())
            [0, 1, 2, 3]
        """
        sizes = _grid(grid)
        generator = torch.Generator().manual_seed(seed)
        return cls.permutation(torch.randperm(prod(sizes), generator=generator), sizes)

    @classmethod
    def diagonal(cls, grid: Sequence[int], slope: int = 1) -> Order:
        """All positions of a diagonal in parallel: H + W - 1 steps for H x W positions.

        The rank is ``column + slope * row``. With slope 1 the neighbour above to the right is not seen; with 2 it is, in
        W + 2 (H - 1) steps; with slope W, or more, this is raster order. With more axes, each weighs `slope` times the next.

        Example:
            >>> Order.diagonal((3, 4), slope=2).ranks
            tensor([[0, 1, 2, 3],
                    [2, 3, 4, 5],
                    [4, 5, 6, 7]])
        """
        sizes, lag = _grid(grid), positive_size("slope", slope)
        ranks = torch.zeros(sizes, dtype=torch.long)
        for axis, size in enumerate(reversed(sizes)):
            ranks += lag**axis * torch.arange(size).reshape(-1, *[1] * axis)  # (size, 1, ..., 1)
        return cls(_without_gaps(ranks))

    @classmethod
    def coarse_to_fine(cls, grid: Sequence[int], levels: int = 1) -> Order:
        """A coarse grid of stride ``2**levels`` in raster order, then the positions between, in a few large groups.

        Each level halves the stride, for images by three groups: to the right of the known positions, below, and diagonally.

        Reference:
            Reed et al. (2017), *Parallel Multiscale Autoregressive Density Estimation*, https://arxiv.org/abs/1703.03664.

        Example:
            >>> Order.coarse_to_fine((4, 4)).ranks
            tensor([[0, 4, 1, 4],
                    [5, 6, 5, 6],
                    [2, 4, 3, 4],
                    [5, 6, 5, 6]])
        """
        sizes, stride = _grid(grid), 2 ** positive_size("levels", levels)
        ranks = torch.zeros(sizes, dtype=torch.long)
        coarse = tuple(slice(0, None, stride) for _ in sizes)
        ranks[coarse] = torch.arange(ranks[coarse].numel()).reshape(ranks[coarse].shape)
        rank = ranks[coarse].numel()
        while stride > 1:
            for corner in list(product((0, stride // 2), repeat=len(sizes)))[1:]:
                ranks[tuple(slice(start, None, stride) for start in corner)] = rank
                rank += 1
            stride //= 2
        return cls(_without_gaps(ranks))

    @property
    def grid(self) -> tuple[int, ...]:
        """The axes of the grid."""
        return tuple(self.ranks.shape)

    @property
    def steps(self) -> int:
        """Number of groups."""
        return int(self.ranks.max()) + 1

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """The positions sampled in parallel at each step, numbered in raster order, ascending.

        Example:
            >>> Order.diagonal((2, 3)).groups
            ((0,), (1, 3), (2, 4), (5,))
        """
        flat = self.ranks.flatten()  # (positions,)
        groups = torch.split(flat.argsort(stable=True), torch.bincount(flat).tolist())
        return tuple(tuple(group.tolist()) for group in groups)

    @property
    def frontiers(self) -> tuple[tuple[int, ...], ...]:
        """The former name of `groups`."""
        warnings.warn("`frontiers` is now called `groups`", DeprecationWarning, stacklevel=2)
        return self.groups

    def reversed(self) -> Order:
        """The same groups, the last one first."""
        return Order(self.steps - 1 - self.ranks)

    def __repr__(self) -> str:
        return f"Order(grid={self.grid}, steps={self.steps})"


def _integers(what: str, values: Any) -> Tensor:
    """A tensor of integers on the CPU, from a tensor or from nested sequences."""
    try:
        found = values.detach().cpu() if isinstance(values, Tensor) else torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigurationError(f"{what} must be integers, not {values!r}") from error
    if found.numel() and (found.is_floating_point() or found.is_complex() or found.dtype == torch.bool):
        raise ConfigurationError(f"{what} must be integers, not of {found.dtype}")
    return found.long().clone()


def _grid(grid: Any) -> tuple[int, ...]:
    sizes = positive_sizes("grid", grid)
    if not sizes:
        raise ConfigurationError("a grid needs at least one axis, such as (height, width) or (length,)")
    return sizes


def _without_gaps(ranks: Tensor) -> Tensor:
    """Renumber ranks without gaps: a group that is empty on a small grid takes no step."""
    return torch.unique(ranks, return_inverse=True)[1]  # type: ignore[no-any-return]
