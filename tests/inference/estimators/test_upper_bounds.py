"""CUBO and EUBO against divergences between Gaussians in closed form, and against sums over all states."""

from __future__ import annotations

import math

import oracles
import pyro
import pyro.distributions as dist
import pytest
import torch
from oracles import beta, discrete, linear

from pyrogen import Pair
from pyrogen.errors import ConfigurationError, PairError
from pyrogen.inference import ELBO, ImportanceSampling
from pyrogen.inference.estimators.cubo import CUBO
from pyrogen.inference.estimators.eubo import EUBO
from pyrogen.inference.estimators.mcmc.nuts import NUTS
from pyrogen.models import VAE, LinearGaussianVAE

DATA = 30


@pytest.mark.parametrize("order", [1.5, 2.0, 3.0])
def test_cubo_is_the_renyi_divergence_above_the_evidence(order):
    pair, x = linear(DATA, scale=1.25)
    torch.manual_seed(0)
    found = CUBO(order, 20_000).estimate(pair, x)
    expected = oracles.cubo(pair, x, order)
    # The log of a mean lies below its limit by about this much.
    bias = order * found.standard_error.square() / 2
    assert ((found.log_prob - expected).abs() < 5 * found.standard_error + 2 * bias).all()
    assert found.kind == "upper"
    assert (found.log_prob > pair.log_evidence(x)).all()
    assert found.evaluations == 20_000 * DATA
    assert "only as particles grow" in found.warnings()[0]


def test_cubo_s_power_is_unbiased_and_its_log_biased_as_it_says():
    pair, x = linear(scale=1.25, rows=1)
    torch.manual_seed(0)
    found = CUBO(2.0, 50).estimate(pair, x.expand(6000, 6))
    excess = found.log_prob - oracles.cubo(pair, x, 2.0)
    ratio = (2 * excess).exp()
    assert abs(ratio.mean() - 1) < 5 * ratio.std() / 6000**0.5
    assert (
        abs(found.standard_error.square().mean().sqrt() / excess.std() - 1) < 0.1
    )  # of few particles the error is only nearly right
    assert abs(excess.mean() + excess.var()) < 5 * excess.std() / 6000**0.5  # order 2: the bias is the variance
    assert excess.mean() < -excess.std() / 6000**0.5


def test_cubo_of_a_guide_too_narrow_is_found_out():
    pair, x = linear(DATA, scale=0.8)
    torch.manual_seed(0)
    found = CUBO(2.0, 2000).estimate(pair, x)
    assert (found.khat > 0.7).double().mean() > 0.5
    assert any("k-hat is above 0.7" in warning for warning in found.warnings())
    assert (ImportanceSampling(2000).estimate(pair, x).khat < found.khat).all()


@pytest.mark.parametrize("oracle", [linear, beta, discrete], ids=lambda make: make.__name__)
def test_eubo_from_exact_draws(oracle):
    pair, x = oracle(DATA)
    torch.manual_seed(0)
    found = EUBO(2000).estimate(pair, x)
    assert ((found.log_prob - oracles.eubo(pair, x)).abs() < 5 * found.standard_error).all()
    assert (found.log_prob + 5 * found.standard_error > pair.log_evidence(x)).all()
    assert (found.kind, found.particles, found.evaluations) == ("upper", 2000, 2000 * DATA)
    assert not found.warnings()
    assert not found.log_prob.requires_grad


@pytest.mark.parametrize("by", [None, ImportanceSampling(400, draws=200)], ids=str)
def test_eubo_s_standard_error_is_the_spread_of_independent_estimates(by):
    pair, x = linear(scale=1.25, rows=1)
    torch.manual_seed(0)
    found = EUBO(200, by=by).estimate(pair, x.expand(1000, 6))
    spread = (found.standard_error.square().mean().sqrt() / found.log_prob.std()).item()
    # Of resampled draws it is on the safe side: it takes the error of the weights for that of any quantity.
    assert 1 - 5 / 45 < spread < (1 + 5 / 45 if by is None else 1.5)


