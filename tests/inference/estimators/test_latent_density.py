"""The density of latents on the unconstrained space, for any pair with continuous latents of each datum."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrogen import Pair
from pyrogen.errors import ConfigurationError, NotPerDatum, PairError
from pyrogen.inference.estimators.latent_density import LatentDensity
from pyrogen.models import BetaBernoulli, DiscreteVAE, GlobalGaussian, LinearGaussianVAE

F64 = torch.float64


class Hierarchy(Pair):
    """Supports of all kinds, one that depends on another latent, and a second plate inside the data's."""

    def model(self, x):
        with pyro.plate("data", len(x), dim=-2):
            s = pyro.sample("s", dist.Gamma(x.new_tensor(2.0), 1.0))  # (data, 1)
            w = pyro.sample("w", dist.Dirichlet(x.new_ones(3)))
            with pyro.plate("inner", x.shape[1], dim=-1):
                z = pyro.sample("z", dist.Uniform(-s, s))
                v = pyro.sample("v", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
                pyro.sample("x", dist.Normal(z + v.sum(-1) + w[..., 0], 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x), dim=-2):
            s = pyro.sample("s", dist.Gamma(x.new_tensor(3.0), 1.0))
            pyro.sample("w", dist.Dirichlet(x.new_full((3,), 2.0)))
            with pyro.plate("inner", x.shape[1], dim=-1):
                pyro.sample("z", dist.Uniform(-s, s))
                pyro.sample("v", dist.Normal(x.new_zeros(2), 1.5).to_event(1))


@pytest.mark.parametrize("initial", ["prior", "guide"])
def test_terms_are_those_of_the_joint_density(initial):
    torch.manual_seed(0)
    x = torch.randn(4, 5, dtype=F64)
    density = LatentDensity(Hierarchy(), x, initial=initial)
    assert density.dims == 1 + 2 + 5 + 10
    u = density.draw(x, 7)
    assert u.shape == (7, 4, 18)
    latents, log_likelihood = density.constrained(u, x)
    assert {name: value.shape[2:] for name, value in latents.items()} == {"s": (1,), "w": (1, 3), "z": (5,), "v": (5, 2)}
    s, w, z, v = (latents[name] for name in "swzv")
    likelihood = dist.Normal(z + v.sum(-1) + w[..., 0], 1.0).log_prob(x).sum(-1)
    torch.testing.assert_close(log_likelihood, likelihood)

    def volume(name, base):  # by the Jacobian of the transform itself
        columns = {"s": slice(0, 1), "w": slice(1, 3), "z": slice(3, 8)}[name]
        transform = torch.distributions.biject_to(base.support)
        value = u[..., columns]
        found = transform.log_abs_det_jacobian(value, transform(value))
        return found if found.dim() == 2 else found.sum(-1)

    def log_density(shape, flat, wide):
        return (
            dist.Gamma(torch.tensor(shape, dtype=F64), 1.0).log_prob(s[..., 0])
            + dist.Dirichlet(torch.full((3,), flat, dtype=F64)).log_prob(w[..., 0, :])
            + dist.Uniform(-s, s).log_prob(z).sum(-1)
            + dist.Normal(0.0, wide).log_prob(v).sum((-1, -2))
            + volume("s", dist.Gamma(2.0, 1.0))
            + volume("w", dist.Dirichlet(torch.ones(3)))
            + volume("z", dist.Uniform(-s, s))
        )

    prior, guide = log_density(2.0, 1.0, 1.0), log_density(3.0, 2.0, 1.5)
    found = density.terms(u, x)
    torch.testing.assert_close(found.base, prior if initial == "prior" else guide)
    torch.testing.assert_close(found.base + found.slope, prior + likelihood)
    torch.testing.assert_close(density.unconstrained(latents, x), u)


def test_densities_are_normalised_on_the_unconstrained_space():
    pair = BetaBernoulli((4,), 2.0, 3.0).double()
    x = torch.tensor([[0.0, 0.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0]], dtype=F64)
    u = torch.linspace(-25, 25, 5001, dtype=F64)[:, None, None].expand(-1, 2, 1)
    for initial in ("prior", "guide"):
        with torch.no_grad():
            base, slope = LatentDensity(pair, x, initial=initial).terms(u, x)
        torch.testing.assert_close(base.exp().sum(0) * 0.01, torch.ones(2, dtype=F64))
        torch.testing.assert_close((base + slope).exp().sum(0) * 0.01, pair.log_evidence(x).exp().detach())


def discrete():
    return DiscreteVAE((6,), latent=3), torch.zeros(2, 6)


def shared():
    return GlobalGaussian((1,)), torch.zeros(4, 1)


def visible():
    class Visible(Pair):
        def model(self, x):
            with pyro.plate("data", len(x)):
                pyro.sample("x", dist.Normal(x.new_zeros(()), 1.0), obs=x)

    return Visible(), torch.zeros(4)


def auxiliary():
    class Auxiliary(Pair):
        def model(self, x):
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)

        def guide(self, x):
            with pyro.plate("data", len(x)):
                a = pyro.sample("a", dist.Normal(x, 1.0), infer={"is_auxiliary": True})
                pyro.sample("z", dist.Normal(a, 1.0))

    return Auxiliary(), torch.zeros(4)


@pytest.mark.parametrize(
    ("make", "initial", "error", "words"),
    [
        (discrete, "prior", PairError, "latent 'z' is discrete"),
        (shared, "prior", NotPerDatum, "lies outside plate 'data'"),
        (visible, "prior", PairError, "the pair has no latents"),
        (auxiliary, "guide", PairError, "site 'a' of the guide is no latent"),
        (lambda: (LinearGaussianVAE((4,)), torch.zeros(2, 4)), "posterior", ConfigurationError, "use 'prior' or 'guide'"),
    ],
)
def test_bad_inputs(make, initial, error, words):
    pair, x = make()
    with pytest.raises(error, match=words):
        LatentDensity(pair, x, initial=initial)
