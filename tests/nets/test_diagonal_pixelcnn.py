"""The diagonal PixelCNN: its steps give what the parallel pass gives, and its receptive field is all earlier diagonals."""

from __future__ import annotations

import pytest
import torch

from pyrogen.errors import ConfigurationError
from pyrogen.nets.causal import check_causal
from pyrogen.nets.causal.diagonal_pixelcnn import DiagonalConvolution, DiagonalPixelCNN
from pyrogen.nets.causal.orders import Order

GRIDS = [(1, 1), (1, 5), (5, 1), (3, 5), (5, 3), (4, 4)]
SETTINGS = {
    "plain": {},
    "vector": {"context": 3, "inputs": 2, "outputs": 3},
    "map": {"context": 2, "context_map": True, "first": 3, "kernel": 5},
}


def network_on(grid, slope, setting="plain", **arguments):
    torch.manual_seed(1)
    return DiagonalPixelCNN(grid, slope=slope, **{"features": 6, "layers": 2, **SETTINGS[setting], **arguments}).double()


def inputs_of(network, count=3):
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(count, network.inputs, *network.grid, generator=generator, dtype=torch.float64)
    if network.context_shape is None:
        return x, None
    return x, torch.randn(count, *network.context_shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("slope", [1, 2, 3, 9])
@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_both_faces_agree_and_are_causal(grid, slope, setting):
    network = network_on(grid, slope, setting)
    x, context = inputs_of(network)
    assert network.groups == Order.diagonal(grid, slope).groups
    with torch.no_grad():
        parallel = network(x, context).flatten(2)
        state, previous = network.start(len(x), context), None
        for index, group in enumerate(network.groups):
            given, state = network.step(index, previous, state)
            assert torch.allclose(given, parallel[..., list(group)], rtol=0, atol=1e-12)
            previous = x.flatten(2)[..., list(group)]
    if network.positions > 1:
        check_causal(network)


@pytest.mark.parametrize("slope", [1, 2])
def test_it_sees_all_that_the_front_has_passed(slope):
    """Kernels of side 5 reach two columns to the left in the row below, which is all that a slope of 2 leaves."""
    network = network_on((4, 5), slope, layers=5, kernel=5, features=16)
    x, _ = inputs_of(network, 1)
    jacobian = torch.autograd.functional.jacobian(lambda x: network(x).square().sum((0, 1)), x)
    seen = jacobian.abs().amax((2, 3)).flatten(2).flatten(0, 1) > 0
    ranks = network.ranks.flatten()
    assert torch.equal(seen, ranks[:, None] > ranks)


def test_a_steep_diagonal_has_the_masks_of_raster_order():
    """So that a plain PixelCNN with kernels of side 3 is drawn in W + 2 (H - 1) steps and loses nothing."""
    assert torch.equal(
        DiagonalConvolution(1, 1, 3, slope=2, own=False).mask,
        torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]),
    )
    raster, steep = network_on((6, 6), 6, first=5), network_on((6, 6), 3, first=5)
    x, _ = inputs_of(raster)
    assert torch.equal(raster(x), steep(x))
    assert (len(raster.groups), len(steep.groups)) == (36, 6 + 3 * 5)


def test_every_parameter_matters():
    network = network_on((5, 5), 1, "map")
    x, context = inputs_of(network, 8)
    network(x, context).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_another_slope_is_not_loaded():
    with pytest.raises(ConfigurationError, match="7 groups"):
        network_on((4, 4), 2).load_state_dict(network_on((4, 4), 1).state_dict())


def test_it_runs_on_the_meta_device():
    network = network_on((3, 4), 1, "vector").to("meta")
    x, context = (value.to("meta") for value in inputs_of(network))
    assert network(x, context).device.type == "meta"
    state, previous = network.start(len(x), context), None
    for index, group in enumerate(network.groups[:3]):
        given, state = network.step(index, previous, state)
        assert given.device.type == "meta"
        previous = x.flatten(2)[..., list(group)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"grid": (5,)}, "height, width"),
        ({"slope": 0}, "slope"),
        ({"kernel": 4}, "kernel must be odd"),
        ({"first": 4}, "first must be odd"),
        ({"first": 1}, "at least 3"),
        ({"features": 0}, "features"),
        ({"layers": 0}, "layers"),
        ({"context": -1}, "context"),
    ],
)
def test_what_is_no_diagonal_pixelcnn_is_refused(arguments, said):
    with pytest.raises(ConfigurationError, match=said):
        DiagonalPixelCNN(**{"grid": (4, 4), **arguments})
