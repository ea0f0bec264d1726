"""What every estimator must hold, on models whose evidence is known."""

from __future__ import annotations

import math
import warnings
from types import SimpleNamespace

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from oracles import beta, discrete, linear

from pyrogen import Pair
from pyrogen.errors import ConfigurationError, PairError
from pyrogen.inference import ELBO, IWAE, Estimate, Exact, ImportanceSampling, Renyi
from pyrogen.inference.estimators.importance import _Reservoir
from pyrogen.inference.estimators.result_files import load_arviz
from pyrogen.inference.weights.chunks import chunks
from pyrogen.models import VAE, DiscreteVAE, LinearGaussianVAE
from pyrogen.pareto import fit_generalized_pareto, smooth

arviz = load_arviz()  # which announces its next version once a day, by a warning

DATA = 40


ORACLES = [linear, beta, discrete]


@pytest.fixture(params=ORACLES, ids=lambda make: make.__name__)
def oracle(request):
    return request.param()


def test_elbo_is_exact_on_average(oracle):
    pair, x = oracle
    for estimator in (ELBO(draws=400), ELBO(kl="sampled", draws=400)):
        torch.manual_seed(0)
        found = estimator.estimate(pair, x)
        assert ((found.log_prob - pair.elbo(x)).abs() < 5 * found.standard_error + 1e-9).all()
    assert ELBO().name == "ELBO"


def test_analytic_and_sampled_kl_estimate_the_same():
    torch.manual_seed(1)
    pair, (_, x) = LinearGaussianVAE((6,), latent=3).double(), linear()
    analytic, sampled = ELBO().estimate(pair, x), ELBO(kl="sampled").estimate(pair, x)
    assert (analytic.standard_error != sampled.standard_error).all()
    error = (analytic.standard_error**2 + sampled.standard_error**2).sqrt()
    assert ((analytic.log_prob - sampled.log_prob).abs() < 5 * error).all()


def test_iwae_of_a_discrete_pair_is_the_enumerated_one():
    pair, x = discrete()
    log_guide = dist.Bernoulli(logits=pair.encoder(x)[:, None]).log_prob(pair.states).sum(-1)  # (data, states)
    weight = pair._log_joint(x) - log_guide
    pairs = torch.cartesian_prod(*[torch.arange(len(pair.states))] * 2)
    bound = weight[:, pairs].logsumexp(-1) - math.log(2)  # (data, tuples)
    exact = (log_guide[:, pairs].sum(-1).exp() * bound).sum(-1)
    torch.manual_seed(0)
    found = IWAE(2, draws=2000).estimate(pair, x)
    assert ((found.log_prob - exact).abs() < 5 * found.standard_error).all()
    torch.manual_seed(0)
    found = Renyi(3.0, 2, draws=2000).estimate(pair, x)
    bound = ((-2 * weight[:, pairs]).logsumexp(-1) - math.log(2)) / -2
    exact = (log_guide[:, pairs].sum(-1).exp() * bound).sum(-1)
    assert ((found.log_prob - exact).abs() < 5 * found.standard_error).all()


@pytest.mark.parametrize(
    "estimator",
    [ImportanceSampling(500, draws=0), ELBO(kl="sampled", draws=50), IWAE(5, draws=20), Renyi(0.5, 5, draws=20)],
    ids=str,
)
def test_standard_error_is_the_spread_of_independent_estimates(estimator):
    pair, x = linear(offset=0.5, scale=0.9)
    torch.manual_seed(0)
    found = estimator.estimate(pair, x[:1].expand(1000, 6))
    # The standard error of a standard deviation of 1,000 normals is its 1/45th part.
    assert abs(found.standard_error.square().mean().sqrt() / found.log_prob.std() - 1) < 5 / 45


def test_interval_rejects_levels_outside_0_and_1():
    pair, x = linear()
    found = Exact().estimate(pair, x)
    for level in (0.0, 1.0, -1.0, 95.0):
        with pytest.raises(ConfigurationError, match="between 0 and 1"):
            found.interval(level)


def test_a_poor_guide_is_found_out():
    """A guide much too narrow has weights without variance: k-hat says so, and so does the estimate."""
    pair, x = linear(offset=0.0, scale=0.3)
    torch.manual_seed(0)
    found = ImportanceSampling(2000, defensive=0.0).estimate(pair, x)
    assert (found.khat > 0.7).double().mean() > 0.9
    assert "more than twice the guide's in some direction" in found.warnings()[0]
    assert "k-hat is above 0.7" in found.warnings()[1]


