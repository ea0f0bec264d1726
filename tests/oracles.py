"""Pairs with data whose evidence, posterior and bounds are known in closed form: what estimators are held against.

Each constructor gives a pair in double precision, whose guide is the exact posterior put wrong on purpose, and its data.
"""

from __future__ import annotations

import pyro.distributions as dist
import torch

from pyrogen.models import BetaBernoulli, DiscreteVAE, LinearGaussianSSM, LinearGaussianVAE

F64 = torch.float64


def linear(rows=40, *, offset=0.3, scale=1.1):
    torch.manual_seed(1)
    pair = LinearGaussianVAE((6,), latent=3, guide="full").double()
    pair.set_exact_guide(offset=offset, scale=scale)
    return pair, torch.randn(rows, 6, dtype=F64)


def beta(rows=40, *, offset=0.2, scale=0.9):
    torch.manual_seed(2)
    pair = BetaBernoulli((8,), 2.0, 3.0).double()
    pair.set_exact_guide(offset=offset, scale=scale)
    return pair, torch.randint(0, 2, (rows, 8)).double()


def discrete(rows=40):
    torch.manual_seed(3)
    pair = DiscreteVAE((6,), latent=3).double()
    return pair, torch.randint(0, 2, (rows, 6)).double()


def sequences(rows=6, *, steps=8):
    """A linear Gaussian state space model."""
    torch.manual_seed(1)
    pair = LinearGaussianSSM((steps, 2), latent=2, noise=0.7).double()
    return pair, torch.randn(rows, 2 * steps, dtype=F64)


@torch.no_grad()
def evidence(pair, x):
    """``log p(x)``, (data,)."""
    return pair.log_evidence(x)


@torch.no_grad()
def elbo(pair, x):
    """``log p(x) - KL(q || p)``, (data,)."""
    return pair.elbo(x)


@torch.no_grad()
def eubo(pair, x):
    """``log p(x) + KL(p || q)``, (data,), with the divergence from the posterior to the guide."""
    posterior = pair.posterior(x)
    if isinstance(pair, LinearGaussianVAE):
        divergence = torch.distributions.kl_divergence(posterior, gaussian_guide(pair, x))
    elif isinstance(pair, BetaBernoulli):
        divergence = torch.distributions.kl_divergence(posterior, torch.distributions.Beta(*pair._concentrations(x).T))
    else:
        log_guide = pair._latents(pair.encoder(x).unsqueeze(-2)).log_prob(pair.states)  # (data, states)
        divergence = (posterior.probs * (posterior.logits - log_guide)).sum(-1)
    return pair.log_evidence(x) + divergence


@torch.no_grad()
def cubo(pair, x, order=2.0):
    """``log p(x) + (n - 1) / n D_n(p || q)``, (data,), with Renyi's divergence of Gaussians, of an order n above 1."""
    p, q = pair.posterior(x), gaussian_guide(pair, x)
    mixed = order * q.covariance_matrix + (1 - order) * p.covariance_matrix
    assert (torch.linalg.eigvalsh(mixed) > 0).all()  # else the divergence is infinite
    delta = p.mean - q.mean
    square = (delta * torch.linalg.solve(mixed, delta)).sum(-1)
    volumes = (1 - order) * p.covariance_matrix.logdet() + order * q.covariance_matrix.logdet()
    divergence = order / 2 * square - (mixed.logdet() - volumes) / (2 * (order - 1))
    return pair.log_evidence(x) + (order - 1) / order * divergence


def gaussian_guide(pair, x):
    return dist.MultivariateNormal(pair.encoder(x), scale_tril=pair._scale_tril())
