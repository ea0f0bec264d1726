"""Latents and data drawn together: their distribution, their place in the batch, and what is refused."""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrogen import Pair
from pyrogen.errors import NotPerDatum, PairError
from pyrogen.inference.studies.simulation import simulate
from pyrogen.models import VAE, BetaBernoulli, DiscreteVAE, GlobalGaussian, LinearGaussianVAE

ROWS = 4000


def of(model, guide=None):
    def default(*args, **kwargs):
        with pyro.plate("data", len((args or tuple(kwargs.values()))[0])):
            pyro.sample("z", dist.Normal(0.0, 1.0))

    return Pair.of(model, guide or default)


def test_data_follow_the_evidence_and_latents_the_posterior():
    """Means and covariances of (z, x) of a linear Gaussian model, whose joint is one Gaussian."""
    torch.manual_seed(0)
    pair = LinearGaussianVAE((3,), latent=2).double()
    torch.manual_seed(1)
    x, latents = simulate(pair, torch.zeros(ROWS, 3, dtype=torch.float64))
    joint = torch.cat([latents["z"], x], 1)
    weight = torch.cat([torch.eye(2, dtype=torch.float64), pair.weight])
    expected = weight @ weight.mT + torch.cat([torch.zeros(2), (2 * pair.log_noise).exp()]).diag().double()
    mean = torch.cat([torch.zeros(2, dtype=torch.float64), pair.bias])
    error = (expected.diagonal() / ROWS).sqrt()
    assert bool(((joint.mean(0) - mean).abs() < 5 * error).all())
    variances = expected.diagonal()
    error = ((expected.square() + variances[:, None] * variances) / ROWS).sqrt()
    assert bool(((joint.T.cov() - expected).abs() < 5 * error).all())
    assert torch.equal(x.isfinite(), torch.ones_like(x, dtype=torch.bool))


def test_the_posterior_given_simulated_data_holds_its_latent():
    """A latent's squared distance from its datum's posterior mean is chi-square distributed."""
    torch.manual_seed(0)
    pair = LinearGaussianVAE((3,), latent=2).double()
    x, latents = simulate(pair, torch.zeros(ROWS, 3, dtype=torch.float64))
    posterior = pair.posterior(x)
    away = torch.linalg.solve_triangular(posterior.scale_tril, (latents["z"] - posterior.mean)[..., None], upper=False)
    square = away.square().sum((1, 2))
    assert abs(square.mean().item() - 2) < 5 * math.sqrt(4 / ROWS)


def test_discrete_data_and_latents():
    torch.manual_seed(0)
    pair = DiscreteVAE((4,), latent=2).double()
    x, latents = simulate(pair, torch.zeros(ROWS, 4, dtype=torch.float64))
    every = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 4)
    expected = pair.log_evidence(every).exp().detach()
    code = (x @ torch.tensor([8.0, 4.0, 2.0, 1.0], dtype=torch.float64)).long()
    seen = torch.bincount(code, minlength=16) / ROWS
    assert bool(((seen - expected).abs() < 5 * (expected * (1 - expected) / ROWS).sqrt()).all())
    assert latents["z"].shape[0] == ROWS


@pytest.mark.parametrize("name", ["beta", "vae"])
def test_the_batch_given_is_left_as_it_is(name):
    pair = BetaBernoulli((4,)) if name == "beta" else VAE((4,), latent=2, hidden=(8,))
    given = torch.zeros(50, 4)
    x, latents = simulate(pair, given)
    assert not bool(given.any())
    assert bool(x.any())
    assert x.dtype == given.dtype
    assert len(next(iter(latents.values()))) == 50


def test_inputs_stay_and_observed_tensors_are_replaced():
    """Labels are what the pair is conditioned on; a dict is a dict again."""

    def model(x, y):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(10.0 * y, 1.0))
            pyro.sample("x", dist.Normal(z, 0.1), obs=x)

    def guide(x, y):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x, 1.0))

    y = torch.tensor([0.0, 1.0]).repeat(100)
    batch, latents = simulate(Pair.of(model, guide), {"x": torch.zeros(200), "y": y})
    assert list(batch) == ["x", "y"]
    assert torch.equal(batch["y"], y)
    assert bool(((batch["x"] > 5) == (y > 0.5)).all())
    assert bool(((latents["z"] - batch["x"]).abs() < 1).all())


