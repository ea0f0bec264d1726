"""Chains, the bridge and the joint evidence, on posteriors and evidences in closed form."""

from __future__ import annotations

import logging
import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrogen import Pair
from pyrogen.errors import ConfigurationError, DataError, NotPerDatum, PairError
from pyrogen.inference.estimators.mcmc.bridge_sampling import _fixed_point, bridge
from pyrogen.inference.estimators.mcmc.chains import ChainSettings, effective_draws, health, run_chains
from pyrogen.inference.estimators.mcmc.nuts import NUTS
from pyrogen.inference.studies.joint import JointEvidence, joint_evidence
from pyrogen.models import VAE, BetaBernoulli, DiscreteVAE, GlobalGaussian, LinearGaussianVAE

REPEATS = 120


def autoregression(chains, draws, dims, correlation):
    """Chains that are stationary from the start, of standard normal margins."""
    noise = torch.randn(chains, draws, dims, dtype=torch.float64)
    values = [noise[:, 0]]
    for t in range(1, draws):
        values.append(correlation * values[-1] + (1 - correlation**2) ** 0.5 * noise[:, t])
    return torch.stack(values, 1)


def log_normal(u):
    """Not normalised: the log of its integral is half the dimensions times log 2 pi."""
    return -u.square().sum(-1) / 2


def log_logistic(u):
    return (torch.nn.functional.logsigmoid(u) + torch.nn.functional.logsigmoid(-u)).sum(-1)


@pytest.mark.parametrize(
    ("dims", "correlation", "logistic"), [(3, 0.0, False), (4, 0.6, False), (2, 0.5, True)], ids=["iid", "chain", "logistic"]
)
def test_bridge_is_right_and_knows_its_error(dims, correlation, logistic):
    torch.manual_seed(0)
    errors, claimed = [], []
    for _ in range(REPEATS):
        values = autoregression(4, 150, dims, correlation)
        if logistic:
            found, exact = bridge(torch.special.ndtr(values).logit(), log_logistic), 0.0
        else:
            found, exact = bridge(values, log_normal), dims / 2 * math.log(2 * math.pi)
        errors.append(found.log_evidence - exact)
        claimed.append(found.standard_error)
    assert found.evaluations == 300 + 600
    errors, claimed = torch.tensor(errors, dtype=torch.float64), torch.tensor(claimed, dtype=torch.float64)
    assert abs(errors.mean()) < 5 * errors.std() / REPEATS**0.5
    assert abs(claimed.square().mean().sqrt() / errors.std() - 1) < 5 / (2 * REPEATS) ** 0.5
    covered = ((errors / claimed).abs() < 1.96).double().mean()
    assert abs(covered - 0.95) < 5 * (0.95 * 0.05 / REPEATS) ** 0.5


def test_the_bridge_s_error_knows_autocorrelation():
    """Few points of a given proposal: the error is then mostly that of the chains."""
    torch.manual_seed(0)
    proposal = torch.distributions.Normal(torch.tensor(0.5, dtype=torch.float64), 1.0)
    errors, claimed = [], []
    for _ in range(REPEATS):
        values, points = autoregression(4, 500, 1, 0.9)[..., 0], proposal.sample((100,))
        of_draws, of_points = (log_normal(u.unsqueeze(-1)) - proposal.log_prob(u) for u in (values, points))
        log_evidence, variance = _fixed_point(of_draws, of_points)
        errors.append(log_evidence - math.log(2 * math.pi) / 2)
        claimed.append(variance)
    errors, claimed = torch.tensor(errors, dtype=torch.float64), torch.tensor(claimed, dtype=torch.float64)
    assert abs(errors.mean()) < 5 * errors.std() / REPEATS**0.5
    assert abs(claimed.mean().sqrt() / errors.std() - 1) < 5 / (2 * REPEATS) ** 0.5


def test_bridge_contains_points_without_a_density():
    """Half of the space has none: where the log density is not a number, it counts as zero."""
    torch.manual_seed(0)
    values = autoregression(4, 400, 2, 0.0)
    values[..., 0].abs_()

    def half(u):
        return torch.where(u[:, 0] > 0, log_normal(u), torch.nan)

    found = bridge(values, half)
    assert found.lost > 0
    assert abs(found.log_evidence - math.log(math.pi)) < 5 * found.standard_error
    nowhere = bridge(values, lambda u: torch.full_like(u[:, 0], torch.nan))
    assert math.isnan(nowhere.log_evidence)


