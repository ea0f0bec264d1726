"""NADE: the running sum is the sum over what was drawn before, in any order and in groups."""

from __future__ import annotations

import pytest
import torch

from pyrogen.errors import ConfigurationError
from pyrogen.nets.causal import check_causal
from pyrogen.nets.causal.nade import NADE
from pyrogen.nets.causal.orders import Order

GRID = (3, 4)
ORDERS = {
    "raster": Order.raster(GRID),
    "random": Order.random(GRID, seed=5),
    "diagonal": Order.diagonal(GRID),
    "coarse to fine": Order.coarse_to_fine(GRID),
    "all at once": Order(torch.zeros(GRID, dtype=torch.long)),
}


def network_in(order, context=2):
    torch.manual_seed(1)
    return NADE(GRID, 2, 3, hidden=7, order=ORDERS[order], activation="tanh", context=context).double()


def inputs():
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(5, 2, *GRID, generator=generator, dtype=torch.float64)
    return x, torch.randn(5, 2, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("order", ORDERS)
def test_it_is_its_formula(order):
    network, (x, context) = network_in(order), inputs()
    ranks = ORDERS[order].ranks.flatten()
    drawn = [position for group in ORDERS[order].groups for position in group]
    flat, found = x.flatten(2), network(x, context).flatten(2)
    for number, position in enumerate(drawn):
        before = network.first + context @ network.from_context.weight.T
        for earlier, other in enumerate(drawn):
            if ranks[other] < ranks[position]:
                before = before + flat[..., other] @ network.read[earlier]
        expected = torch.tanh(before) @ network.head[number] + network.bias[number]
        assert torch.allclose(found[..., position], expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("order", ORDERS)
def test_both_faces_agree_and_are_causal(order):
    network, (x, context) = network_in(order), inputs()
    check_causal(network)
    state, previous = network.start(len(x), context), None
    with torch.no_grad():
        parallel = network(x, context).flatten(2)
        for index, group in enumerate(network.groups):
            given, state = network.step(index, previous, state)
            assert torch.allclose(given, parallel[..., list(group)], rtol=0, atol=1e-13)
            previous = x.flatten(2)[..., list(group)]


def test_an_order_is_saved_with_the_network():
    first, second = (
        network_in("raster", 0),
        NADE(GRID, 2, 3, hidden=7, order=Order.random(GRID, 9), activation="tanh").double(),
    )
    second.load_state_dict(first.state_dict())
    assert second.groups == first.groups
    assert torch.equal(first(inputs()[0]), second(inputs()[0]))
    with pytest.raises(ConfigurationError, match="6 groups"):
        first.load_state_dict(network_in("diagonal", 0).state_dict())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: NADE((3, 3), order=Order.raster((9,))), "grid"),
        (lambda: NADE((3, 3), hidden=0), "hidden"),
        (lambda: NADE((3, 3), context=-1), "context"),
        (lambda: NADE((3, 3), outputs=0), "outputs"),
        (lambda: NADE((3, 3), activation="relux"), "relux"),
    ],
)
def test_what_is_no_nade_is_refused(make, said):
    with pytest.raises(ConfigurationError, match=said):
        make()
