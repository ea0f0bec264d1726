"""MADE: its masks are those of the definition, its two faces agree, and its order is saved with it."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn

from pyrogen.errors import ConfigurationError
from pyrogen.nets.causal import check_causal
from pyrogen.nets.causal.made import MADE
from pyrogen.nets.causal.orders import Order
from pyrogen.nets.causal.triangular_linear import TriangularLinear

ORDERS = {
    "raster": Order.raster,
    "random": lambda grid: Order.random(grid, seed=5),
    "diagonal": Order.diagonal,
    "coarse to fine": lambda grid: Order.coarse_to_fine(grid, levels=2),
    "reversed": lambda grid: Order.raster(grid).reversed(),
    "all at once": lambda grid: Order(torch.zeros(grid, dtype=torch.long)),
    "two groups": lambda grid: Order((torch.arange(torch.Size(grid).numel()) % 2).reshape(grid)),
}
SHAPES = {
    "one layer": {"hidden": (23,)},
    "two layers": {"hidden": (9, 30), "inputs": 2, "outputs": 3},
    "few units": {"hidden": (3,), "skip": False, "activation": "tanh"},
    "no layer": {"hidden": (), "inputs": 3, "outputs": 2},
    "context": {"hidden": (12, 7), "context": 4, "strips": 3},
}


def made(order, shape, grid=(4, 3), seed=0):
    torch.manual_seed(seed)
    return MADE(grid, order=ORDERS[order](grid), **SHAPES[shape]).double()


def inputs_of(network, count=3):
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(count, network.inputs, *network.grid, generator=generator, dtype=torch.float64)
    if network.context_shape is None:
        return x, None
    return x, torch.randn(count, *network.context_shape, generator=generator, dtype=torch.float64)


def incremental(network, x, context):
    """What `step` gives at all positions when the values are those of `x`."""
    flat = x.flatten(2)
    result = torch.full((len(x), network.outputs, network.positions), torch.nan, dtype=x.dtype)
    state, previous = network.start(len(x), context), None
    for index, group in enumerate(network.groups):
        given, state = network.step(index, previous, state)
        assert given.shape == (len(x), network.outputs, len(group))
        result[..., list(group)] = given
        previous = flat[..., list(group)]
    return result.reshape(len(x), network.outputs, *network.grid)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("order", ORDERS)
def test_both_faces_agree_and_are_causal(order, shape):
    network = made(order, shape)
    x, context = inputs_of(network)
    with torch.no_grad():
        assert torch.allclose(incremental(network, x, context), network(x, context), rtol=0, atol=1e-12)
    check_causal(network)


@pytest.mark.parametrize("shape", ["one layer", "no layer", "two layers"])
@pytest.mark.parametrize("order", ORDERS)
def test_every_position_sees_all_positions_of_lower_rank(order, shape):
    network = made(order, shape)
    x, _ = inputs_of(network, 1)
    jacobian = torch.autograd.functional.jacobian(lambda x: network(x).square().sum((0, 1)), x)  # (H, W, 1, inputs, H, W)
    seen = jacobian.abs().amax((2, 3)).flatten(2).flatten(0, 1) > 0  # (to, from)
    ranks = network.ranks.flatten()
    if shape == "two layers":  # 9 units have not all degrees, but none is seen that must not be
        assert not (seen & ~(ranks[:, None] > ranks)).any()
    else:
        assert torch.equal(seen, ranks[:, None] > ranks)


def dense(layer):
    """The full matrix of a triangular layer, zero above its staircase."""
    matrix = torch.zeros(len(layer.visible), layer.in_features, dtype=torch.float64)
    for (start, end), weight in zip(layer._strips(), layer.weights, strict=True):
        matrix[start:end, : weight.shape[1]] = weight.detach()
    seen = torch.arange(layer.in_features) < torch.tensor(layer.visible)[:, None]
    return matrix * seen


@pytest.mark.parametrize("order", ORDERS)
def test_it_is_the_perceptron_with_the_masks_of_the_paper(order):
    network = made(order, "two layers")
    x, _ = inputs_of(network)
    ranks, stable = network.ranks.flatten().sort(stable=True)
    read, given = ranks.repeat_interleave(2), ranks.repeat_interleave(3)
    degrees = [torch.tensor(degree) for degree in network.degrees]
    matrices = [dense(layer) for layer in (*network.layers, network.head, network.skip)]
    rules = [
        degrees[0][:, None] >= read,
        degrees[1][:, None] >= degrees[0],
        given[:, None] > degrees[1],
        given[:, None] > read,
    ]
    for matrix, rule in zip(matrices, rules, strict=True):
        assert torch.equal(matrix != 0, rule)
    first, second, head, skip = matrices
    flat = x.flatten(2)[..., stable].transpose(1, 2).flatten(1)
    hidden = torch.relu(flat @ first.T + network.layers[0].bias)
    hidden = torch.relu(hidden @ second.T + network.layers[1].bias)
    expected = (hidden @ head.T + network.head.bias + flat @ skip.T).reshape(3, 12, 3).transpose(1, 2)
    back = torch.empty_like(expected)
    back[..., stable] = expected
    assert torch.allclose(network(x), back.reshape(3, 3, 4, 3), rtol=0, atol=1e-12)


@pytest.mark.parametrize("strips", [1, 2, 5, 100])
def test_strips_change_nothing_but_what_is_stored(strips):
    visible = [0, 0, 2, 2, 2, 3, 5, 5, 6]
    torch.manual_seed(1)
    layer = TriangularLinear(6, visible, strips=strips).double()
    x = torch.randn(4, 6, dtype=torch.float64)
    assert torch.allclose(layer(x), x @ dense(layer).T + layer.bias, rtol=0, atol=1e-14)
    assert len(layer.weights) <= strips
    for start, end in ((0, 2), (2, 5), (5, 6), (6, 8), (8, 9)):
        garbage = x.clone()
        garbage[:, visible[start] :] = torch.nan
        assert torch.allclose(layer.rows(garbage, slice(start, end)), layer(x)[:, start:end], rtol=0, atol=1e-14)


def test_half_of_the_parameters_are_spared():
    full = MADE((28, 28), hidden=(1500,), strips=1)
    strips = MADE((28, 28), hidden=(1500,))
    count = [sum(p.numel() for p in network.parameters()) for network in (full, strips)]
    assert count[1] < 0.6 * count[0]


def test_hidden_units_have_all_degrees_that_there_are_units_for():
    for order in ORDERS.values():
        network = MADE((4, 3), hidden=(40,), order=order((4, 3)))
        steps = len(network.groups)
        assert sorted(set(network.degrees[0])) == list(range(max(1, steps - 1)))


def test_an_order_is_saved_with_the_network():
    first, second = (MADE((3, 3), hidden=(8,), order=Order.random((3, 3), seed)) for seed in (1, 2))
    x, _ = inputs_of(first)
    x = x.float()
    assert not torch.equal(first.ranks, second.ranks)
    second.load_state_dict(first.state_dict())
    assert second.groups == first.groups
    assert torch.equal(first(x), second(x))
    with torch.no_grad():
        assert torch.allclose(incremental(second, x, None), second(x), rtol=0, atol=1e-6)
    copy = deepcopy(second)
    assert torch.equal(copy(x), second(x))
    inside = nn.ModuleDict({"net": MADE((3, 3), hidden=(8,))})
    inside.load_state_dict({f"net.{key}": value for key, value in first.state_dict().items()})
    assert torch.equal(inside["net"](x), first(x))


def test_an_order_with_other_groups_is_not_loaded():
    diagonal = MADE((3, 3), hidden=(8,), order=Order.diagonal((3, 3)))
    with pytest.raises(ConfigurationError, match="5 groups"):
        MADE((3, 3), hidden=(8,)).load_state_dict(diagonal.state_dict())


@pytest.mark.parametrize("shape", SHAPES)
def test_every_parameter_that_is_seen_has_a_gradient(shape):
    network = made("diagonal", shape)
    x, context = inputs_of(network, 16)
    network(x, context).square().sum().backward()
    for name, parameter in network.named_parameters():
        if parameter.numel():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name


def test_it_runs_on_the_meta_device():
    network = made("random", "context").to("meta")
    x, context = inputs_of(network)
    assert network(x.to("meta"), context.to("meta")).device.type == "meta"
    state = network.start(2, context[:2].to("meta"))
    assert network.step(0, None, state)[0].device.type == "meta"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: MADE((3, 3), order=Order.raster((9,))), "grid"),
        (lambda: MADE((3, 3), hidden=(), skip=False), "sees nothing"),
        (lambda: MADE((3, 0)), "grid"),
        (lambda: MADE((3,), hidden=(0,)), "hidden"),
        (lambda: MADE((3,), inputs=0), "inputs"),
        (lambda: MADE((3,), context=-1), "context"),
        (lambda: MADE((3,), strips=0), "strips"),
        (lambda: MADE((3,), activation="relux"), "relux"),
        (lambda: TriangularLinear(3, [1, 0]), "ascend"),
        (lambda: TriangularLinear(3, [1, 4]), "ascend"),
        (lambda: TriangularLinear(3, []), "ascend"),
    ],
)
def test_what_is_no_made_is_refused(make, said):
    with pytest.raises(ConfigurationError, match=said):
        make()
