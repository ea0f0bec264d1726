"""Gradient estimators: a contract over all of them against exact gradients, and one written as a user would."""

from __future__ import annotations

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyrogen import Pair
from pyrogen.errors import ConfigurationError, PairError
from pyrogen.inference import (
    ELBO,
    IWAE,
    DoublyReparameterized,
    GradientEstimator,
    Pathwise,
    Renyi,
    ScoreFunction,
    StickingTheLanding,
    fit,
)
from pyrogen.inference.objectives.gradients import (
    GRADIENTS,
    LeaveOneOut,
    NoBaseline,
    RunningAverage,
    Surrogate,
    gradient_named,
)
from pyrogen.models import DiscreteVAE

ESTIMATORS = {
    "pathwise": Pathwise,
    "sticking the landing": StickingTheLanding,
    "doubly reparameterized": DoublyReparameterized,
    "score function": ScoreFunction,
    "score function everywhere": lambda: ScoreFunction(everywhere=True),
    "score function, no baseline": lambda: ScoreFunction(NoBaseline(), everywhere=True),
    "score function, running average": lambda: ScoreFunction(RunningAverage(), everywhere=True),
    "score function, leave one out": lambda: ScoreFunction(LeaveOneOut(), everywhere=True),
}
REFUSED = {
    ("ELBO", "doubly reparameterized"): "no weights to reparameterize",
    ("one particle", "doubly reparameterized"): "no weights to reparameterize",
    ("one particle", "score function, leave one out"): "at least 2 particles",
}
PATHS = ("sticking the landing", "doubly reparameterized")  # they need draws that carry a gradient
ROWS, GROUPS = 300, 120


class OneLatent(Pair):
    """z ~ N(0, 1), x ~ N(a z, s), q(z | x) = N(b x, t): every bound is an integral over as many normals as particles."""

    def __init__(self):
        super().__init__()
        self.a, self.log_s = nn.Parameter(torch.tensor(0.8)), nn.Parameter(torch.tensor(-0.4))
        self.b, self.log_t = nn.Parameter(torch.tensor(0.3)), nn.Parameter(torch.tensor(-0.3))

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Normal(self.a * z, self.log_s.exp()), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.b * x, self.log_t.exp()))

    def exact_bound(self, x, bound, particles, nodes=40):
        """By Gauss-Hermite quadrature, 1e-9 nats from the truth; its gradient is reparameterized."""
        points, weights = np.polynomial.hermite_e.hermegauss(nodes)
        noise, mass = torch.tensor(points), torch.tensor(weights / math.sqrt(2 * math.pi))
        z = self.b * x + self.log_t.exp() * noise  # (nodes,)
        log_weight = dist.Normal(0.0, 1.0).log_prob(z) + dist.Normal(self.a * z, self.log_s.exp()).log_prob(x)
        log_weight = log_weight - dist.Normal(self.b * x, self.log_t.exp()).log_prob(z)
        grid = torch.cartesian_prod(*[torch.arange(nodes)] * particles).reshape(-1, particles)
        return (mass[grid].prod(-1) * bound(log_weight[grid].T)).sum()


def flat(gradients, parameters):
    pairs = zip(gradients, parameters, strict=True)
    return torch.cat([torch.zeros_like(p).flatten() if g is None else g.flatten() for g, p in pairs])


def samples(objective, pair, x, groups=GROUPS):
    """Independent gradients, each the average over many copies of one datum: (groups, parameters)."""
    torch.manual_seed(3)
    batch, parameters, state, found = x.expand(ROWS, *x.shape).clone(), list(pair.parameters()), {}, []
    for _ in range(groups):
        loss, state, _ = objective.compute(pair, batch, state)
        found.append(flat(torch.autograd.grad(loss, parameters, allow_unused=True), parameters))
    return torch.stack(found)


def off(found, exact):
    """How many standard errors the mean of samples lies from a value, at worst."""
    return float(((found.mean(0) - exact).abs() / (found.std(0) / len(found) ** 0.5 + 1e-12)).max())


