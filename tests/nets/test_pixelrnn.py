"""PixelRNN: its recurrences are those of the formulas, both faces agree, and each sees what it should."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pyrogen.errors import ConfigurationError
from pyrogen.nets.causal import check_causal
from pyrogen.nets.causal.pixelrnn import PixelRNN
from pyrogen.nets.causal.recurrence import DiagonalLSTM, RowLSTM, cell

GRIDS = [(1, 1), (1, 5), (5, 1), (2, 2), (3, 5), (5, 3), (4, 4)]
SETTINGS = {
    "plain": {},
    "vector": {"context": 3, "inputs": 2, "outputs": 3},
    "map": {"context": 2, "context_map": True, "features": 5, "head": 4},
    "dropout": {"dropout": 0.5, "first": 3},
}


def network_on(grid, recurrence, setting="plain", **arguments):
    torch.manual_seed(1)
    return PixelRNN(grid, recurrence=recurrence, hidden=3, **{"layers": 2, **SETTINGS[setting], **arguments}).double().eval()


def inputs_of(network, count=3):
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(count, network.inputs, *network.grid, generator=generator, dtype=torch.float64)
    if network.context_shape is None:
        return x, None
    return x, torch.randn(count, *network.context_shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("recurrence", ["diagonal", "row"])
@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_both_faces_agree_and_are_causal(grid, recurrence, setting):
    network = network_on(grid, recurrence, setting)
    x, context = inputs_of(network)
    with torch.no_grad():
        parallel = network(x, context).flatten(2)
        state, previous = network.start(len(x), context), None
        for index in range(network.positions):
            given, state = network.step(index, previous, state)
            assert torch.allclose(given, parallel[..., index : index + 1], rtol=0, atol=1e-12)
            previous = x.flatten(2)[..., index : index + 1]
    if network.positions > 1:
        check_causal(network)


def seen_by(network):
    """Whether each position's outputs depend on each position's input, (to, from)."""
    x, _ = inputs_of(network, 1)
    jacobian = torch.autograd.functional.jacobian(lambda x: network(x).square().sum((0, 1)), x)
    return jacobian.abs().amax((2, 3)).flatten(2).flatten(0, 1) > 0


@pytest.mark.parametrize("grid", [(2, 3), (3, 5), (5, 4)], ids=str)
def test_the_diagonal_lstm_has_no_blind_spot(grid):
    network = network_on(grid, "diagonal", layers=1, first=3, features=24, head=60)
    count = network.positions
    assert torch.equal(seen_by(network), torch.ones(count, count).tril(-1).bool())


def test_the_row_lstm_sees_a_triangle():
    height, width = 4, 9
    network = network_on((height, width), "row", layers=1, first=3, features=24, head=60)
    convolution = {  # what the first layer, of side 3, sees
        (i, j): {(i - 1, j + d) for d in (-1, 0, 1)} | {(i, j - 1)} for i in range(height) for j in range(-2, width + 2)
    }
    hidden: dict[tuple[int, int], set[tuple[int, int]]] = {}
    for i in range(height):
        for j in range(width):
            hidden[i, j] = convolution[i, j] | (convolution[i, j - 1] if j else set())
            for d in (-1, 0, 1):
                hidden[i, j] = hidden[i, j] | hidden.get((i - 1, j + d), set())
    expected = torch.zeros(height * width, height * width, dtype=torch.bool)
    for (i, j), seen in hidden.items():
        for row, column in seen:
            if 0 <= row < height and 0 <= column < width:
                expected[i * width + j, row * width + column] = True
    found = seen_by(network)
    assert torch.equal(found, expected)
    assert not found[3 * width, 2 * width + 8]  # the last pixel of the row above is out of sight


def lstm(gates, memory):
    write, keep, show, content = gates.chunk(4, -1)
    memory = torch.sigmoid(keep) * memory + torch.sigmoid(write) * torch.tanh(content)
    return torch.sigmoid(show) * torch.tanh(memory), memory


def test_the_cell_is_that_of_torch():
    torch.manual_seed(3)
    theirs = nn.LSTMCell(4, 3).double()
    x, hidden, memory = (torch.randn(5, size, dtype=torch.float64) for size in (4, 3, 3))
    gates = x @ theirs.weight_ih.T + theirs.bias_ih + hidden @ theirs.weight_hh.T + theirs.bias_hh
    write, keep, content, show = gates.chunk(4, -1)  # torch has them in this order
    ours = cell(torch.cat([write, keep, show, content], -1), memory)
    for a, b in zip(ours, theirs(x, (hidden, memory)), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-14)


def test_the_row_lstm_is_its_formula():
    torch.manual_seed(4)
    height, width, features, hidden = 3, 4, 2, 3
    layer = RowLSTM((height, width), features, hidden, kernel=5).double()
    x = torch.randn(2, height, width, features, dtype=torch.float64)
    carry = layer.carry.weight.reshape(4 * hidden, 5, hidden)
    read = layer.read.weight.reshape(4 * hidden, 3, features)
    h = torch.zeros(2, height + 1, width, hidden, dtype=torch.float64)
    c = torch.zeros_like(h)
    with torch.no_grad():
        for i in range(height):
            for j in range(width):
                gates = layer.read.bias.expand(2, -1)
                for tap, place in enumerate(range(j - 2, j + 3)):
                    if 0 <= place < width:
                        gates = gates + h[:, i, place] @ carry[:, tap].T  # row i of h is row i - 1 of the image
                for tap, place in enumerate(range(j - 2, j + 1)):
                    if place >= 0:
                        gates = gates + x[:, i, place] @ read[:, tap].T
                h[:, i + 1, j], c[:, i + 1, j] = lstm(gates, c[:, i, j])
        assert torch.allclose(layer(x), h[:, 1:], rtol=0, atol=1e-14)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_the_diagonal_lstm_is_its_formula(grid):
    torch.manual_seed(5)
    height, width = grid
    layer = DiagonalLSTM(grid, 2, 3).double()
    x = torch.randn(2, height, width, 2, dtype=torch.float64)
    total = torch.zeros(2, height, width, 3, dtype=torch.float64)
    zero = torch.zeros(2, 3, dtype=torch.float64)
    with torch.no_grad():
        for direction, columns in enumerate((range(width), reversed(range(width)))):
            h, c = {}, {}
            order = list(columns)
            for i in range(height):
                for number, j in enumerate(order):
                    beside = order[number - 1] if number else None
                    rows = slice(12 * direction, 12 * direction + 12)
                    gates = x[:, i, j] @ layer.read.weight[rows].T + layer.read.bias[rows]
                    gates = gates + h.get((i - 1, j), zero) @ layer.near[direction, :3]
                    gates = gates + h.get((i, beside), zero) @ layer.near[direction, 3:]
                    h[i, j], c[i, j] = lstm(gates, c.get((i, beside), zero))
                    if i + direction < height:
                        total[:, i + direction, j] += h[i, j]
        assert torch.allclose(layer(x), total, rtol=0, atol=1e-13)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("recurrence", ["diagonal", "row"])
def test_every_parameter_matters(recurrence, setting):
    network = network_on((5, 5), recurrence, setting)
    x, context = inputs_of(network, 8)
    network(x, context).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("recurrence", ["diagonal", "row"])
def test_it_runs_on_the_meta_device(recurrence):
    network = network_on((3, 4), recurrence, "vector").to("meta")
    x, context = (value.to("meta") for value in inputs_of(network))
    assert network(x, context).device.type == "meta"
    state, previous = network.start(len(x), context), None
    for index in range(5):
        given, state = network.step(index, previous, state)
        assert given.device.type == "meta"
        previous = x.flatten(2)[..., index : index + 1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"grid": (5,)}, "height, width"),
        ({"grid": (5, 0)}, "grid"),
        ({"recurrence": "column"}, "no recurrence 'column'"),
        ({"first": 4}, "first must be odd"),
        ({"first": 1}, "at least 3"),
        ({"hidden": 0}, "hidden"),
        ({"layers": 0}, "layers"),
        ({"features": 0}, "features"),
        ({"head": 0}, "head"),
        ({"context": -1}, "context"),
        ({"dropout": 1.0}, "dropout"),
        ({"outputs": 0}, "outputs"),
    ],
)
def test_what_is_no_pixelrnn_is_refused(arguments, said):
    with pytest.raises(ConfigurationError, match=said):
        PixelRNN(**{"grid": (4, 4), **arguments})


def test_an_even_kernel_is_refused():
    with pytest.raises(ConfigurationError, match="kernel must be odd"):
        RowLSTM((3, 3), 2, 2, kernel=2)
