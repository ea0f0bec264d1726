"""Orders: every position has one rank, groups come in turn, and what is no order is refused."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from pyrogen.errors import ConfigurationError
from pyrogen.nets.causal.orders import Order

GRIDS = [(1,), (7,), (1, 1), (4, 4), (3, 5), (5, 3), (1, 6), (6, 1), (8, 8), (2, 3, 4)]
MAKERS = {
    "raster": Order.raster,
    "random": lambda grid: Order.random(grid, seed=3),
    "diagonal": Order.diagonal,
    "slope 2": lambda grid: Order.diagonal(grid, slope=2),
    "slope 3": lambda grid: Order.diagonal(grid, slope=3),
    "coarse to fine": Order.coarse_to_fine,
    "coarse to fine, 3 levels": lambda grid: Order.coarse_to_fine(grid, levels=3),
    "reversed diagonal": lambda grid: Order.diagonal(grid).reversed(),
}


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("name", MAKERS)
def test_every_position_is_drawn_once_and_groups_come_in_turn(name, grid):
    order = MAKERS[name](grid)
    flat = order.ranks.flatten()
    assert order.grid == grid
    assert order.steps == len(order.groups)
    assert sorted(position for group in order.groups for position in group) == list(range(flat.numel()))
    for rank, group in enumerate(order.groups):
        assert list(group) == sorted(group)
        assert (flat[list(group)] == rank).all()


@pytest.mark.parametrize("grid", [grid for grid in GRIDS if len(grid) == 2], ids=str)
def test_diagonals_are_as_many_as_said(grid):
    height, width = grid
    assert Order.diagonal(grid).steps == height + width - 1
    if width > 1:  # else two rows have a column less between them than the slope says
        assert Order.diagonal(grid, slope=2).steps == width + 2 * (height - 1)
    assert torch.equal(Order.diagonal(grid, slope=width).ranks, Order.raster(grid).ranks)


@pytest.mark.parametrize("slope", [1, 2, 3])
def test_a_diagonal_sees_the_row_above_up_to_its_slope(slope):
    ranks = Order.diagonal((5, 9), slope).ranks
    for row in range(1, 5):
        for column in range(9):
            seen = [c for c in range(9) if ranks[row - 1, c] < ranks[row, column]]
            assert seen == list(range(min(9, column + slope)))


def test_coarse_to_fine_halves_the_distance():
    ranks = Order.coarse_to_fine((8, 8), levels=2).ranks
    assert sorted(ranks[::4, ::4].flatten().tolist()) == [0, 1, 2, 3]  # the coarse grid, one by one
    assert (ranks[::2, ::2] <= 6).all()  # three groups more: the grid of stride 2
    assert ranks.max() == 9
    sizes = torch.bincount(ranks.flatten()).tolist()
    assert sizes == [1, 1, 1, 1, 4, 4, 4, 16, 16, 16]
    right, below, across = (int(ranks[corner]) for corner in ((0, 1), (1, 0), (1, 1)))
    assert right < below < across


def test_a_permutation_is_drawn_as_listed():
    order = Order.permutation([5, 0, 3, 1, 4, 2], (2, 3))
    assert [group for (group,) in order.groups] == [5, 0, 3, 1, 4, 2]
    assert torch.equal(Order.permutation(range(6), (2, 3)).ranks, Order.raster((2, 3)).ranks)
    assert [group for (group,) in order.reversed().groups] == [2, 4, 1, 3, 0, 5]


def test_random_orders_differ_by_seed_and_leave_the_global_numbers_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    orders = [Order.random((4, 4), seed) for seed in (0, 1, 2, 0)]
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(torch.equal(a.ranks, b.ranks) for a, b in pairwise(orders))
    assert torch.equal(orders[0].ranks, orders[3].ranks)


def test_an_order_keeps_its_own_ranks():
    ranks = torch.tensor([0, 1])
    order = Order(ranks)
    ranks[0] = 1
    assert order.ranks.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Order.permutation([0, 1, 1]), "no such permutation"),
        (lambda: Order.permutation([0, 1, 3]), "no such permutation"),
        (lambda: Order.permutation([0, -1, 2]), "no such permutation"),
        (lambda: Order.permutation([0, 1, 2], (2, 2)), "4 positions"),
        (lambda: Order.permutation([]), "no such permutation"),
        (lambda: Order.permutation([0.0, 1.0]), "integers"),
        (lambda: Order.permutation("abc"), "integers"),
        (lambda: Order.permutation([True, False]), "integers"),
        (lambda: Order([0, 2]), "1 is left out"),
        (lambda: Order([1, 2]), "0 is left out"),
        (lambda: Order([0, -1]), "negative"),
        (lambda: Order([]), "at least one"),
        (lambda: Order(0), "at least one"),
        (lambda: Order([[0, 1], [2]]), "integers"),
        (lambda: Order.raster(()), "at least one axis"),
        (lambda: Order.raster((3, 0)), "grid"),
        (lambda: Order.diagonal((3, 3), slope=0), "slope"),
        (lambda: Order.coarse_to_fine((3, 3), levels=0), "levels"),
    ],
)
def test_what_is_no_order_is_refused(make, said):
    with pytest.raises(ConfigurationError, match=said):
        make()
