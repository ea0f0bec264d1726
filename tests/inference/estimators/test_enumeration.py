"""Enumeration against closed sums: products of states, mixtures, the forward algorithm; and what it refuses."""

from __future__ import annotations

import itertools

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrogen import Pair
from pyrogen.errors import ConfigurationError, NotPerDatum, PairError
from pyrogen.inference import compare
from pyrogen.inference.estimators.enumeration import Enumeration
from pyrogen.models import DiscreteVAE, GlobalGaussian, LinearGaussianVAE

STEPS, STATES = 10, 3


def exactly(found, expected):
    torch.testing.assert_close(found.log_prob, expected.detach().double(), atol=1e-9, rtol=0)


@pytest.mark.parametrize("categories", [2, 3])
@pytest.mark.parametrize("max_bytes", [2**29, 40_000], ids=["at once", "in chunks"])
def test_vectors_of_discrete_latents(categories, max_bytes):
    torch.manual_seed(0)
    pair = DiscreteVAE((6,), latent=4, categories=categories).double()
    torch.nn.init.normal_(pair.prior_logits)
    x = torch.randint(0, 2, (9, 6)).double()
    found = Enumeration(max_bytes=max_bytes).estimate(pair, x)
    exactly(found, pair.log_evidence(x))
    assert found.kind == "exact"
    assert not found.standard_error.any()
    assert found.evaluations == 9
    assert not found.warnings()
    assert not found.log_prob.requires_grad


class Mixture(Pair):
    """A Gaussian mixture; the data may be masked, and the components lie in the model alone if `summed`."""

    def __init__(self, summed=False, masked=False):
        super().__init__()
        self.register_buffer("weights", torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64))
        self.register_buffer("means", torch.tensor([[-2.0, 0.0], [0.5, 1.0], [3.0, -1.0]], dtype=torch.float64))
        self.summed, self.masked = summed, masked

    def model(self, x):
        with pyro.plate("data", len(x)):
            infer = {"enumerate": "parallel"} if self.summed else {}
            k = pyro.sample("k", dist.Categorical(self.weights), infer=infer)
            means = pyro.deterministic("means", self.means[k], event_dim=1)
            likelihood = dist.Normal(means, 1.0).to_event(1)
            with pyro.poutine.mask(mask=x[:, 0] < 0 if self.masked else torch.tensor(True)):
                pyro.sample("x", likelihood, obs=x)

    def guide(self, x):
        if not self.summed:
            with pyro.plate("data", len(x)):
                pyro.sample("k", dist.Categorical(self.weights))


@pytest.mark.parametrize("rows", [1, 2, 7])
@pytest.mark.parametrize(("summed", "masked"), [(False, False), (True, False), (False, True)])
def test_a_mixture(rows, summed, masked):
    x = torch.randn(rows, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(rows))
    pair = Mixture(summed, masked)
    parts = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(pair.weights),
        torch.distributions.Independent(torch.distributions.Normal(pair.means, 1.0), 1),
    )
    expected = parts.log_prob(x)
    exactly(Enumeration().estimate(pair, x), torch.where(x[:, 0] < 0, expected, 0.0) if masked else expected)


