"""A user's objective reads the weighed run: DIP-VAE and beta-TC, against values by hand, and trained by graphs."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm
from torch import nn

from pyrogen.inference import ELBO, fit
from pyrogen.models import VAE
from pyrogen.pair import Pair

sys.path.insert(0, str(Path(__file__).parent))

from regularized import DIPVAE, BetaTC

ROWS, LATENT, WIDTH = 5, 3, 4


class Tiny(Pair):
    """Linear maps either way, whose densities can be written down."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.encode = nn.Parameter(torch.randn(WIDTH, LATENT, generator=generator, dtype=torch.float64))
        self.log_scale = nn.Parameter(torch.randn(WIDTH, LATENT, generator=generator, dtype=torch.float64) / 4)
        self.decode = nn.Parameter(torch.randn(LATENT, WIDTH, generator=generator, dtype=torch.float64))

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), LATENT), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z @ self.decode, 0.7).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x @ self.encode, (x @ self.log_scale).exp()).to_event(1))


@pytest.fixture
def by_hand():
    """A pair, data, and in numpy the guide's means and scales, the draws of seed 3, and log p(x | z) of each datum."""
    pair, x = Tiny(), torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        means, scales = x @ pair.encode, (x @ pair.log_scale).exp()
        torch.manual_seed(3)
        z = dist.Normal(means, scales).sample()
        likelihood = norm.logpdf(x.numpy(), (z @ pair.decode).numpy(), 0.7).sum(1)  # (data,)
    return pair, x, means.numpy(), scales.numpy(), z.numpy(), likelihood


def value(objective, pair, x):
    torch.manual_seed(3)
    return float(objective.loss(pair, x).detach())


def test_dip_vae_is_as_by_hand(by_hand):
    pair, x, means, scales, _, likelihood = by_hand
    divergence = (0.5 * (means**2 + scales**2 - 1) - np.log(scales)).sum(1)  # (data,)
    penalty = 0.0
    for i in range(LATENT):
        for j in range(LATENT):
            covariance = np.mean((means[:, i] - means[:, i].mean()) * (means[:, j] - means[:, j].mean()))
            penalty += 5.0 * (covariance - 1) ** 2 if i == j else 10.0 * covariance**2
    assert penalty > 1
    assert value(DIPVAE(), pair, x) == pytest.approx(np.mean(divergence - likelihood) + penalty, rel=1e-12)


def test_beta_tc_is_as_by_hand(by_hand):
    """The loss as Chen et al. write it: mutual information, `factor` times the total correlation, dimension-wise KL."""
    pair, x, means, scales, z, likelihood = by_hand
    rows, factor, losses = 50, 6.0, []
    for i in range(ROWS):
        given = np.array([norm.logpdf(z[i], means[j], scales[j]) for j in range(ROWS)])  # (given data, latent)
        joint = logsumexp(given.sum(1)) - np.log(rows * ROWS)
        product = sum(logsumexp(given[:, d]) - np.log(rows * ROWS) for d in range(LATENT))
        information, correlation, each = given[i].sum() - joint, joint - product, product - norm.logpdf(z[i]).sum()
        losses.append(information + factor * correlation + each - likelihood[i])
    assert value(BetaTC(rows, factor), pair, x) == pytest.approx(np.mean(losses), rel=1e-12)
    assert value(BetaTC(rows, 1.0), pair, x) == pytest.approx(value(ELBO(kl="sampled"), pair, x), rel=1e-12)


@pytest.mark.parametrize("make", [DIPVAE, lambda: BetaTC(40)], ids=["DIP-VAE", "beta-TC"])
def test_graphs_give_the_losses_of_the_pair(make):
    x = torch.bernoulli(torch.rand(40, 6, generator=torch.Generator().manual_seed(0)))

    def losses(objective, compile):
        torch.manual_seed(1)
        pair = VAE((6,), latent=2, hidden=(8,))
        how = {"steps": 8, "batch_size": 10, "lr": 0.01, "log_every": 1, "device": "cpu", "progress": False}
        found = fit(pair, x, objective=objective, compile=compile, **how)
        assert not compile or found.compiled.graphs == 1
        return [row["loss"] for row in found.history]

    eager = losses(make(), False)
    assert losses(make(), "graph") == pytest.approx(eager, rel=1e-6)
    assert losses(ELBO(), False) != pytest.approx(eager, rel=1e-3)