def test_eubo_by_other_draws_says_whose_they_are():
    pair, x = linear(scale=1.25, rows=5)
    torch.manual_seed(0)
    found = EUBO(by=ImportanceSampling(20_000, draws=4000)).estimate(pair, x)
    assert found.name == "EUBO(by IS(20000))"
    assert ((found.log_prob - oracles.eubo(pair, x)).abs() < 5 * found.standard_error).all()
    assert found.evaluations == 24_000 * 5
    assert "as far as the draws of IS(20000) are the posterior's" in found.notes[0]
    assert "find no fault" in found.notes[0]
    pair.set_exact_guide(scale=0.3)
    found = EUBO(by=ImportanceSampling(500, draws=100, defensive=0.0)).estimate(pair, x)
    assert "find fault" in found.notes[0]
    assert "k-hat is above 0.7" in found.notes[2]
    assert EUBO(by=ImportanceSampling(500)).record()["by"]["particles"] == 500


def test_eubo_by_chains():
    pair, x = linear(scale=1.25, rows=1)
    torch.manual_seed(0)
    by = NUTS(80, warmup=40, chains=2)
    found = EUBO(by=by).estimate(pair, x)
    assert ((found.log_prob - oracles.eubo(pair, x)).abs() < 5 * found.standard_error).all()
    assert found.name == "EUBO(by NUTS(80))"
    assert found.particles == 160
    assert found.gradients > 0
    assert found.evaluations > found.gradients
    assert set(found.diagnostics) == {"rhat", "ess_bulk", "ess_tail", "divergences", "acceptance", "lost"}


class Parts(Pair):
    """Two latents, one in a plate of its own right of the data's; the guide takes the first for its prior."""

    def model(self, x):
        with pyro.plate("data", len(x), dim=-2):
            a = pyro.sample("a", dist.Normal(x.new_zeros(()), 1.0).expand([2]).to_event(1))  # (data, 1, event)
            with pyro.plate("parts", 3, dim=-1):
                b = pyro.sample("b", dist.Normal(a.sum(-1), 1.0))
                pyro.sample("x", dist.Normal(b, 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x), dim=-2):
            a = pyro.sample("a", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            with pyro.plate("parts", 3, dim=-1):
                pyro.sample("b", dist.Normal((x + a.sum(-1)) / 2, 0.5**0.5))


def test_eubo_takes_draws_of_several_latents_and_plates():
    """Given a, the guide of b is exact; so the bound is that of a alone, whose posterior is Gaussian."""
    x = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    found = EUBO(by=ImportanceSampling(20_000, draws=4000)).estimate(Parts(), x)
    ones = torch.ones(3, 2, dtype=torch.float64)
    precision = torch.eye(2, dtype=torch.float64) + ones.mT @ ones / 2
    mean = torch.linalg.solve(precision, (x @ ones / 2).mT).mT  # (data, 2)
    posterior = torch.distributions.MultivariateNormal(mean, precision_matrix=precision)
    prior = torch.distributions.MultivariateNormal(torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64))
    evidence = torch.distributions.MultivariateNormal(
        torch.zeros(3, dtype=torch.float64), 2 * torch.eye(3, dtype=torch.float64) + ones @ ones.mT
    )
    expected = evidence.log_prob(x) + torch.distributions.kl_divergence(posterior, prior)
    assert ((found.log_prob - expected).abs() < 5 * found.standard_error).all()


class Auxiliary(LinearGaussianVAE):
    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("extra", dist.Normal(x.new_zeros(()), 1.0), infer={"is_auxiliary": True})
            pyro.sample("z", dist.Normal(self.encoder(x), 1.0).to_event(1))


class Wrong(LinearGaussianVAE):
    def posterior(self, x):
        return dist.Normal(x.new_zeros(2, 2), 1.0).to_event(1)


@pytest.mark.parametrize(
    ("call", "error", "fragment"),
    [
        (lambda x: CUBO(1.0), ConfigurationError, "order must be a number above 1"),
        (lambda x: CUBO(math.nan), ConfigurationError, "order must be a number above 1"),
        (lambda x: CUBO(particles=1), ConfigurationError, "at least 2"),
        (lambda x: EUBO(1), ConfigurationError, "at least 2"),
        (lambda x: EUBO().estimate(VAE((6,)), x), PairError, "VAE offers no exact posterior: give EUBO an estimator"),
        (lambda x: EUBO().estimate(Wrong((6,)), x), PairError, r"of shape \(2, 2\) for 4 data"),
        (lambda x: EUBO(by=ELBO()).estimate(VAE((6,)), x), ConfigurationError, "ELBO leaves no posterior draws"),
        (lambda x: EUBO().estimate(Auxiliary((6,)), x), PairError, "site 'extra' of the guide is no latent"),
    ],
)
def test_impossible_requests_are_refused(call, error, fragment):
    with pytest.raises(error, match=fragment):
        call(torch.ones(4, 6))