def test_health_finds_chains_apart_and_counts_effective_draws():
    torch.manual_seed(0)
    values = autoregression(4, 2000, 2, 0.5)
    well = health(values)
    assert well.rhat < 1.01
    assert not well.complaints()
    # An autoregression has (1 - r) / (1 + r) effective draws for each.
    assert abs(effective_draws(values[..., 0]) / (8000 / 3) - 1) < 0.2
    apart = values.clone()
    apart[0, :, 1] += 1.0  # one chain, one dimension
    assert health(apart).rhat > 1.05
    assert "R-hat" in health(apart).complaints()[0]
    assert "effective number" in health(values[:, :100]).complaints()[-1]
    drifting = values[:1] + torch.linspace(0, 3, 2000, dtype=torch.float64)[:, None]  # a single chain
    assert health(drifting).rhat > 1.05
    assert health(values[:1]).rhat < 1.02
    assert effective_draws(torch.ones(4, 50)) == 200


def test_chains_without_a_finite_start_are_lost_and_the_others_are_not():
    calls = []

    def starts(count):
        calls.append(count)
        if len(calls) == 1:
            return torch.tensor([[0.5], [-1.0], [0.7]], dtype=torch.float64)
        return torch.full((count, 1), -2.0, dtype=torch.float64)

    def right_half(u):
        return torch.where(u[:, 0] > 0, log_normal(u), torch.nan)

    torch.manual_seed(0)
    before = logging.getLogger("pyro.infer.mcmc").handlers[:]
    found = run_chains(right_half, starts, ChainSettings(draws=20, warmup=20, chains=3))
    assert logging.getLogger("pyro.infer.mcmc").handlers == before
    assert found.lost == 1
    assert found.values.shape == (2, 20, 1)
    assert (found.values > 0).all()
    assert found.gradients > 40
    lost = run_chains(lambda u: u[:, 0] * torch.nan, starts, ChainSettings(draws=20, warmup=20, chains=2))
    assert lost.lost == 2
    assert lost.values.shape == (0, 20, 1)
    assert math.isnan(lost.acceptance)


def within_five_errors(values, mean, variance):
    """Draws (chains, draws) against the moments of a posterior."""
    deviation = values - mean
    assert abs(deviation.mean()) < 5 * (variance / effective_draws(values)) ** 0.5
    squares = deviation.square()
    assert abs(squares.mean() - variance) < 5 * squares.std() / effective_draws(squares) ** 0.5


def test_a_gaussian_posterior():
    torch.manual_seed(1)
    pair = LinearGaussianVAE((5,), latent=2, guide="full").double()
    pair.set_exact_guide(offset=0.5, scale=1.5)
    x = torch.randn(1, 5, dtype=torch.float64)
    pair.train()
    torch.manual_seed(0)
    found = NUTS(150, warmup=100, chains=2).estimate(pair, x)
    assert pair.training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in pair.parameters())
    assert abs(found.log_prob - pair.log_evidence(x)) < 5 * found.standard_error
    assert 0 < found.standard_error < 0.2
    assert found.kind == "consistent"
    assert found.gradients > 500
    assert found.evaluations == found.gradients + 150 + 300  # and the bridge's
    z = found.draws.latents["z"]
    assert z.shape == (300, 1, 2)
    posterior = pair.posterior(x)
    for dim in range(2):
        chains = z[:, 0, dim].reshape(2, 150)
        within_five_errors(chains, posterior.mean[0, dim].item(), posterior.variance[0, dim].item())
    likelihood = torch.distributions.Normal(z @ pair.weight.mT + pair.bias, pair.log_noise.exp())
    torch.testing.assert_close(found.draws.log_likelihood, likelihood.log_prob(x).sum(-1).detach(), atol=1e-9, rtol=0)
    worst = health(z[:, 0].reshape(2, 150, 2))
    assert found.diagnostics["rhat"].item() == pytest.approx(worst.rhat)
    assert found.ess.item() == pytest.approx(worst.bulk)
    assert any("effective number of draws" in note for note in found.notes) == (min(worst[1:]) < 400)
    assert bool(found.flagged.any()) == bool(found.notes)


