"""The linear Gaussian's closed forms against SciPy, quadrature, identities and known divergences."""

from __future__ import annotations

import math

import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from scipy import integrate, stats

from pyrogen.errors import ConfigurationError
from pyrogen.models import LinearGaussianVAE

DATA, EVENT = 3, 4


def make(latent=2, guide="diagonal", seed=1):
    torch.manual_seed(seed)
    pair = LinearGaussianVAE((2, 2), latent=latent, noise=0.6, guide=guide).double()
    with torch.no_grad():
        for parameter in pair.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return pair, torch.randn(DATA, EVENT, dtype=torch.float64)


def log_density(program, x, z):
    """Sum over sites of a program's log densities per datum, at given latents."""
    trace = poutine.trace(poutine.condition(program, data={"z": z})).get_trace(x)
    trace.compute_log_prob()
    return sum(node["log_prob"] for name, node in trace.nodes.items() if name in ("z", "x"))


@pytest.mark.parametrize("latent", [1, 2, 6])
def test_the_evidence_is_that_of_scipys_normal(latent):
    pair, x = make(latent)
    weight, noise = pair.weight.detach(), pair.log_noise.detach().exp()
    covariance = weight @ weight.mT + noise.square().diag()
    expected = stats.multivariate_normal(pair.bias.detach().numpy(), covariance.numpy()).logpdf(x.numpy())
    assert torch.allclose(pair.log_evidence(x), torch.from_numpy(expected), rtol=0, atol=1e-10)


@torch.no_grad()
def test_the_evidence_is_the_integral_of_the_model():
    pair, x = make(latent=1)

    def joint(z, row):
        values = torch.full((1, 1), z, dtype=torch.float64)
        return log_density(pair.model, x[row : row + 1], values).exp().item()

    for row in range(DATA):
        total, _ = integrate.quad(joint, -10, 10, args=(row,), epsabs=1e-14, epsrel=1e-12, points=[-1, 0, 1])
        assert math.isclose(math.log(total), pair.log_evidence(x)[row].item(), rel_tol=1e-10)


@pytest.mark.parametrize("latent", [1, 2, 6])
def test_joint_over_posterior_is_the_evidence_wherever_the_latent_is(latent):
    pair, x = make(latent)
    z = 3 * torch.randn(DATA, latent, dtype=torch.float64)
    evidence = log_density(pair.model, x, z) - pair.posterior(x).log_prob(z)
    assert torch.allclose(evidence, pair.log_evidence(x), rtol=0, atol=1e-10)


@pytest.mark.parametrize("guide", ["diagonal", "full"])
@pytest.mark.parametrize("latent", [1, 3])
def test_the_elbo_is_the_evidence_less_the_divergence(latent, guide):
    pair, x = make(latent, guide)
    trace = poutine.trace(pair.guide).get_trace(x)
    q = trace.nodes["z"]["fn"]
    if guide == "diagonal":
        q = dist.MultivariateNormal(q.mean, scale_tril=q.variance.sqrt().diag_embed())
    divergence = torch.distributions.kl_divergence(q, pair.posterior(x))
    assert (divergence > 0.01).all()
    assert torch.allclose(pair.elbo(x), pair.log_evidence(x) - divergence, rtol=0, atol=1e-10)


@pytest.mark.parametrize("latent", [1, 2, 5])
def test_a_full_guide_set_exact_has_constant_weights(latent):
    pair, x = make(latent, "full")
    pair.set_exact_guide()
    z = torch.randn(DATA, latent, dtype=torch.float64)
    weight = log_density(pair.model, x, z) - log_density(pair.guide, x, z)
    assert torch.allclose(weight, pair.log_evidence(x), rtol=0, atol=1e-10)
    assert torch.allclose(pair.elbo(x), pair.log_evidence(x), rtol=0, atol=1e-10)


def test_a_diagonal_guide_set_exact_is_the_best_of_its_kind():
    pair, x = make(3)
    pair.set_exact_guide()
    assert (pair.log_evidence(x) - pair.elbo(x) > 0.01).all()
    own = [pair.encoder.weight, pair.encoder.bias, pair.log_scale]
    for gradient in torch.autograd.grad(pair.elbo(x).sum(), own):
        assert gradient.abs().max() < 1e-10


def test_a_diagonal_guide_is_exact_where_the_posterior_is_diagonal():
    pair, x = make(2)
    with torch.no_grad():
        pair.weight.copy_(torch.linalg.qr(pair.weight).Q * torch.tensor([2.0, 0.3]))
        pair.log_noise.fill_(-0.5)
    pair.set_exact_guide()
    assert torch.allclose(pair.elbo(x), pair.log_evidence(x), rtol=0, atol=1e-10)


@pytest.mark.parametrize("guide", ["diagonal", "full"])
@pytest.mark.parametrize(("offset", "scale"), [(0.0, 1.0), (1.5, 1.0), (0.0, 0.5), (-0.7, 2.0)])
def test_a_guide_set_off_is_off_by_the_known_divergence(guide, offset, scale):
    pair, x = make(1, guide)
    pair.set_exact_guide(offset=offset, scale=scale)
    divergence = (scale**2 + offset**2 - 1) / 2 - math.log(scale)
    assert torch.allclose(pair.log_evidence(x) - pair.elbo(x), torch.full((DATA,), divergence).double(), atol=1e-10)


def test_a_wide_full_guide_is_off_in_every_direction():
    pair, x = make(3, "full")
    pair.set_exact_guide(scale=2.0)
    divergence = 3 * ((4 - 1) / 2 - math.log(2))
    assert torch.allclose(pair.log_evidence(x) - pair.elbo(x), torch.full((DATA,), divergence).double(), atol=1e-10)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"shape": (0,)}, "shape"),
        ({"latent": 0}, "latent"),
        ({"noise": 0.0}, "noise"),
        ({"noise": math.inf}, "noise"),
        ({"guide": "triangular"}, "triangular"),
    ],
)
def test_bad_arguments_are_refused(arguments, said):
    with pytest.raises(ConfigurationError, match=said):
        LinearGaussianVAE(**{"shape": (4,), **arguments})
