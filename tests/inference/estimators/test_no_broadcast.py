"""Pairs that do not broadcast over particles: estimators answer under ``torch.vmap`` or chain by chain."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrogen import Pair
from pyrogen.inference import (
    CUBO,
    ELBO,
    EUBO,
    IWAE,
    NUTS,
    AnnealedImportance,
    ImportanceSampling,
    TemperedSMC,
    refine,
)
from pyrogen.inference.estimators.latent_density import LatentDensity

F64 = torch.float64


def first_of(z):
    """Index from the left, where a particle would lie."""
    return z[:, 0] + z[:, 1]


def last_of(z):
    return z[..., 0] + z[..., 1]


def by_value(z):
    """Python asks for values, which no transform of torch can answer: the sum of the same two numbers."""
    assert z.dim() == 2
    return torch.stack([row[0] + row[1] if float(row[0].detach()) > 0 else row[1] + row[0] for row in z])


class Loose(dist.Independent):
    """Its support says nothing of the dimensions of an event."""

    support = dist.constraints.positive


class Sums(Pair):
    """x = z_0 + z_1 + s_0 + s_1 + noise, s positive, in a plate of one outside the data's."""

    def __init__(self, total=first_of):
        super().__init__()
        self.total = total

    def model(self, x):
        data = pyro.plate("data", len(x), dim=-1)
        with data:
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            s = pyro.sample("s", Loose(dist.LogNormal(x.new_zeros(2), 0.5), 1))
            pyro.sample("x", dist.Normal(self.total(z) + s.sum(-1), 1.0), obs=x)
        with pyro.plate("outer", 1, dim=-2), data:
            pyro.sample("y", dist.Normal(self.total(z), 2.0), obs=x.expand(1, -1))

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.3 * x[:, None].expand(-1, 2), 0.9).to_event(1))
            pyro.sample("s", dist.LogNormal(0.1 * x[:, None].expand(-1, 2), 0.6).to_event(1))


class Gaussian(Pair):
    """log p(x) is that of a normal distribution of variance three; its posterior is known."""

    def __init__(self, total):
        super().__init__()
        self.total = total

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.total(z), 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1).expand([len(x)]))

    def posterior(self, x):
        covariance = torch.eye(2, dtype=x.dtype) - 1 / 3
        return dist.MultivariateNormal(x[:, None].expand(-1, 2) / 3, covariance)

    def log_prob(self, x):
        return dist.Normal(x.new_zeros(()), 3**0.5).log_prob(x)


@pytest.mark.parametrize("initial", ["prior", "guide"])
@pytest.mark.parametrize(("total", "in_turn"), [(first_of, False), (by_value, True)])
def test_the_density_of_latents_is_that_of_the_program_that_broadcasts(total, in_turn, initial):
    torch.manual_seed(0)
    x = torch.randn(4, dtype=F64)
    density, reference = LatentDensity(Sums(total), x, initial=initial), LatentDensity(Sums(last_of), x, initial=initial)
    assert (density.structure.loop is None, density.in_turn) == (False, in_turn)
    u = reference.draw(x, 5).requires_grad_()
    found, expected = density.terms(u, x), reference.terms(u, x)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
        torch.testing.assert_close(*(torch.autograd.grad(value.sum(), u, retain_graph=True) for value in (one, other)))
    (latents, likelihood), (known, known_likelihood) = density.constrained(u, x), reference.constrained(u, x)
    torch.testing.assert_close(latents, known)
    torch.testing.assert_close(likelihood, known_likelihood)
    torch.testing.assert_close(density.unconstrained(known, x), u)
    for draw in (density.draw_prior, density.draw_guide):
        drawn = draw(x, 400)
        assert drawn.shape == (400, 4, 4)
        centre = reference.draw_prior(x, 400) if draw == density.draw_prior else reference.draw_guide(x, 400)
        error = ((drawn.var(0) + centre.var(0)) / 400).sqrt()
        assert ((drawn.mean(0) - centre.mean(0)).abs() < 5 * error).all()


@pytest.mark.parametrize(
    "estimator",
    [
        ELBO(500),
        IWAE(50),
        CUBO(2, particles=500),
        ImportanceSampling(500),
        AnnealedImportance(20),
        AnnealedImportance(20, initial="guide"),
        TemperedSMC(50),
        EUBO(500),
        EUBO(by=ImportanceSampling(500, draws=100)),
        NUTS(100, warmup=50, chains=2),
    ],
    ids=lambda estimator: estimator.name,
)
def test_estimators_answer(estimator):
    torch.manual_seed(1)
    x = torch.randn(3, dtype=F64)
    pair = Gaussian(first_of)
    found, exact = estimator.estimate(pair, x), pair.log_prob(x)
    gap = (found.log_prob - exact) / found.standard_error
    if found.kind in ("lower", "consistent"):
        assert (gap < 5).all()
    if found.kind in ("upper", "consistent"):
        assert (gap > -5).all()


def test_estimators_answer_where_each_chain_has_its_turn():
    torch.manual_seed(2)
    x = torch.randn(2, dtype=F64)
    pair = Gaussian(by_value)
    found = AnnealedImportance(10, chains=8).estimate(pair, x)
    assert ((found.log_prob - pair.log_prob(x)).abs() < 5 * found.standard_error).all()


@pytest.mark.parametrize("total", [first_of, by_value])
def test_recorded_transitions_move_as_the_pair_does(total):
    x = torch.tensor([0.3, -1.2], dtype=F64)
    found = []
    for compile in (False, "graph"):
        torch.manual_seed(3)
        found.append(AnnealedImportance(10, chains=8).estimate(Gaussian(total), x, compile=compile).log_prob)
    torch.testing.assert_close(*found)


def test_refinement_is_that_of_the_program_that_broadcasts():
    x = torch.tensor([0.3, -1.2, 2.0], dtype=F64)
    found = []
    for total in (first_of, last_of):
        torch.manual_seed(4)
        found.append(refine(Gaussian(total), x, steps=150, particles=8, draws=400))
    one, other = found
    for name in ("encoder", "refined"):
        error = (getattr(one, name + "_error") ** 2 + getattr(other, name + "_error") ** 2).sqrt()
        # Both end near the best Gaussian of independent coordinates, by other random numbers.
        assert ((getattr(one, name) - getattr(other, name)).abs() < 5 * error + 0.02).all()