class Unweighed(Mixture):
    """The log probability of the component is masked out of log weights; its probabilities are as they were."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(self.weights).mask(False))
            pyro.sample("x", dist.Normal(self.means[k], 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("k", dist.Categorical(self.weights).mask(False))


def test_a_masked_latent_is_summed_by_its_probabilities():
    x = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    exactly(Enumeration().estimate(Unweighed(), x), Enumeration().estimate(Mixture(), x).log_prob)


class HiddenMarkov(Pair):
    """A chain of states with Gaussian emissions, whose guide is the prior; rows may be shorter than the chain."""

    def __init__(self, markov=True):
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.register_buffer("first", torch.randn(STATES, dtype=torch.float64, generator=generator))
        self.register_buffer("next", torch.randn(STATES, STATES, dtype=torch.float64, generator=generator))
        self.register_buffer("means", torch.randn(STATES, dtype=torch.float64, generator=generator))
        self.markov = markov

    def _chain(self, x, lengths, observe):
        with pyro.plate("data", len(x), dim=-1):
            z = None
            for t in pyro.markov(range(x.shape[1])) if self.markov else range(x.shape[1]):
                with pyro.poutine.mask(mask=t < lengths):
                    z = pyro.sample(f"z_{t}", dist.Categorical(logits=self.first if z is None else self.next[z]))
                    if observe:
                        pyro.sample(f"x_{t}", dist.Normal(self.means[z], 1.0), obs=x[:, t])

    def model(self, x, lengths):
        self._chain(x, lengths, observe=True)

    def guide(self, x, lengths):
        self._chain(x, lengths, observe=False)

    def forward_algorithm(self, x, lengths):
        emission = torch.distributions.Normal(self.means, 1.0).log_prob(x.unsqueeze(-1))  # (data, steps, states)
        message = self.first.log_softmax(-1) + emission[:, 0]  # (data, states)
        for t in range(1, x.shape[1]):
            moved = (message.unsqueeze(-1) + self.next.log_softmax(-1)).logsumexp(1) + emission[:, t]
            message = torch.where((t < lengths).unsqueeze(-1), moved, message)
        return message.logsumexp(-1)


def test_a_hidden_markov_model_is_the_forward_algorithm_s():
    x = torch.randn(6, STEPS, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor([10, 10, 7, 1, 3, 10])
    for pair in (HiddenMarkov(), HiddenMarkov(markov=False)):  # 3^10 = 59,049 paths, of which no tensor is made
        exactly(Enumeration(max_bytes=200_000).estimate(pair, (x, lengths)), pair.forward_algorithm(x, lengths))


class TwoParents(Pair):
    """Discrete latents of several kinds, one in a plate of its own inside the data plate, which a datum observes."""

    def model(self, x):
        with pyro.plate("data", len(x), dim=-2):
            a = pyro.sample("a", dist.Bernoulli(x.new_tensor(0.3)))
            with pyro.plate("parts", 2, dim=-1):
                b = pyro.sample("b", dist.Binomial(2, probs=0.2 + 0.5 * a))
                c = pyro.sample("c", dist.OneHotCategorical(x.new_tensor([0.1, 0.6, 0.3])))
                loc = a + b * (c * x.new_tensor([1.0, -1.0, 2.0])).sum(-1)
                pyro.sample("x", dist.Normal(loc, 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x), dim=-2):
            pyro.sample("a", dist.Bernoulli(x.new_tensor(0.5)))
            with pyro.plate("parts", 2, dim=-1):
                pyro.sample("b", dist.Binomial(2, probs=x.new_tensor(0.5)))
                pyro.sample("c", dist.OneHotCategorical(x.new_ones(3) / 3))


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_plates_and_kinds_of_latents(rows):
    x = torch.randn(rows, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(rows))
    slope, total = (1.0, -1.0, 2.0), 0.0
    for a in (0.0, 1.0):
        part = 0.0
        for b, c in itertools.product(range(3), range(3)):
            p = torch.distributions.Binomial(2, torch.tensor(0.2 + 0.5 * a, dtype=torch.float64)).log_prob(
                torch.tensor(float(b), dtype=torch.float64)
            )
            density = torch.distributions.Normal(a + b * slope[c], 1.0).log_prob(x)
            part = part + (p + density).exp() * (0.1, 0.6, 0.3)[c]
        total = total + (0.3 if a else 0.7) * part.prod(-1)
    exactly(Enumeration().estimate(TwoParents(), x), total.log())


def test_it_stands_in_a_comparison():
    x = torch.zeros(3, 2, dtype=torch.float64)
    assert compare(Mixture(), x, [Enumeration()], device="cpu").reference.name == "Enumeration"


class Mixed(Mixture):
    def model(self, x):
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(self.weights))
            z = pyro.sample("z", dist.Normal(self.means[k], 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("k", dist.Categorical(self.weights))
            pyro.sample("z", dist.Normal(x, 1.0).to_event(1))


class Endless(Pair):
    def model(self, x):
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Poisson(x.new_tensor(2.0)))
            pyro.sample("x", dist.Normal(k.unsqueeze(-1), 1.0).expand([len(x), 2]).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("k", dist.Poisson(x.new_tensor(2.0)))


class Stubborn(Mixture):
    """Takes the latent for a tensor of the data's shape."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(self.weights))
            pyro.sample("x", dist.Normal(self.means[k.view(len(x))], 1.0).to_event(1), obs=x)


class Careless(Mixture):
    """Runs for all values at once, and then takes the mean over them for the first datum's."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(self.weights))
            means = self.means[k]
            means = means if means.dim() == 2 else means.mean(0)
            pyro.sample("x", dist.Normal(means, 1.0).to_event(1), obs=x)


class Crowd(Pair):
    """Twenty latents that all meet in one sum: 2^20 values."""

    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            loc = sum(pyro.sample(f"z_{i}", dist.Bernoulli(x.new_tensor(0.5))) for i in range(20))
            pyro.sample("x", dist.Normal(loc, 1.0), obs=x[:, 0])

    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            for i in range(20):
                pyro.sample(f"z_{i}", dist.Bernoulli(x.new_tensor(0.5)))


@pytest.mark.parametrize(
    ("make", "error", "fragment"),
    [
        (Mixed, PairError, r"latent 'z' \(Normal\) is continuous"),
        (lambda: LinearGaussianVAE((2,), latent=1).double(), PairError, r"latent 'z' \(Normal\) is continuous"),
        (Endless, PairError, r"latent 'k' \(Poisson\) has no finite list"),
        (Stubborn, PairError, "does not run for all values of its latents at once"),
        (Careless, PairError, "site 'x' has another log probability when all values"),
        (Crowd, ConfigurationError, "more than max_bytes=1,000,000: write chains"),
        (lambda: DiscreteVAE((2,), latent=14).double(), ConfigurationError, r"latent 'z' has 2\^14 values"),
        (lambda: GlobalGaussian((2,)).double(), NotPerDatum, "site 'mu' lies outside plate 'data'"),
    ],
)
def test_what_cannot_be_enumerated_is_refused_by_name(make, error, fragment):
    with pytest.raises(error, match=fragment):
        Enumeration(max_bytes=10**6).estimate(make(), torch.zeros(4, 2, dtype=torch.float64))


def test_an_impossible_budget_is_refused():
    with pytest.raises(ConfigurationError, match="max_bytes must be at least 1"):
        Enumeration(max_bytes=0)
