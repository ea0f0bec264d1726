"""`Autoregressive`: bad input is named, modes, progress, event shapes, and the check of causality."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from pyrogen.distributions import Autoregressive, PixelCNN
from pyrogen.distributions.families import Bernoulli, Categorical
from pyrogen.errors import ConfigurationError, DataError
from pyrogen.nets import causal
from pyrogen.nets.causal import CausalLinear, CausalNetwork, GatedPixelCNN, MaskedPixelCNN, check_causal


def images(**options):
    return Autoregressive(CausalLinear((2, 3)), **options)


def conditioned(context):
    return Autoregressive(CausalLinear((2, 3), context=4), context=context)


class Leaky(CausalLinear):
    """Sees its own position."""

    def __init__(self, mask):
        super().__init__((2, 3))
        self.mask = mask[:, None]


class Twice(CausalLinear):
    """Draws a position twice."""

    groups = ((0,), (1,), (1,))


class Normalized(CausalNetwork):
    """A batch normalization before a causal layer: in training a datum depends on the others."""

    def __init__(self):
        super().__init__()
        self.normalize, self.linear = nn.BatchNorm2d(1), CausalLinear((2, 3))
        self.grid, self.inputs, self.outputs = (2, 3), 1, 1

    def forward(self, x, context=None):
        return self.linear(self.normalize(x))

    def start(self, count, context=None):
        return self.linear.start(count)

    def step(self, index, previous, state):
        previous = None if previous is None else self.normalize(previous[..., None])[..., 0]
        return self.linear.step(index, previous, state)


BAD = {
    "a value off the support": (lambda: images().log_prob(torch.full((1, 2, 3), 0.5)), DataError, "outside the support"),
    "a value that is no number": (lambda: images().log_prob(torch.full((1, 2, 3), torch.nan)), DataError, "outside"),
    "a value of another shape": (lambda: images().log_prob(torch.zeros(1, 3, 2)), DataError, r"\(\.\.\., 1, 2, 3\), not"),
    "a value of too few dimensions": (lambda: images().log_prob(torch.zeros(3)), DataError, "not"),
    "a flattened value": (lambda: images().log_prob(torch.zeros(5, 6)), DataError, "not"),
    "a context that does not broadcast": (
        lambda: conditioned(torch.zeros(4, 4)).log_prob(torch.zeros(5, 1, 2, 3)),
        ConfigurationError,
        r"batch \(4,\) of this Autoregressive does not broadcast with .* \(5,\)",
    ),
    "a context of another size": (
        lambda: conditioned(torch.zeros(4, 3)),
        ConfigurationError,
        r"\(\.\.\., 4\), not \(4, 3\)",
    ),
    "a context too many": (lambda: images(context=torch.zeros(4)), ConfigurationError, "takes no context, but got"),
    "no context": (lambda: conditioned(None), ConfigurationError, "but got none"),
    "a family of other sizes": (lambda: images(family=Categorical(4)), ConfigurationError, r"\(1, 4\), but .* \(1, 1\)"),
    "no family": (lambda: Autoregressive(CausalLinear((4,), 1, 3)), ConfigurationError, "give a family"),
    "another network": (lambda: PixelCNN(CausalLinear((2, 3))), ConfigurationError, "needs a GatedPixelCNN or"),
    "an event of another size": (lambda: images(event_shape=(5,)), ConfigurationError, "as many elements"),
    "noise of another shape": (lambda: images().sample((2,), noise=torch.rand(2, 2, 3)), ConfigurationError, "noise"),
    "half a position known": (
        lambda: Autoregressive(CausalLinear((2,), 2, 2)).complete(
            torch.zeros(2, 2), torch.tensor([[True] * 2, [False] * 2])
        ),
        ConfigurationError,
        "all its channels",
    ),
    "a known value off the support": (
        lambda: images().complete(torch.full((1, 2, 3), 0.5), torch.ones(2, 3, dtype=torch.bool)),
        DataError,
        "outside",
    ),
    "no compiled sampler": (lambda: images().sample(compile=True), ConfigurationError, "no compiled sampler"),
    "a network that sees itself": (lambda: check_causal(Leaky(torch.ones(6, 6).tril())), ConfigurationError, "not causal"),
    "a network that sees the future": (
        lambda: Autoregressive(Leaky(torch.ones(6, 6).tril(-1) + torch.eye(6).roll(2, 1).triu())).check_causal(),
        ConfigurationError,
        "which is drawn at step",
    ),
    "groups that miss a position": (lambda: check_causal(Twice((3,))), ConfigurationError, "every position once"),
    "a grid of one dimension": (lambda: GatedPixelCNN((28,)), ConfigurationError, "height, width"),
    "an even kernel": (lambda: GatedPixelCNN((28, 28), kernel=4), ConfigurationError, "odd"),
    "a kernel that sees nothing": (lambda: MaskedPixelCNN((28, 28), first=1), ConfigurationError, "at least 3"),
    "a certain dropout": (lambda: GatedPixelCNN((28, 28), dropout=1.0), ConfigurationError, "dropout must lie in"),
    "no layer": (lambda: GatedPixelCNN((28, 28), layers=0), ConfigurationError, "layers"),
    "one value": (lambda: Categorical(1), ConfigurationError, "at least 2"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named(name):
    call, error, message = BAD[name]
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(("former", "name"), [("WavefrontCNN", "DiagonalPixelCNN"), ("Frontier", "Group")])
def test_former_names_are_understood_with_a_warning(former, name):
    with pytest.warns(DeprecationWarning, match=f"`{former}` is now called `{name}`"):
        assert getattr(causal, former) is getattr(causal, name)
    assert not hasattr(causal, "Wavefront")


@pytest.mark.parametrize("made", [CausalLinear((2, 2)), causal.Order.diagonal((2, 2))], ids=repr)
def test_the_former_name_of_groups_is_read_with_a_warning(made):
    with pytest.warns(DeprecationWarning, match="now called `groups`"):
        assert made.frontiers == made.groups


def test_the_former_name_of_groups_is_not_defined_in_vain():
    with pytest.raises(TypeError, match="call it `groups`"):
        type("Reversed", (CausalLinear,), {"frontiers": ((1,), (0,))})


def test_without_validation_values_are_not_looked_at():
    images(validate_args=False).log_prob(torch.full((1, 2, 3), 0.5))


def test_the_leak_is_found_wherever_it_is():
    for to in range(6):
        for source in range(to, 6):
            mask = torch.ones(6, 6).tril(-1)
            mask[to, source] = 1
            with pytest.raises(ConfigurationError, match="not causal"):
                check_causal(Leaky(mask))
    check_causal(Leaky(torch.ones(6, 6).tril(-1)))


def test_an_event_may_be_flat():
    network = CausalLinear((2, 3))
    square, flat = Autoregressive(network), Autoregressive(network, event_shape=(6,))
    torch.manual_seed(0)
    x = square.sample((4,))
    assert x.shape == (4, 1, 2, 3)
    assert flat.event_shape == (6,)
    assert torch.equal(flat.log_prob(x.flatten(1)), square.log_prob(x))
    noise = torch.rand(4, 1, 2, 3)
    assert torch.equal(flat.sample((4,), noise=noise), square.sample((4,), noise=noise).flatten(1))
    assert Autoregressive(CausalLinear((5,))).event_shape == (5,)
    assert Autoregressive(CausalLinear((5,), 2, 2)).event_shape == (2, 5)


def test_a_value_of_another_dtype_is_read():
    x = torch.tensor([[[True, False, True], [False, False, True]]])
    assert torch.equal(images().log_prob(x).isfinite(), torch.tensor(True))
    distribution = images()
    distribution.network.double()
    assert distribution.log_prob(x.float()).dtype == torch.float64


def test_batch_statistics_are_not_those_of_the_draws():
    network = Normalized()
    network.normalize.running_mean.fill_(0.3)
    distribution = Autoregressive(network, Bernoulli())
    torch.manual_seed(1)
    x = distribution.sample((8,))
    assert network.training
    assert network.normalize.running_mean.item() == pytest.approx(0.3), "drawing has changed the statistics"
    assert not torch.allclose(distribution.log_prob(x)[:2], distribution.log_prob(x[:2]), rtol=0, atol=1e-4)
    network.eval()
    assert torch.allclose(distribution.log_prob(x)[:2], distribution.log_prob(x[:2]), rtol=0, atol=1e-6)


def test_the_bar_is_shown_when_asked_for(capsys):
    images().sample(progress=True)
    assert "/6" in capsys.readouterr().err
    images().sample()
    images().sample(progress=False)
    assert not capsys.readouterr().err


def test_it_can_be_copied_and_pickled():
    distribution = PixelCNN(GatedPixelCNN((3, 3), features=4, layers=2))
    x = distribution.sample((2,))
    for other in (copy.deepcopy(distribution), pickle.loads(pickle.dumps(distribution))):
        assert torch.equal(other.log_prob(x), distribution.log_prob(x))


def receptive_field(network, row, column):
    x = torch.randn(4, 1, *network.grid, dtype=torch.float64, requires_grad=True)
    network(x)[:, :, row, column].sum().backward()
    return (x.grad.abs().sum((0, 1)) > 0).int()


def test_the_gated_network_has_no_blind_spot_and_the_masked_one_has():
    torch.manual_seed(2)
    size, row, column = 9, 5, 3
    index = torch.arange(size * size).reshape(size, size)
    earlier = (index < index[row, column]).int()
    gated = GatedPixelCNN((size, size), features=4, layers=8, first=3).double()
    assert torch.equal(receptive_field(gated, row, column), earlier)
    masked = MaskedPixelCNN((size, size), features=16, blocks=8, first=3).double()
    above = row - torch.arange(size)[:, None]
    wedge = (torch.arange(size)[None] - column) > above
    assert torch.equal(receptive_field(masked, row, column), earlier * ~wedge)


def test_the_gate_is_a_tanh_and_a_sigmoid():
    from pyrogen.nets.causal.gated_convolution import GateBuffer, gate

    x = torch.randn(5, 8, dtype=torch.float64)
    exact = torch.tanh(x[:, :4] / 2) * torch.sigmoid(x[:, 4:])
    assert (gate(x) - exact).abs().max() < 1e-15
    buffer = GateBuffer.of(x, 5, 4)
    buffer.before.copy_(x)
    assert (buffer.gate() - exact).abs().max() < 1e-15
