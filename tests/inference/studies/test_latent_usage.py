"""Free bits and the usage of latents, against closed forms."""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from pyrogen import Pair
from pyrogen.errors import ConfigurationError, NotPerDatum, PairError
from pyrogen.inference import ELBO, usage
from pyrogen.models import VAE, DiscreteVAE, GlobalGaussian, MADEModel

DATA, LATENT = 40, 3


class Known(Pair):
    """Real data whose guide has given means, and scales shared by all data; the likelihood ignores the latent."""

    def __init__(self, weight, scale):
        super().__init__()
        self.weight, self.scale = nn.Parameter(weight), nn.Parameter(scale)

    def model(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.new_zeros(LATENT), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(x.new_zeros(LATENT), 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x * self.weight, self.scale).to_event(1))


def known():
    """Units of rates about 1.1, 0.2 and exactly 0."""
    torch.manual_seed(1)
    x = torch.randn(DATA, LATENT, dtype=torch.float64)
    pair = Known(torch.tensor([1.0, 0.3, 0.0]).double(), torch.tensor([0.5, 0.8, 1.0]).double())
    rates = kl_divergence(Normal(x * pair.weight, pair.scale), Normal(0.0, 1.0)).detach()  # (data, units)
    return pair, x, rates


def test_usage_is_that_of_the_closed_form():
    pair, x, rates = known()
    [used] = usage(pair, x)
    assert used.site == "z"
    assert torch.allclose(used.rates, rates.mean(0), rtol=0, atol=1e-12)
    assert used.rate == pytest.approx(rates.sum(1).mean().item(), abs=1e-12)
    assert used.error == pytest.approx((rates.sum(1).std() / DATA**0.5).item(), abs=1e-12)
    assert torch.allclose(used.variances, (x * pair.weight).detach().var(0))
    assert used.active == 2
    assert "2 of 3 units active" in str(used)
    assert used.record()["rates"] == used.rates.tolist()


class Scaled(Known):
    """A prior of a chosen distribution."""

    def __init__(self, weight, prior):
        super().__init__(weight, torch.ones(LATENT).double())
        self.prior = prior

    def model(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.prior(x))
            pyro.sample("x", dist.Normal(x.new_zeros(LATENT), 1.0).to_event(1), obs=x)


def test_a_unit_is_active_by_its_share_of_the_priors_variance():
    """The second unit's mean varies by more than 0.01, and by less than a hundredth of the prior's variance."""
    weight, scale = torch.tensor([1.0, 0.2, 0.0]).double(), torch.tensor([1.0, 10.0, 1.0]).double()
    x = known()[1]
    [used] = usage(Scaled(weight, lambda x: dist.Normal(x.new_zeros(LATENT), scale).to_event(1)), x)
    assert torch.allclose(used.variances, (x * weight).var(0) / scale.square())
    assert used.active == 1
    assert (x * weight).var(0)[1] > 0.01


def test_a_priors_variance_without_closed_form_is_taken_from_draws():
    """Log-normal draws through a transform: torch knows no variance of a transformed distribution."""
    exp = torch.distributions.transforms.ExpTransform()

    def prior(x):
        return dist.TransformedDistribution(dist.Normal(x.new_zeros(LATENT), 0.5), [exp]).to_event(1)

    weight = torch.tensor([1.0, 0.3, 0.0]).double()
    pair, x = Scaled(weight, prior), known()[1]
    pair.guide = lambda x: _positive_guide(x, weight)
    torch.manual_seed(6)
    [used] = usage(pair, x)
    mean = torch.exp(x * weight + 0.125)
    variance = (math.exp(0.25) - 1) * math.exp(0.25)
    # The variance of 40,000 draws of a log-normal distribution, by its fourth central moment, errs by this share.
    w = math.exp(0.25)
    error = ((w**4 + 2 * w**3 + 3 * w**2 - 3 - 1) / (1000 * DATA)) ** 0.5
    assert ((used.variances * variance / mean.var(0))[:2] - 1).abs().max() < 5 * error
    assert used.active == 2


def _positive_guide(x, weight):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.LogNormal(x * weight, 0.5).to_event(1))


def test_usage_does_not_depend_on_how_many_data_run_at_once():
    pair, x, _ = known()
    x = x.repeat(20, 1)  # 800, more than are run at once
    [used], [alone] = usage(pair, x), usage(pair, x[:DATA])
    assert torch.allclose(used.rates, alone.rates)
    assert torch.allclose(used.variances * 799 / 800, alone.variances * 39 / 40)


