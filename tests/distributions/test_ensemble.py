"""Ensembles: averages in probability, which add up to one, and draws from them."""

from __future__ import annotations

import math
from itertools import product

import pyro.distributions as dist
import pytest
import torch
from scipy import stats

from pyrogen.distributions import Autoregressive
from pyrogen.distributions.ensemble import Ensemble
from pyrogen.errors import ConfigurationError
from pyrogen.nets.causal.order_agnostic_made import OrderAgnosticMADE
from pyrogen.nets.causal.orders import Order

GRID = (2, 3)
IMAGES = torch.tensor(list(product([0.0, 1.0], repeat=6)), dtype=torch.float64).reshape(-1, 1, *GRID)


def ensemble(context=None):
    torch.manual_seed(1)
    orders = [Order.random(GRID, seed) for seed in range(4)]
    features = 0 if context is None else context.shape[-1]
    network = OrderAgnosticMADE(GRID, orders, hidden=(12,), context=features).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(3)
    return Ensemble([Autoregressive(member, context=context) for member in network.members])


def test_masses_add_up_to_one_and_average_those_of_the_members():
    average = ensemble()
    masses = torch.stack([member.log_prob(IMAGES).exp() for member in average.members])
    assert (masses.sum(1) - 1).abs().max() < 1e-12
    found = average.log_prob(IMAGES)
    assert torch.allclose(found.exp(), masses.mean(0), rtol=0, atol=1e-14)
    assert (found >= masses.log().mean(0)).all()
    assert (masses.std(0) > 1e-3).any()  # orders do make different distributions of the same weights


@pytest.mark.parametrize("contexts", [None, (2,), (3, 1)], ids=str)
def test_samples_follow_the_average(contexts):
    context = (
        None
        if contexts is None
        else torch.randn(*contexts, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    )
    average, draws = ensemble(context), 20_000
    torch.manual_seed(3)
    sample = average.sample((draws,))
    assert sample.shape == (draws, *average.batch_shape, 1, *GRID)
    number = (sample.flatten(-3) @ (2.0 ** torch.arange(5, -1, -1)).double()).long().reshape(draws, -1)
    images = IMAGES.reshape(-1, *(1 for _ in average.batch_shape), 1, *GRID)
    expected = draws * average.log_prob(images).exp().reshape(len(IMAGES), -1)
    for column in range(expected.shape[1]):
        hoped = expected[:, column].detach()
        counts = torch.bincount(number[:, column], minlength=64).double()
        rare = hoped < 5
        counts, hoped = (torch.cat([v[~rare], v[rare].sum()[None]]) for v in (counts, hoped))
        keep = hoped > 0
        statistic = ((counts - hoped)[keep].square() / hoped[keep]).sum().item()
        assert stats.chi2.sf(statistic, int(keep.sum()) - 1) > 1e-6


def test_expansion_keeps_the_density():
    context = torch.randn(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    average = ensemble(context)
    wide = average.expand((5, 3))
    draws = wide.sample((2,))
    assert draws.shape == (2, 5, 3, 1, *GRID)
    assert torch.allclose(wide.log_prob(draws), average.log_prob(draws), rtol=0, atol=1e-12)
    assert ensemble().expand((4,)).sample().shape == (4, 1, *GRID)


def test_a_single_member_is_itself():
    normal = dist.Normal(torch.tensor([0.0, 1.0]), 1.0)
    assert torch.equal(Ensemble([normal]).log_prob(torch.tensor(0.3)), normal.log_prob(torch.tensor(0.3)))
    assert math.isclose(
        Ensemble([normal, normal]).log_prob(torch.tensor(0.3))[0], normal.log_prob(torch.tensor(0.3))[0], rel_tol=1e-6
    )


@pytest.mark.parametrize(
    "members",
    [
        [],
        [dist.Normal(0.0, 1.0), dist.Normal(torch.zeros(2), 1.0)],
        [dist.Normal(0.0, 1.0).expand([2]).to_event(1), dist.Normal(0.0, 1.0).expand([2])],
    ],
    ids=["none", "batch", "event"],
)
def test_members_that_do_not_fit_are_refused(members):
    with pytest.raises(ConfigurationError, match="same batch and event shapes"):
        Ensemble(members)
