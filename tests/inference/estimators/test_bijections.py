"""Latents on any support are moved by gradients: the maps are right, and so is the evidence."""

import math
from typing import ClassVar

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.distributions import constraints

from pyrogen.errors import PairError
from pyrogen.inference import NUTS, AnnealedImportance, TemperedSMC, joint_evidence
from pyrogen.inference.estimators.bijections import bijection
from pyrogen.pair import Pair

D = torch.float64


def t(*values):
    return torch.tensor(values, dtype=D)


def mixture(components, weights=(0.3, 0.7)):
    return dist.MixtureSameFamily(dist.Categorical(t(*weights)), components)


class Bounded(dist.TorchDistribution):
    """A user's own distribution, uniform on (0, 3)."""

    support = constraints.interval(0.0, 3.0)
    arg_constraints: ClassVar = {}

    def __init__(self):
        super().__init__(validate_args=False)

    def sample(self, sample_shape=()):
        return 3 * torch.rand(sample_shape, dtype=D)

    def log_prob(self, value):
        return torch.zeros_like(value) - math.log(3.0)


MAPPED = {
    "normal mixture": mixture(dist.Normal(t(-1, 2), 1.0)),
    "vector mixture": mixture(dist.Normal(torch.zeros(2, 3, dtype=D), 1.0).to_event(1)),
    "positive mixture": mixture(dist.LogNormal(t(0, 1), 0.5)),
    "mixture on an interval": mixture(dist.Uniform(t(-1, -1), t(3, 3))),
    "mixture on a box": mixture(dist.Uniform(t(-1, 0.5, 0).expand(2, 3), t(1, 3, 2).expand(2, 3)).to_event(1)),
    "mixture of simplices": mixture(dist.Dirichlet(torch.ones(2, 3, dtype=D))),
    "Wishart": dist.Wishart(t(5.0)[0], covariance_matrix=torch.eye(3, dtype=D)),
    "LKJ": dist.LKJCholesky(3, t(1.5)[0]),
    "masked": dist.Gamma(t(2.0), 1.0).mask(False),
    "expanded": dist.Beta(t(2.0)[0], t(2.0)[0]).expand([3]).to_event(1),
    "angle": dist.VonMises(t(0)[0], t(1)[0]),
    "own": Bounded(),
}


@pytest.mark.filterwarnings("ignore:Singular sample")  # of torch's Wishart, for samples that are not
@pytest.mark.parametrize("fn", MAPPED.values(), ids=MAPPED)
def test_a_map_is_one_to_one_and_knows_its_volume(fn):
    torch.manual_seed(0)
    value, transform = fn.sample(), bijection(fn, "z")
    if transform is None:
        assert type(fn.support).__name__ == "MixtureSameFamilyConstraint"
        return
    free = transform.inv(value).detach()
    torch.testing.assert_close(transform(free), value, rtol=1e-8, atol=1e-8)
    drawn = torch.randn_like(free)
    assert bool(fn.support.check(transform(drawn)).all())
    # The volume of the map to as many coordinates of the value as it has dimensions of its own.
    jacobian = torch.autograd.functional.jacobian(lambda u: independent(fn, transform(u)), drawn)
    volume = transform.log_abs_det_jacobian(drawn, transform(drawn)).sum()
    assert float(volume) == pytest.approx(float(jacobian.reshape(drawn.numel(), drawn.numel()).slogdet()[1]), rel=1e-8)


def independent(fn, value):
    """The coordinates of a value that the others don't follow from."""
    name = type(fn).__name__
    if name == "Wishart":
        row, column = torch.tril_indices(3, 3)
        return value[row, column]
    if name == "LKJCholesky":
        row, column = torch.tril_indices(3, 3, offset=-1)
        return value[row, column]
    return value[..., :-1] if "Simplex" in str(getattr(fn.support, "base_constraint", fn.support)) else value


def pair_of(prior, likelihood, posterior):
    def model(x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", likelihood(pyro.sample("z", prior())), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", posterior())

    return Pair.of(model, guide)


def two_modes():
    return mixture(dist.Normal(t(-1, 2), 0.5))


def by_quadrature(log_prior, low, high, log_likelihood, x):
    grid = torch.linspace(low, high, 20_001, dtype=D)
    return (log_prior(grid) + log_likelihood(grid, x[:, None])).logsumexp(-1) + math.log((high - low) / 20_000)