def test_a_posterior_on_an_interval():
    """The chains run on the logit; the draws come back between 0 and 1, each datum's from its own posterior."""
    pair = BetaBernoulli((4,), 2.0, 3.0).double()
    x = torch.tensor([[0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]], dtype=torch.float64)
    torch.manual_seed(0)
    found = NUTS(100, warmup=60, chains=2).estimate(pair, x)
    assert ((found.log_prob - pair.log_evidence(x)).abs() < 5 * found.standard_error).all()
    posterior = pair.posterior(x)
    for row in range(2):
        theta = found.draws.latents["theta"][:, row].reshape(2, 100)
        within_five_errors(theta, posterior.mean[row].item(), posterior.variance[row].item())
    torch.manual_seed(0)
    again = NUTS(100, warmup=60, chains=2).estimate(pair, x)
    assert torch.equal(found.log_prob, again.log_prob)
    assert NUTS(100).record()["warmup"] == 500


class Broken(Pair):
    """A standard normal latent and its datum; data above 100 have no density anywhere."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)
            pyro.factor("broken", torch.where(x > 100, torch.nan, 0.0) * z)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))


def test_a_datum_without_a_density_does_not_spoil_the_others():
    x = torch.tensor([1.0, 200.0], dtype=torch.float64)
    pair = Broken().initialise(x.clamp(max=2.0))  # on data that have one, or the pair would be refused
    torch.manual_seed(0)
    found = NUTS(60, warmup=40, chains=2).estimate(pair, x)
    exact = torch.distributions.Normal(0.0, 2**0.5).log_prob(x[0])
    assert abs(found.log_prob[0] - exact) < 5 * found.standard_error[0]
    assert torch.isnan(found.log_prob[1])
    assert torch.isnan(found.draws.latents["z"][:, 1]).all()
    assert found.diagnostics["lost"].tolist() == [0, 2]
    warnings = " ".join(found.warnings())
    assert "2 of 4 chains of NUTS(60) met values that are not finite" in warnings
    assert "log p(x) is not finite for 1 data, the first at index 1" in warnings


@pytest.mark.parametrize("local", [None, 0.7], ids=["shared", "shared and local"])
def test_the_joint_evidence(local, tmp_path):
    torch.manual_seed(0)
    pair = GlobalGaussian((1,), noise=0.8, local_scale=local).double()
    x = torch.randn(3, 1, dtype=torch.float64) + 0.5
    pair.set_exact_guide(x, offset=0.5, scale=1.5)
    found = joint_evidence(pair, x, draws=120, warmup=80, chains=2)
    assert abs(found.log_evidence - pair.joint_log_evidence(x).item()) < 5 * found.standard_error
    assert 0 < found.standard_error < 0.3
    posterior = pair.joint_posterior(x)
    within_five_errors(found.latents["mu"][..., 0], posterior.mean[0].item(), posterior.variance[0].item())
    assert found.latents["mu"].shape == (2, 120, 1)
    assert set(found.health) == set(found.latents) == ({"mu"} if local is None else {"mu", "z"})
    if local is not None:
        assert found.latents["z"].shape == (2, 120, 3, 1)
    assert found.notes  # so few draws are no reference
    assert f"{found.log_evidence:.3f} ±" in str(found)
    assert "effective number of draws" in str(found)
    back = JointEvidence.load(found.save(tmp_path))
    assert back.record() == found.record()
    assert back.notes == found.notes
    assert all(torch.equal(back.latents[name], value) for name, value in found.latents.items())
    (tmp_path / "joint_evidence.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        JointEvidence.load(tmp_path)


class Scaled(Pair):
    """Two positive latents shared by all data, one a vector."""

    def model(self, x):
        rate = pyro.sample("rate", dist.Gamma(x.new_tensor([2.0, 3.0]), 1.0).to_event(1))
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Exponential(rate).to_event(1), obs=x)

    def guide(self, x):
        pyro.sample("rate", dist.Gamma(x.new_tensor([2.0, 3.0]), 1.0).to_event(1))


@pytest.mark.parametrize("plates", [("data",), (), ("data", "coefficients")], ids=str)
def test_the_joint_evidence_of_a_textbook_regression(plates):
    """``X @ beta`` doesn't broadcast over points, and is right all the same, with plates or without."""
    torch.manual_seed(0)
    design = torch.randn(12, 3, dtype=torch.float64)
    y = design @ torch.tensor([1.0, -1.0, 0.5], dtype=torch.float64) + 0.5 * torch.randn(12, dtype=torch.float64)

    def coefficients(loc, scale):
        if "coefficients" in plates:
            with pyro.plate("coefficients", 3):
                return pyro.sample("beta", dist.Normal(loc, scale))
        return pyro.sample("beta", dist.Normal(loc, scale).to_event(1))

    def model(design, y):
        mean = design @ coefficients(design.new_zeros(3), 2.0)
        if "data" not in plates:
            pyro.sample("y", dist.Normal(mean, 0.5).to_event(1), obs=y)
            return
        with pyro.plate("data", len(y)):
            pyro.sample("y", dist.Normal(mean, 0.5), obs=y)

    pair = Pair.of(model, lambda design, y: coefficients(design.new_zeros(3), 1.0))
    found = joint_evidence(pair, (design, y), draws=120, warmup=80, chains=2)
    covariance = 4 * design @ design.T + 0.25 * torch.eye(12, dtype=torch.float64)
    exact = dist.MultivariateNormal(torch.zeros(12, dtype=torch.float64), covariance).log_prob(y)
    assert found.log_prob == found.log_evidence
    assert abs(found.log_evidence - float(exact)) < 5 * found.standard_error
    assert found.latents["beta"].shape == (2, 120, 3)


