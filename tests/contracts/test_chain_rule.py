"""Autoregressive distributions against the Bayesian networks that they are, and what their named ones refuse."""

from __future__ import annotations

import pytest
import torch
from causal_cases import CASES

from pyrogen.distributions import MADE, Autoregressive, BayesianNetwork, PixelRNN, Variable
from pyrogen.errors import ConfigurationError
from pyrogen.nets import causal

NAMES = [
    "linear",
    "made, permuted",
    "made, diagonal",
    "made, coarse to fine",
    "pixelrnn, diagonal",
    "diagonal pixelcnn",
    "diagonal pixelcnn, steep",
]


def made_of(name):
    torch.manual_seed(1)
    network = CASES[name].make(1, 1).double().eval()
    context = None if network.context_shape is None else torch.randn(network.context_shape, dtype=torch.float64)
    return network, context


def as_bayesian_network(network, context):
    """A variable for each position, whose parents are all positions of earlier groups."""
    variables, before = [], []
    for group in network.groups:
        for position in group:

            def conditional(values, position=position, parents=tuple(before)):
                x = torch.zeros(*values.shape[:-1], network.positions, dtype=torch.float64)
                x[..., list(parents)] = values.double()
                flat = x.reshape(-1, 1, *network.grid)
                given = None if context is None else context.expand(len(flat), -1)
                logit = network(flat, given).reshape(*x.shape[:-1], network.positions)[..., position]
                return torch.stack([torch.zeros_like(logit), logit], -1)

            variables.append(Variable(str(position), conditional, [str(p) for p in before], states=2))
        before.extend(group)
    return BayesianNetwork(sorted(variables, key=lambda variable: int(variable.name)))


@pytest.mark.parametrize("name", NAMES)
def test_a_causal_network_is_a_bayesian_network(name):
    network, context = made_of(name)
    explicit = as_bayesian_network(network, context)
    images = explicit.enumerate_support()  # (images, positions)
    distribution = Autoregressive(network, context=context, event_shape=(network.positions,))
    with torch.no_grad():
        log_prob = distribution.log_prob(images.double())
        assert torch.allclose(log_prob, explicit.log_prob(images), rtol=0, atol=1e-12)
        first, last = network.groups[0][0], network.groups[-1][-1]
        on = (images[:, first] == 1) & (images[:, last] == 1)
        posterior = log_prob.exp()[on].sum() / log_prob.exp()[images[:, last] == 1].sum()
        assert abs(explicit.marginal(str(first), given={str(last): 1})[1] - posterior) < 1e-12


def test_named_distributions_take_their_own_networks():
    orders = [causal.Order.random((2, 2), seed) for seed in range(2)]
    assert MADE(causal.MADE((2, 2))).event_shape == (1, 2, 2)
    assert MADE(causal.OrderAgnosticMADE((2, 2), orders).member(1)).event_shape == (1, 2, 2)
    assert type(PixelRNN(causal.PixelRNN((2, 2), hidden=2, layers=1)).expand((3,))) is PixelRNN
    for kind in (MADE, PixelRNN):
        with pytest.raises(ConfigurationError, match=kind.__name__):
            kind(causal.CausalLinear((2, 2)))