def test_what_cannot_be_trusted_is_told_by_datum():
    estimate = Estimate(
        "a",
        "consistent",
        torch.tensor([-1.0, math.nan, -1.0, -1.0, -1.0]),
        torch.tensor([0.1, 0.1, math.inf, 0.1, 0.1]),
        1,
        1.0,
        khat=torch.tensor([0.5, 0.5, 0.5, 0.8, 0.5]),
        flagged=torch.tensor([False, False, False, False, True]),
    )
    assert estimate.untrusted().tolist() == [False, True, True, True, True]


def test_exact_guide_has_equal_weights_and_no_error():
    pair, x = linear(offset=0.0, scale=1.0)
    found = ImportanceSampling(200, defensive=0.0).estimate(pair, x)
    torch.testing.assert_close(found.log_prob, pair.log_evidence(x), atol=1e-9, rtol=0)
    assert (found.khat == -math.inf).all()
    torch.testing.assert_close(found.ess, torch.full((DATA,), 200.0, dtype=torch.float64))
    assert found.standard_error.max() < 1e-7
    assert not found.warnings()


def test_too_few_particles_for_khat_are_named():
    pair, x = linear()
    found = ImportanceSampling(10).estimate(pair, x)
    assert torch.isnan(found.khat).all()
    assert "needs 25 particles" in found.warnings()[-1]


@pytest.mark.skipif("psislw" not in vars(arviz), reason="from its version 1 on, ArviZ takes another tail")
@pytest.mark.parametrize("shape", [0.1, 0.5, 0.9, 1.5])
@pytest.mark.parametrize("count", [60, 1000, 5000])
def test_pareto_smoothing_is_that_of_arviz(shape, count):
    generator = torch.Generator().manual_seed(count)
    weight = shape * torch.empty(count, 7, dtype=torch.float64).exponential_(generator=generator)
    smoothed, khat = smooth(weight)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # arviz warns of the large k-hat that the case is about
        theirs, their_khat = arviz.psislw(weight.T.numpy())
    np.testing.assert_allclose(khat.numpy(), np.asarray(their_khat), atol=1e-8)
    np.testing.assert_allclose((smoothed - smoothed.logsumexp(0)).T.numpy(), np.asarray(theirs), atol=1e-8)


def test_pareto_smoothing_with_ties():
    """Discrete latents give few distinct weights: the tail shrinks, and nothing breaks."""
    generator = torch.Generator().manual_seed(0)
    values = torch.tensor([-3.0, -1.0, -0.5, 0.0], dtype=torch.float64)
    weight = values[torch.randint(0, 4, (500, 5), generator=generator)]
    smoothed, khat = smooth(weight)
    torch.testing.assert_close(smoothed, weight)
    assert (khat == -math.inf).all()  # the largest weight is met again and again: nothing larger hides
    rare = weight.clone()
    rare[:2] = 1.0
    assert torch.isnan(smooth(rare)[1]).all()  # two particles above the ties: too few to fit a tail


def test_generalized_pareto_fit_finds_its_parameters():
    generator = torch.Generator().manual_seed(0)
    uniform = torch.rand(20_000, 3, dtype=torch.float64, generator=generator)
    true = torch.tensor([0.2, 0.5, 0.8], dtype=torch.float64)
    samples = 2.0 * torch.expm1(-true * torch.log1p(-uniform)) / true
    shape, scale = fit_generalized_pareto(samples.sort(0).values)
    # Asymptotic standard errors: (1 + k) / sqrt(n) of k, sigma sqrt(2 (1 + k)) / sqrt(n) of sigma.
    assert ((shape - true).abs() < 5 * (1 + true) / 20_000**0.5).all()
    assert ((scale - 2).abs() < 5 * 2 * (2 * (1 + true)).sqrt() / 20_000**0.5).all()


def test_posterior_draws_have_the_posterior_s_moments():
    pair, x = linear(offset=0.5, scale=1.2)
    torch.manual_seed(0)
    draws = ImportanceSampling(20_000, draws=2000).estimate(pair, x[:5]).draws
    z = draws.latents["z"]  # (draws, data, latent)
    assert z.shape == (2000, 5, 3)
    posterior = pair.posterior(x[:5])
    deviation = (z.mean(0) - posterior.mean) / (posterior.variance / 2000).sqrt()
    assert deviation.abs().max() < 5
    assert ((z.var(0) / posterior.variance - 1).abs() < 5 * (2 / 2000) ** 0.5).all()
    expected = torch.distributions.Normal(z @ pair.weight.mT + pair.bias, pair.log_noise.exp()).log_prob(x[:5]).sum(-1)
    torch.testing.assert_close(draws.log_likelihood, expected, atol=1e-9, rtol=0)


