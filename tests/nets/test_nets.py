"""Networks: shapes for any leading dimensions, equality with what they are made of, refusals."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pyrogen.errors import ConfigurationError
from pyrogen.nets import ACTIVATIONS, MLP, ConvDecoder, ConvEncoder, make_activation

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (2, 9, 7), (1, 1, 1), (1, 1, 6)]
LEADING = [(), (5,), (3, 5), (2, 1, 3)]


def networks_on(shape):
    size = shape[0] * shape[1] * shape[2]
    return {
        "mlp": (MLP(size, [6], 4), size, 4),
        "encoder": (ConvEncoder(shape, 4, channels=(3, 5), hidden=(6,)), size, 4),
        "decoder": (ConvDecoder(4, shape, channels=(3, 5), hidden=(6,)), 4, size),
        "decoder of two parameters": (ConvDecoder(4, shape, parameters=2, channels=(3,)), 4, 2 * size),
    }


@pytest.mark.parametrize("leading", LEADING, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_leading_dimensions_are_kept_and_independent(shape, leading):
    torch.manual_seed(1)
    for name, (net, inputs, outputs) in networks_on(shape).items():
        net = net.double()
        x = torch.randn(*leading, inputs, dtype=torch.float64)
        result = net(x)
        assert result.shape == (*leading, outputs), name
        last = net(x.reshape(-1, inputs)[-1])  # each image alone gives what it gives among others
        assert torch.allclose(result.reshape(-1, outputs)[-1], last, rtol=0, atol=1e-12), name


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_parameter_matters(shape):
    torch.manual_seed(2)
    for name, (net, inputs, _) in networks_on(shape).items():
        net(torch.randn(16, inputs)).square().sum().backward()
        for key, parameter in net.named_parameters():
            assert parameter.grad is not None, (name, key)
            assert parameter.grad.abs().max() > 0, (name, key)


def test_an_mlp_is_a_sequential_of_linear_layers():
    torch.manual_seed(3)
    net = MLP(3, [4, 5], 2, activation="tanh")
    assert isinstance(net, nn.Sequential)
    assert [type(layer) for layer in net] == [nn.Linear, nn.Tanh, nn.Linear, nn.Tanh, nn.Linear]
    x = torch.randn(6, 3)
    expected = net[4](torch.tanh(net[2](torch.tanh(net[0](x)))))
    assert torch.equal(net(x), expected)
    assert len(MLP(3, (), 2)) == 1


def test_a_decoder_lays_its_parameters_one_after_the_other():
    """Each half of the output depends on one output channel of the last convolution alone."""
    torch.manual_seed(4)
    net = ConvDecoder(3, (1, 5, 4), parameters=2, channels=(3,))
    z = torch.randn(2, 3)
    before = net(z)
    with torch.no_grad():
        net.convolutions[-1].bias[1] += 1.0
    first, second = (net(z) - before).chunk(2, dim=-1)
    assert first.abs().max() == 0
    assert torch.allclose(second, torch.ones_like(second), atol=1e-6)


def test_flattened_pixels_are_channels_then_rows_then_columns():
    torch.manual_seed(5)
    images = torch.randn(3, 2, 5, 7)
    encoder = ConvEncoder((2, 5, 7), 4, channels=(3,))
    features = encoder.convolutions(images)
    assert features.shape == (3, 3, 3, 4)
    assert torch.allclose(encoder(images.flatten(1)), encoder.dense(features.flatten(1)), atol=1e-6)
    decoder = ConvDecoder(4, (2, 5, 7), channels=(3,))
    z = torch.randn(3, 4)
    decoded = decoder.convolutions(decoder.dense(z).reshape(3, 3, 3, 4))
    assert decoded.shape == (3, 2, 5, 7)
    assert torch.allclose(decoder(z), decoded.flatten(1), atol=1e-6)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_by_name(name):
    assert isinstance(make_activation(name), nn.Module)
    assert make_activation(name) is not make_activation(name)


def test_an_activation_may_be_a_class_of_ones_own():
    assert isinstance(MLP(2, [3], 1, activation=nn.PReLU)[1], nn.PReLU)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: MLP(0, [3], 2), "in_features"),
        (lambda: MLP(2, [3], -1), "out_features"),
        (lambda: MLP(2, [3, 0], 2), "hidden"),
        (lambda: MLP(2, [2.5], 2), "hidden"),
        (lambda: MLP(2, 3, 2), "hidden"),
        (lambda: MLP(2, "30", 2), "hidden"),
        (lambda: MLP(True, [3], 2), "in_features"),
        (lambda: MLP(2, [3], 2, activation="relux"), "relux"),
        (lambda: MLP(2, [3], 2, activation=dict), "activation"),
        (lambda: MLP(2, [3], 2, activation=nn.ReLU()(torch.zeros(1))), "activation"),
        (lambda: ConvEncoder((8, 8), 3), "channels, height, width"),
        (lambda: ConvEncoder((1, 8, 8), 3, channels=()), "channels"),
        (lambda: ConvEncoder((1, 8, 8), 3, kernel=4), "odd"),
        (lambda: ConvDecoder(3, (1, 8, 0)), "shape"),
        (lambda: ConvDecoder(3, (1, 8, 8), parameters=0), "parameters"),
        (lambda: ConvDecoder(3, (1, 8, 8), kernel=2), "odd"),
    ],
)
def test_bad_sizes_are_refused(make, said):
    with pytest.raises(ConfigurationError, match=said):
        make()