def test_the_joint_evidence_of_positive_latents():
    """Gamma and exponential: p(x) = b^a G(a + n) / (G(a) (b + sum x)^(a + n)) in each dimension."""
    torch.manual_seed(0)
    x = torch.empty(4, 2, dtype=torch.float64).exponential_()
    found = joint_evidence(Scaled(), x, draws=120, warmup=80, chains=2)
    prior = torch.tensor([2.0, 3.0], dtype=torch.float64)
    shape, rate = prior + len(x), 1 + x.sum(0)
    exact = (shape.lgamma() - prior.lgamma() - shape * rate.log()).sum().item()
    assert abs(found.log_evidence - exact) < 5 * found.standard_error
    assert (found.latents["rate"] > 0).all()
    for dim in range(2):
        mean, variance = (shape / rate)[dim].item(), (shape / rate**2)[dim].item()
        within_five_errors(found.latents["rate"][..., dim], mean, variance)


X = torch.ones(3, 2)


@pytest.mark.parametrize(
    ("call", "error", "fragment"),
    [
        (lambda: NUTS(chains=0), ConfigurationError, "chains must be at least 1"),
        (lambda: NUTS(4), ConfigurationError, "draws must be at least 8"),
        (lambda: NUTS(warmup=0), ConfigurationError, "warmup must be at least 1"),
        (lambda: NUTS(target_acceptance=1.0), ConfigurationError, "must lie between 0 and 1"),
        (lambda: NUTS(max_data=0), ConfigurationError, "max_data must be at least 1"),
        (
            lambda: NUTS(max_data=2).estimate(VAE((2,), latent=2), X),
            ConfigurationError,
            r"NUTS\(1000\) on 3 data would run 12 chains, 18,000 trajectories",
        ),
        (lambda: NUTS().estimate(DiscreteVAE((2,)), X), PairError, "latent 'z' is discrete"),
        (lambda: NUTS().estimate(GlobalGaussian((2,)), X), NotPerDatum, "site 'mu' lies outside plate"),
        (lambda: joint_evidence(DiscreteVAE((2,)), X), PairError, "latent 'z' is discrete"),
        (lambda: joint_evidence(GlobalGaussian((2,)), X, chains=0), ConfigurationError, "chains must be at least 1"),
        (lambda: bridge(torch.zeros(4, 5, 1), log_normal), ConfigurationError, "at least 8 draws"),
    ],
)
def test_impossible_requests_are_refused(call, error, fragment):
    with pytest.raises(error, match=fragment):
        call()