def test_reservoir_draws_the_same_whether_it_folds_or_not():
    """Draws of a discrete latent follow the exact posterior, folded after every chunk or once at the end."""
    torch.manual_seed(0)
    pair = DiscreteVAE((4,), latent=2).double()
    x = torch.tensor([[1.0, 0.0, 1.0, 1.0]], dtype=torch.float64)
    posterior = (pair._log_joint(x) - pair.log_evidence(x)).exp()[0]
    for budget in (1, 2**30):
        counts = torch.zeros(4, dtype=torch.float64)
        for _ in range(40):
            reservoir = _Reservoir(100, budget)
            for chunk in chunks(pair, x, 2000):
                reservoir.add(chunk)
            reservoir.fold()
            code = (reservoir.values["z"][:, 0] @ torch.tensor([2.0, 1.0], dtype=torch.float64)).long()
            order = (pair.states @ torch.tensor([2.0, 1.0], dtype=torch.float64)).long()
            counts += torch.bincount(code, minlength=4)[order].double()
        expected = 4000 * posterior
        # Resampling adds the particles' own noise: 100 draws out of 2,000 particles, 5% more variance.
        chi2 = ((counts - expected) ** 2 / expected).sum() / 1.2
        assert chi2 < 30.7  # the 1 - 1e-6 quantile of chi-squared with 3 degrees of freedom


@pytest.mark.parametrize("order", [(0.0, 1.0), (1.0, 0.0)])
def test_reservoir_draws_from_each_chunk_in_proportion_to_its_weight(order):
    """Two chunks of one value each, of total weight 1 : 3, in both orders."""
    torch.manual_seed(0)
    draws, weight = 4000, {0.0: 1.0, 1.0: 3.0}
    reservoir = _Reservoir(draws, max_bytes=1)  # folds at every chunk
    for value in order:
        z = torch.full((10, 2), value, dtype=torch.float64)
        log_weight = torch.full((10, 2), weight[value] / 10).log()
        reservoir.add(SimpleNamespace(log_weight=log_weight, log_likelihood=z, latents={"z": z}))
    share = reservoir.values["z"].mean(0)
    assert ((share - 0.75).abs() < 5 * (0.75 * 0.25 / draws) ** 0.5).all()


def test_curve_rises_with_particles_and_agrees_with_iwae():
    pair, x = linear(offset=1.0, scale=0.8)
    torch.manual_seed(0)
    curve = ImportanceSampling(5000).estimate(pair, x).curve
    assert curve.particles == [1, 2, 5, 10, 20, 50, 100, 200, 500, 4500]
    assert all(a < b for a, b in zip(curve.bound, curve.bound[1:], strict=False))
    found = IWAE(10, draws=500).estimate(pair, x)
    error = (found.standard_error.square().sum().sqrt() / DATA).item()
    assert abs(curve.bound[3] - found.log_prob.mean().item()) < 5 * math.hypot(error, curve.error[3])
    elbo = pair.elbo(x).mean().item()
    assert abs(curve.bound[0] - elbo) < 5 * curve.error[0]


def test_estimates_of_a_part_are_estimates_of_the_whole():
    """Chunks must not mix data up: each datum's estimate is near its own evidence, far from its neighbour's."""
    pair, x = linear(offset=0.2, scale=1.0)
    x = x * torch.linspace(0.1, 5, DATA, dtype=torch.float64).unsqueeze(-1)
    found = ImportanceSampling(4000, max_bytes=10**6).estimate(pair, x)
    assert ((found.log_prob - pair.log_evidence(x)).abs() < 5 * found.standard_error + 1e-6).all()


def test_dropout_is_off_in_an_estimate():
    pair = VAE((6,), latent=2, hidden=(16,))
    pair.encoder.net.append(torch.nn.Dropout(0.9))
    pair.train()
    x = torch.ones(4, 6)
    torch.manual_seed(0)
    first = ELBO().estimate(pair, x).log_prob
    pair.eval()
    torch.manual_seed(0)
    torch.testing.assert_close(ELBO().estimate(pair, x).log_prob, first)


def test_a_pair_without_latents_is_estimated_exactly():
    class Independent(Pair):
        def model(self, x):
            with pyro.plate("data", len(x)):
                pyro.sample("x", dist.Bernoulli(x.new_full((3,), 0.25)).to_event(1), obs=x)

    x = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    expected = torch.tensor([3 * math.log(0.25), 3 * math.log(0.75)], dtype=torch.float64)
    for estimator in (ELBO(), IWAE(3), ImportanceSampling(30)):
        torch.testing.assert_close(estimator.estimate(Independent(), x).log_prob, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("call", "error", "fragment"),
    [
        (lambda: ImportanceSampling(1), ConfigurationError, "at least 2"),
        (lambda: ImportanceSampling(100, draws=-1), ConfigurationError, "draws must be at least 0"),
        (lambda: Exact().estimate(VAE((4,)), torch.ones(2, 4)), PairError, "VAE offers no exact evidence"),
    ],
)
def test_impossible_requests_are_refused(call, error, fragment):
    with pytest.raises(error, match=fragment):
        call()
