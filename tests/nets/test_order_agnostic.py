"""MADE for several orders: each member is causal in its order, draws as it scores, and shares its weights."""

from __future__ import annotations

import pytest
import torch

from pyrogen.errors import ConfigurationError
from pyrogen.nets.causal import check_causal
from pyrogen.nets.causal.made import MADE
from pyrogen.nets.causal.order_agnostic_made import OrderAgnosticMADE
from pyrogen.nets.causal.orders import Order

GRID = (3, 4)
ORDERS = {
    "permutations": [Order.random(GRID, seed) for seed in range(3)],
    "diagonals": [
        Order.diagonal(GRID),
        Order(Order.diagonal(GRID).ranks.flip(0)),
        Order(Order.diagonal(GRID).ranks.flip(1)),
    ],
}


def agnostic(orders, **arguments):
    torch.manual_seed(1)
    return OrderAgnosticMADE(GRID, ORDERS[orders], inputs=2, outputs=3, hidden=(26, 25), context=2, **arguments).double()


@pytest.mark.parametrize("orders", ORDERS)
def test_members_are_causal_and_their_faces_agree(orders):
    network = agnostic(orders)
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(4, 2, *GRID, generator=generator, dtype=torch.float64)
    context = torch.randn(4, 2, generator=generator, dtype=torch.float64)
    for member, order in zip(network.members, ORDERS[orders], strict=True):
        check_causal(member)
        assert member.groups == order.groups
        parallel = member(x, context).flatten(2)
        state, previous = member.start(4, context), None
        with torch.no_grad():
            for index, group in enumerate(member.groups):
                given, state = member.step(index, previous, state)
                assert torch.allclose(given, parallel[..., list(group)], rtol=0, atol=1e-12)
                previous = x.flatten(2)[..., list(group)]


@pytest.mark.parametrize("skip", [True, False])
def test_a_member_sees_all_that_its_order_lets_it_see(skip):
    network = agnostic("permutations", skip=skip, activation="tanh")  # no unit is dead
    for member in network.members:
        x, context = torch.randn(1, 2, *GRID, dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64)
        jacobian = torch.autograd.functional.jacobian(lambda x: member(x, context).square().sum((0, 1)), x)  # noqa: B023
        seen = jacobian.abs().amax((2, 3)).flatten(2).flatten(0, 1) > 0
        ranks = network.ranks[member.number].flatten()
        assert torch.equal(seen, ranks[:, None] > ranks)


def test_one_order_alone_is_a_made_with_the_same_weights():
    order = Order.random(GRID, seed=4)
    shared = OrderAgnosticMADE(GRID, [order], hidden=(15,)).double()
    single = MADE(GRID, hidden=(15,), order=order, strips=1).double()
    drawn = torch.tensor([position for group in order.groups for position in group])
    with torch.no_grad():
        single.layers[0].weights[0].copy_(shared.layers[0].weight[:, drawn][:, : single.layers[0].visible[-1]])
        single.layers[0].bias.copy_(shared.layers[0].bias)
        single.head.weights[0].copy_(shared.head.weight[drawn])
        single.head.bias.copy_(shared.head.bias[drawn])
        single.skip.weights[0].copy_(shared.skip.weight[drawn][:, drawn][:, : single.skip.visible[-1]])
    x = torch.randn(2, 1, *GRID, dtype=torch.float64)
    assert torch.allclose(shared.member(0)(x), single(x), rtol=0, atol=1e-14)


def test_orders_are_saved_with_the_weights():
    first = OrderAgnosticMADE(GRID, ORDERS["permutations"], hidden=(9,))
    second = OrderAgnosticMADE(GRID, [Order.random(GRID, seed) for seed in (7, 8, 9)], hidden=(9,))
    second.load_state_dict(first.state_dict())
    x = torch.randn(2, 1, *GRID)
    for a, b in zip(first.members, second.members, strict=True):
        assert torch.equal(a(x), b(x))
        assert a.groups == b.groups
    other = OrderAgnosticMADE(GRID, ORDERS["diagonals"], hidden=(9,))
    with pytest.raises(ConfigurationError, match="6 groups"):
        first.load_state_dict(other.state_dict())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: OrderAgnosticMADE(GRID, []), "at least one order"),
        (lambda: OrderAgnosticMADE(GRID, ORDERS["diagonals"], hidden=()), "one hidden layer"),
        (lambda: OrderAgnosticMADE((4, 3), ORDERS["diagonals"]), "all orders must be of the grid"),
        (lambda: OrderAgnosticMADE(GRID, [Order.raster(GRID), Order.diagonal(GRID)]), "groups of the same sizes"),
        (lambda: OrderAgnosticMADE(GRID, ORDERS["diagonals"]).member(3), "no order 3"),
        (lambda: OrderAgnosticMADE(GRID, ORDERS["diagonals"]).member(-1), "no order -1"),
    ],
)
def test_orders_that_do_not_fit_are_refused(make, said):
    with pytest.raises(ConfigurationError, match=said):
        make()