def test_a_discrete_latent_has_a_rate_and_its_units():
    torch.manual_seed(2)
    [used] = usage(DiscreteVAE((5,), latent=3, hidden=(4,)), torch.rand(20, 5).round())
    assert used.rates.shape == (3,)
    assert (used.rates >= 0).all()
    assert used.variances.shape == (3,)


def test_a_pair_without_latents_has_no_usage_and_a_shared_latent_none_of_a_datum():
    assert usage(MADEModel((5,), hidden=(4,)), torch.ones(3, 5)) == []
    with pytest.raises(NotPerDatum):
        usage(GlobalGaussian((2,)), torch.zeros(3, 2))


@pytest.mark.parametrize("level", [0.0, 0.1, 0.5, 2.0])
@pytest.mark.parametrize("beta", [1.0, 0.3])
def test_free_bits_raise_each_units_divergence_to_the_level(level, beta):
    pair, x, rates = known()
    plain, free = (ELBO(free_bits=bits).loss(pair, x, beta=beta) for bits in (0.0, level))
    missing = (level - rates.mean(0)).clamp(min=0).sum()
    assert (free - plain).item() == pytest.approx(beta * missing.item(), abs=1e-12)


def test_a_unit_below_the_level_has_no_gradient_and_one_above_has_all_of_it():
    pair, x, _ = known()

    def gradients(bits):
        pair.zero_grad()
        ELBO(free_bits=bits).loss(pair, x).backward()
        return pair.weight.grad.clone(), pair.scale.grad.clone()

    plain, free = gradients(0.0), gradients(0.5)  # the first unit alone is above
    for before, after in zip(plain, free, strict=True):
        assert before[0] == pytest.approx(after[0].item(), abs=1e-12)
        assert before[1] != 0
        assert after[1:].abs().max() < 1e-12


@pytest.mark.parametrize("kl", ["analytic", "sampled"])
def test_free_bits_run_for_particles_and_never_enter_an_estimate(kl):
    torch.manual_seed(3)
    pair, x = VAE((5,), latent=2, hidden=(4,)), torch.rand(8, 5).round()
    assert ELBO(3, kl=kl, free_bits=5.0).loss(pair, x) > ELBO(3, kl=kl).loss(pair, x) + 1
    found = []
    for bits in (0.0, 5.0):
        torch.manual_seed(4)
        found.append(ELBO(kl=kl, draws=10, free_bits=bits).estimate(pair, x).log_prob)
    assert torch.equal(*found)


def test_latents_without_a_divergence_of_units_are_one_unit():
    class Mixture(Known):
        def model(self, x):
            with pyro.plate("data", len(x)):
                parts = dist.Normal(x.new_tensor([[-1.0] * LATENT, [1.0] * LATENT]), 1.0).to_event(1)
                pyro.sample("z", dist.MixtureSameFamily(dist.Categorical(logits=x.new_zeros(2)), parts))
                pyro.sample("x", dist.Normal(x.new_zeros(LATENT), 1.0).to_event(1), obs=x)

    pair = Mixture(torch.zeros(LATENT).double(), torch.ones(LATENT).double())
    x = torch.zeros(20_000, LATENT, dtype=torch.float64)
    torch.manual_seed(5)
    [used] = usage(pair, x)
    assert used.rates.shape == (1,)
    z = torch.randn(1_000_000, LATENT, dtype=torch.float64)  # from the guide
    far = (z.square() - (z - 1).square()).sum(-1) / 2, (z.square() - (z + 1).square()).sum(-1) / 2
    gap = math.log(2) - torch.logaddexp(*far)  # log q - log p
    assert abs(used.rate - gap.mean()) < 5 * (used.error**2 + gap.var() / len(gap)) ** 0.5
    assert used.variances.shape == (LATENT,)
    assert ELBO(free_bits=100.0).loss(pair, x).isfinite()


def test_what_has_no_free_bits_is_refused():
    class Masked(Known):
        def guide(self, x):
            with pyro.plate("data", len(x)), pyro.poutine.mask(mask=x[:, 0] > 0):
                pyro.sample("z", dist.Normal(x * self.weight, self.scale).to_event(1))

    for bits in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigurationError, match="free_bits"):
            ELBO(free_bits=bits)
    with pytest.raises(ConfigurationError, match="pathwise"):
        ELBO(free_bits=1.0, gradient="sticking-the-landing")
    pair, x, _ = known()
    with pytest.raises(PairError, match="masked"):
        ELBO(free_bits=1.0).loss(Masked(pair.weight.data, pair.scale.data), x)