def test_a_series_is_drawn_in_the_models_order():
    """A random walk whose steps read the batch's earlier columns: variances grow from step to step."""

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            for t in range(x.shape[1]):
                before = x[:, t - 1] if t else z
                pyro.sample(f"x{t}", dist.Normal(before, 1.0), obs=x[:, t])

    x, latents = simulate(of(model), torch.full((ROWS, 3), 100.0))
    steps = torch.cat([latents["z"][:, None], x], 1).diff(dim=1)
    correlation = torch.cat([latents["z"][:, None], steps], 1).T.corrcoef() - torch.eye(4)
    assert bool((correlation.abs() < 5 / ROWS**0.5).all())
    assert bool(((steps.var(0) - 1).abs() < 5 * (2 / ROWS) ** 0.5).all())


def test_masked_values_stay():
    def model(x, seen):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.0, 1.0))
            with pyro.poutine.mask(mask=seen):
                pyro.sample("x", dist.Normal(x.new_zeros(2), 1.0).to_event(1), obs=x)

    seen = torch.tensor([True, False] * 10)
    (x, _), _ = simulate(of(model), (torch.full((20, 2), 7.0), seen))
    assert torch.equal((x == 7.0).all(1), ~seen)


def test_latents_of_other_plates_have_the_data_first():
    def model(x):
        with pyro.plate("data", len(x), dim=-1), pyro.plate("parts", 3, dim=-2):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z.sum(-1), 1.0), obs=x.mT)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1), pyro.plate("parts", 3, dim=-2):
            pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))

    x, latents = simulate(Pair.of(model, guide), torch.zeros(5, 3))
    assert latents["z"].shape == (5, 3, 2)
    assert x.shape == (5, 3)
    assert bool((x != 0).all())


def observed_elsewhere(x):
    return lambda x: pyro.sample("x", dist.Normal(0.0, 1.0), obs=x[:, 0] + x[:, 1])


def looks_ahead(x):
    mean = x.mean(1)
    return lambda x: [pyro.sample(f"x{t}", dist.Normal(mean, 1.0), obs=x[:, t]) for t in range(2)]


def twice(x):
    return lambda x: [pyro.sample(f"x{t}", dist.Normal(0.0, 1.0), obs=x[:, 0]) for t in range(2)]


def a_factor(x):
    return lambda x: [pyro.sample("x", dist.Normal(0.0, 1.0), obs=x[:, 0]), pyro.factor("f", -x[:, 1])]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (observed_elsewhere, "site 'x' observes no tensor of the batch"),
        (looks_ahead, "the distribution at site 'x0' is computed from data"),
        (twice, "site 'x1' observes data that another site observes too"),
        (a_factor, "site 'f' is a pyro.factor"),
    ],
)
def test_what_cannot_be_drawn_is_named(build, message):
    def model(x):
        program = build(x)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.0, 1.0))
            program(x)

    with pytest.raises(PairError, match=message):
        simulate(of(model), torch.randn(4, 2))


def test_two_equal_tensors_are_told_apart_or_refused():
    def model(x, y):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=x + 0)

    with pytest.raises(PairError, match="2 tensors of the batch"):
        simulate(of(model), (torch.zeros(4), torch.zeros(4)))
    (x, y), _ = simulate(of(model), (torch.zeros(4), torch.ones(4)))
    assert bool((x != 0).all())
    assert bool((y == 1).all())


def test_data_that_share_a_latent_are_refused():
    with pytest.raises(NotPerDatum, match="'mu'"):
        simulate(GlobalGaussian((2,)), torch.zeros(3, 2))


def test_data_of_another_shape_than_the_distribution_are_refused():
    def model(x):
        with pyro.plate("data", len(x)), pyro.plate("views", 3, dim=-2):
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    def guide(x):
        pass

    with pytest.raises(PairError, match=r"site 'x' has batch shape \(3, 4\), and what it observes \(4,\)"):
        simulate(Pair.of(model, guide), torch.zeros(4))