X = t(-0.8, 0.4, 1.7)
CASES = {
    "mixture": (
        pair_of(two_modes, lambda z: dist.Normal(z, 1.0), two_modes),
        by_quadrature(two_modes().log_prob, -12, 12, lambda z, x: dist.Normal(z, 1.0).log_prob(x), X),
    ),
    "angle": (
        pair_of(
            lambda: dist.VonMises(t(0.5)[0], t(1.0)[0]),
            lambda z: dist.Normal(z.sin(), 0.5),
            lambda: dist.VonMises(t(0.0)[0], t(0.5)[0]),
        ),
        by_quadrature(
            dist.VonMises(t(0.5)[0], t(1.0)[0]).log_prob,
            -math.pi,
            math.pi,
            lambda z, x: dist.Normal(z.sin(), 0.5).log_prob(x),
            X,
        ),
    ),
    "own": (
        pair_of(Bounded, lambda z: dist.Normal(z, 0.5), Bounded),
        by_quadrature(lambda z: torch.zeros_like(z) - math.log(3.0), 0, 3, lambda z, x: dist.Normal(z, 0.5).log_prob(x), X),
    ),
}


@pytest.mark.parametrize("estimator", [AnnealedImportance(60, chains=32), TemperedSMC(256)], ids=lambda e: e.name)
@pytest.mark.parametrize(("pair", "exact"), CASES.values(), ids=CASES)
def test_the_evidence_is_exact(pair, exact, estimator):
    torch.manual_seed(0)
    found = estimator.estimate(pair, X)
    assert ((found.log_prob - exact).abs() <= 5 * found.standard_error + 2e-4).all()


@pytest.mark.filterwarnings("ignore:Singular sample")
def test_a_precision_matrix_gives_a_student():
    """x | W ~ N(0, W^-1) and W ~ Wishart(9, I): x is multivariate Student-t of 8 degrees, with scale I / 8."""
    x = t(0.3, -1.2, 2.0, 0.1).reshape(2, 2)

    def prior():
        return dist.Wishart(torch.tensor(9.0, dtype=D), covariance_matrix=torch.eye(2, dtype=D))

    pair = pair_of(
        prior, lambda z: dist.MultivariateNormal(torch.zeros(2, dtype=D), precision_matrix=z, validate_args=False), prior
    )
    exact = dist.MultivariateStudentT(t(8.0)[0], torch.zeros(2, dtype=D), torch.eye(2, dtype=D) / 8**0.5).log_prob(x)
    torch.manual_seed(0)
    found = AnnealedImportance(60, chains=64).estimate(pair, x)
    assert ((found.log_prob - exact).abs() <= 5 * found.standard_error).all()


def test_nuts_and_the_joint_evidence_take_them_too():
    pair, _ = CASES["mixture"]
    torch.manual_seed(0)
    found = NUTS(50, warmup=50, chains=2).estimate(pair, X)
    assert torch.isfinite(found.log_prob).all()

    def shared(x):
        z = pyro.sample("z", two_modes())
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    joint = Pair.of(shared, lambda x: pyro.sample("z", dist.Normal(t(0.6)[0], 0.6)))
    grid = torch.linspace(-12, 12, 20_001, dtype=D)
    log_joint = two_modes().log_prob(grid) + dist.Normal(grid, 1.0).log_prob(X[:, None]).sum(0)
    expected = float(log_joint.logsumexp(0)) + math.log(24 / 20_000)
    torch.manual_seed(0)
    value = joint_evidence(joint, X, draws=400, warmup=200)
    assert abs(float(value.log_prob) - expected) <= 5 * float(value.standard_error)


class Apart(Bounded):
    support = mixture(dist.Uniform(t(-1, 0.5), t(1, 3))).support


class Sphere(Bounded):
    support = constraints.sphere if hasattr(constraints, "sphere") else dist.constraints.sphere


class Unknown(Bounded):
    support = property(lambda self: (_ for _ in ()).throw(NotImplementedError()))


@pytest.mark.parametrize("prior", [Sphere, Unknown, Apart])
@pytest.mark.parametrize("estimator", [AnnealedImportance(5), TemperedSMC(8), NUTS(8, warmup=8)], ids=lambda e: e.name)
def test_what_has_no_map_is_named_before_any_work(prior, estimator):
    pair = pair_of(prior, lambda z: dist.Normal(z, 0.5), prior)
    with pytest.raises(PairError, match=rf"latent 'z' \({prior.__name__}\) has no map .* use ImportanceSampling"):
        estimator.estimate(pair, X)