def objective_of(kind, gradient):
    return {
        "ELBO": lambda: ELBO(2, gradient=gradient),
        "IWAE": lambda: IWAE(2, gradient=gradient),
        "Renyi": lambda: Renyi(0.5, 2, gradient=gradient),
        "one particle": lambda: ELBO(gradient=gradient),
    }[kind]()


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("kind", ["ELBO", "IWAE", "Renyi", "one particle"])
def test_mean_is_the_exact_gradient_unless_it_says_so(name, kind):
    gradient, x = ESTIMATORS[name](), torch.tensor(1.4, dtype=torch.float64)
    if (kind, name) in REFUSED:
        with pytest.raises(ConfigurationError, match=REFUSED[kind, name]):
            samples(objective_of(kind, gradient), OneLatent().double(), x)
        return
    pair, objective = OneLatent().double(), objective_of(kind, gradient)
    found = samples(objective, pair, x)
    exact = -pair.exact_bound(x, objective.bound, objective.particles)
    parameters = list(pair.parameters())
    distance = off(found, flat(torch.autograd.grad(exact, parameters), parameters))
    assert distance > 5 if gradient.biased(objective.order) else distance < 5
    assert found.std(0).max() < 1  # an estimate so noisy that anything passes would show nothing


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("kind", ["ELBO", "IWAE", "one particle"])
def test_draws_without_a_gradient_are_scored_or_refused(name, kind):
    torch.manual_seed(2)
    pair, x = DiscreteVAE((4,), latent=2).double(), torch.tensor([1.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    words = REFUSED.get((kind, name)) or ("'z' has none" if name in PATHS else None)
    if words is not None:
        with pytest.raises((ConfigurationError, PairError), match=words):
            samples(objective_of(kind, ESTIMATORS[name]()), pair, x)
        return
    objective = objective_of(kind, ESTIMATORS[name]())
    found = samples(objective, pair, x)
    log_guide = dist.Bernoulli(logits=pair.encoder(x.unsqueeze(0))[0]).log_prob(pair.states).sum(-1)  # (states,)
    weight = pair._log_joint(x.unsqueeze(0))[0] - log_guide
    grids = torch.cartesian_prod(*[torch.arange(len(pair.states))] * objective.particles).reshape(-1, objective.particles)
    exact = -(log_guide[grids].sum(-1).exp() * objective.bound(weight[grids].T)).sum()
    parameters = list(pair.parameters())
    assert off(found, flat(torch.autograd.grad(exact, parameters), parameters)) < 5


def test_every_name_makes_its_estimator():
    assert {name: type(gradient_named(name)) for name in GRADIENTS} == GRADIENTS
    assert {type(make()) for make in ESTIMATORS.values()} == set(GRADIENTS.values())  # all are under the contract
    own = Pathwise()
    assert gradient_named(own) is own
    with pytest.raises(ConfigurationError, match="unknown gradient estimator 'magic'"):
        gradient_named("magic")
    with pytest.raises(ConfigurationError, match="decay must be"):
        RunningAverage(1.0)


def test_value_is_the_plain_bound_whatever_the_estimator():
    pair, x = OneLatent().double(), torch.linspace(-1, 2, 7, dtype=torch.float64)
    values = []
    for make in (Pathwise, DoublyReparameterized, ScoreFunction, StickingTheLanding):
        torch.manual_seed(0)
        values.append(IWAE(3, gradient=make()).loss(pair, x).item())
    assert max(values) - min(values) < 1e-12
    torch.manual_seed(0)
    assert abs(IWAE(3, gradient=ScoreFunction(everywhere=True)).loss(pair, x).item() - values[0]) < 1e-12


class CarriedMean(GradientEstimator):
    """REINFORCE against a carried mean, in a file of a user's own: nothing but the documented contract is used."""

    name = "carried mean"

    def surrogate(self, task):
        run = task.weigh()
        log_weight = task.log_weight(run)
        mean = task.state.get("own.mean", log_weight.new_zeros(()))
        log_prob = sum(site.log_prob() for site in run.score_sites)
        term = ((log_weight.detach() - mean) * log_prob).mean(0)
        bound = task.objective.bound(log_weight) + term - term.detach()
        state = {"own.mean": 0.8 * mean + 0.2 * log_weight.detach().mean()}
        return Surrogate(task.total(bound, run), run, state)


def test_an_estimator_of_a_users_own_trains_compiles_and_resumes(tmp_path):
    x = (torch.rand(20, 6, generator=torch.Generator().manual_seed(1)) < 0.5).double()

    def run(**how):
        torch.manual_seed(0)
        pair, objective = DiscreteVAE((6,), latent=2).double(), ELBO(kl="sampled", gradient=CarriedMean())
        fit(pair, x, objective=objective, **{"steps": 8, "batch_size": 20, "progress": False, "device": "cpu", **how})
        return torch.cat([parameter.detach().flatten() for parameter in pair.parameters()])

    eager = run()
    torch.testing.assert_close(run(compile="graph"), eager, rtol=1e-6, atol=1e-9)
    run(steps=4, directory=tmp_path)
    assert torch.equal(run(directory=tmp_path, resume=True), eager)  # the carried mean is in the checkpoint


def test_the_users_estimator_is_right_on_average():
    torch.manual_seed(2)
    pair, x = DiscreteVAE((4,), latent=2).double(), torch.tensor([1.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    found = samples(ELBO(kl="sampled", gradient=CarriedMean()), pair, x)
    parameters = list(pair.parameters())
    exact = torch.autograd.grad(-pair.elbo(x.unsqueeze(0)).sum(), parameters, allow_unused=True)
    assert off(found, flat(exact, parameters)) < 5
