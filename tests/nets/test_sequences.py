"""The WaveNet and the causal transformer beyond the contract of all causal networks: reach, cache, cuts, bad sizes."""

from __future__ import annotations

import pytest
import torch

from pyrogen.distributions.families import Bernoulli
from pyrogen.errors import ConfigurationError
from pyrogen.nets.causal import CausalLinear, CausalTransformer, GatedPixelCNN, MaskedPixelCNN, WaveNet, receptive_field


@pytest.mark.parametrize(("kernel", "dilations"), [(2, (1, 2, 4)), (3, (1, 2)), (2, (1,)), (4, (3,))])
def test_a_wavenet_sees_as_far_as_it_reaches(kernel, dilations):
    torch.manual_seed(1)
    net = WaveNet((40,), features=4, layers=len(dilations), kernel=kernel, dilations=dilations).double()
    assert net.reach == 1 + (kernel - 1) * sum(dilations)
    seen = receptive_field(net, 30) > 0
    assert not seen[30:].any()
    assert not seen[: 30 - net.reach].any()
    assert seen[29]
    assert seen[30 - net.reach]


def test_a_wavenet_remembers_no_more_than_it_reaches():
    net = WaveNet((1000,), features=4, layers=3, kernel=3, dilations=(1, 2, 4))
    _, rings, _ = net.start(5)
    assert [len(ring) for ring in rings] == [2, 4, 8]


def test_a_transformer_sees_everything_before_and_where_it_is():
    torch.manual_seed(2)
    net = CausalTransformer((4, 5), width=8, layers=1, heads=2).double()
    assert ((receptive_field(net, 12).flatten() > 0) == (torch.arange(20) < 12)).all()
    first, last = net(torch.zeros(1, 1, 4, 5).double()).flatten()[[1, 19]]
    assert first != last


@pytest.mark.parametrize("context", [{}, {"context": 3}, {"context": 3, "context_map": True}])
@pytest.mark.parametrize("grid", [(7,), (2, 4)])
def test_a_prefix_gives_what_the_whole_gives(grid, context):
    torch.manual_seed(3)
    net = CausalTransformer(grid, inputs=2, outputs=3, width=8, layers=2, heads=2, **context).double()
    x = torch.randn(5, 2, *grid).double()
    known = None if net.context_shape is None else torch.randn(5, *net.context_shape).double()
    whole = net(x, known).flatten(2)
    for length in (0, 1, 4):
        part = net.of_prefix(x.flatten(2)[..., :length], known)
        assert part.shape == (5, 3, length + 1)
        assert (part - whole[..., : length + 1]).abs().max() < 1e-12


@pytest.mark.parametrize("length", [1, 2, 5, 7, 300])
@pytest.mark.parametrize("completing", [False, True])
def test_what_is_compiled_draws_what_steps_draw(monkeypatch, length, completing):
    """Without a compiler: what is compiled is a function of tensors, run here as it is."""
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    torch.manual_seed(4)
    net = CausalTransformer((length,), width=8, layers=2, heads=2, context=2).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(2.0)
    noise, context = torch.rand(3, 1, length).double(), torch.randn(3, 2).double()
    known = mask = None
    if completing:
        known, mask = torch.rand(3, 1, length).double().round(), torch.rand(3, 1, length) < 0.5
    family = Bernoulli(centred=True)
    with torch.no_grad():
        eager, compiled = (net.generate(family, noise, context, known, mask, compiled=flag) for flag in (False, True))
    assert torch.equal(eager, compiled)
    assert eager.unique().tolist() == [0.0, 1.0] or length < 3
    if completing:
        assert torch.equal(eager[mask], known[mask])


def test_a_blind_spot_is_found_and_where_there_is_none_none():
    torch.manual_seed(5)
    grid, position = (9, 9), 4 * 9 + 4
    earlier = torch.arange(81).reshape(grid) < position
    masked = MaskedPixelCNN(grid, features=8, blocks=5, first=3).double()
    blind = earlier & (receptive_field(masked, position) == 0)
    assert [tuple(place) for place in blind.nonzero().tolist()] == [
        (row, column) for row in range(4) for column in range(9) if column - 4 > 4 - row
    ]
    gated = GatedPixelCNN(grid, features=8, layers=6, first=3).double()
    assert ((receptive_field(gated, position) > 0) == earlier).all()


def test_a_receptive_field_leaves_the_network_as_it_was():
    net = CausalTransformer((5,), width=8, layers=1, heads=1, dropout=0.5)
    net.blocks.eval()
    first, second = receptive_field(net, 3), receptive_field(net, 3)
    assert torch.equal(first, second)
    assert net.training
    assert not net.blocks.training
    assert all(parameter.grad is None for parameter in net.parameters())
    assert receptive_field(CausalLinear((3,)), 0).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: WaveNet(()), "grid"),
        (lambda: WaveNet((5,), features=0), "features"),
        (lambda: WaveNet((5,), layers=0), "layers"),
        (lambda: WaveNet((5,), kernel=1), "kernel"),
        (lambda: WaveNet((5,), dilations=(0,)), "dilations"),
        (lambda: WaveNet((5,), dropout=1.0), "dropout"),
        (lambda: WaveNet((5,), context=-1), "context"),
        (lambda: CausalTransformer(()), "grid"),
        (lambda: CausalTransformer((2, 2, 2)), "grid"),
        (lambda: CausalTransformer((5,), width=0), "width"),
        (lambda: CausalTransformer((5,), layers=0), "layers"),
        (lambda: CausalTransformer((5,), width=6, heads=4), "heads must divide width"),
        (lambda: CausalTransformer((5,), dropout=-0.1), "dropout"),
        (lambda: CausalTransformer((5,), context=-1), "context"),
    ],
)
def test_bad_sizes_are_refused(make, said):
    with pytest.raises(ConfigurationError, match=said):
        make()
