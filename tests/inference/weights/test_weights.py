"""Log weights: per datum, vectorised over particles, within a memory budget, or refused by name."""

from __future__ import annotations

import weakref

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from pyrogen import Pair
from pyrogen.errors import ConfigurationError, NotPerDatum, PairError
from pyrogen.inference import ELBO, IWAE, ImportanceSampling, Renyi, log_weights
from pyrogen.inference.weights.chunks import chunks
from pyrogen.inference.weights.terms import reduce_site
from pyrogen.models import VAE, BetaBernoulli, GlobalGaussian, LinearGaussianVAE


def normal_pair(plate, wrap=None, guide_wrap=None, observed_scale=1.0):
    """z_i ~ N(0, 1), x_i ~ N(z_i, 1), with an exact-mean guide that is too wide; evidence N(0, 2)."""

    def model(x):
        with plate(x) as index:
            x = x if index is None else x[index]

            def body():
                z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
                with poutine.scale(scale=observed_scale):
                    pyro.sample("x", dist.Normal(z, 1.0), obs=x)

            (wrap(body) if wrap else body)()

    def guide(x):
        with plate(x) as index:
            x = x if index is None else x[index]

            def body():
                pyro.sample("z", dist.Normal(x / 2, 1.0))

            (guide_wrap(body) if guide_wrap else body)()

    return Pair.of(model, guide)


def whole(x):
    return pyro.plate("data", len(x))


def test_log_weight_is_log_joint_minus_log_guide():
    torch.manual_seed(0)
    pair = LinearGaussianVAE((5,), latent=3, guide="full").double()
    x = torch.randn(7, 5, dtype=torch.float64)
    for chunk in chunks(pair, x, 11):
        z = chunk.latents["z"]
        prior = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
        loc = z @ pair.weight.mT + pair.bias
        likelihood = torch.distributions.Normal(loc, pair.log_noise.exp()).log_prob(x[chunk.data]).sum(-1)
        posterior = dist.MultivariateNormal(pair.encoder(x[chunk.data]), scale_tril=pair._scale_tril()).log_prob(z)
        torch.testing.assert_close(chunk.log_weight, prior + likelihood - posterior, atol=1e-12, rtol=0)


def test_exact_guide_gives_the_evidence_with_one_particle():
    torch.manual_seed(0)
    pair = LinearGaussianVAE((4,), latent=2, guide="full").double()
    pair.set_exact_guide()
    x = torch.randn(50, 4, dtype=torch.float64)
    torch.testing.assert_close(log_weights(pair, x, 3), pair.log_evidence(x).expand(3, 50), atol=1e-9, rtol=0)


@pytest.mark.parametrize("objective", [IWAE(100), Renyi(0.5, 100), ELBO(100)], ids=str)
def test_bound_of_a_subsampled_plate_does_not_exceed_the_evidence(objective):
    """Pyro's RenyiELBO puts the plate's scale inside the logsumexp: its bound lies hundreds of nats above the truth."""
    torch.manual_seed(0)
    x = torch.randn(200, dtype=torch.float64) * 2**0.5
    pair = normal_pair(lambda x: pyro.plate("data", 200, subsample_size=20))
    evidence = torch.distributions.Normal(0.0, 2**0.5).log_prob(x).mean()
    values = torch.stack([-objective.loss(pair, x).detach() for _ in range(400)])
    error = values.std() / 20
    assert values.mean() <= evidence + 5 * error
    # All 200 data are represented: the bound of the whole is near, too.
    full = -objective.loss(normal_pair(whole), x).detach()
    assert abs(values.mean() - full) < 5 * error + 0.1


def test_subsample_given_by_indices_scales_the_bound():
    torch.manual_seed(0)
    x = torch.randn(30, dtype=torch.float64)
    index = torch.tensor([3, 5, 7])
    pair = normal_pair(lambda x: pyro.plate("data", 30, subsample=index))
    torch.manual_seed(1)
    part = ELBO(kl="analytic").loss(pair, x)
    torch.manual_seed(1)
    alone = ELBO(kl="analytic").loss(normal_pair(whole), x[index])
    torch.testing.assert_close(part, alone)


REFUSED = {
    "subsampled": (normal_pair(lambda x: pyro.plate("data", len(x), subsample_size=2)), "draws a subsample"),
    "scaled site": (normal_pair(whole, observed_scale=0.5), "site 'x' is scaled by 0.5"),
    "global latent": (GlobalGaussian((3,)), "outside plate 'data'"),
    "mask in the model alone": (
        normal_pair(whole, wrap=lambda body: poutine.mask(body, mask=torch.tensor([True, False, True, True]))),
        "latent 'z' has one mask in the model and another in the guide",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_evidence_per_datum_is_refused_by_name(case):
    pair, fragment = REFUSED[case]
    x = torch.zeros(4, 3) if case == "global latent" else torch.zeros(4)
    for estimator in (ELBO(), IWAE(5), ImportanceSampling(50)):
        with pytest.raises(NotPerDatum, match=fragment):
            estimator.estimate(pair, x)


def test_masked_data_weigh_nothing_and_the_others_as_before():
    mask = torch.tensor([True, False, True, True])
    masked = lambda body: poutine.mask(body, mask=mask)  # noqa: E731
    pair = normal_pair(whole, wrap=masked, guide_wrap=masked)
    x = torch.tensor([0.3, 100.0, -1.0, 2.0])
    torch.manual_seed(0)
    found = log_weights(pair, x, 6)
    torch.manual_seed(0)
    expected = log_weights(normal_pair(whole), x, 6)
    torch.testing.assert_close(found[:, mask], expected[:, mask])
    assert (found[:, 1] == 0).all()


def test_data_plate_at_the_left_of_another():
    """Two plates: data at -2, three measurements of each datum at -1; the inner one is summed."""

    def model(x):
        with pyro.plate("data", len(x), dim=-2):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            with pyro.plate("measurements", 3, dim=-1):
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-2):
            pyro.sample("z", dist.Normal(x.sum(-1, keepdim=True) / 4, 0.5))

    torch.manual_seed(0)
    x = torch.randn(6, 3, dtype=torch.float64)
    covariance = torch.eye(3, dtype=torch.float64) + 1
    evidence = torch.distributions.MultivariateNormal(x.new_zeros(3), covariance).log_prob(x)
    found = log_weights(Pair.of(model, guide), x, 5)  # the guide is the exact posterior
    torch.testing.assert_close(found, evidence.expand(5, 6), atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("shape", "dim", "nesting", "expected"),
    [
        ((5,), -1, 1, (1, 5)),
        ((4, 5), -1, 1, (4, 5)),
        ((), None, 1, (1,)),
        ((4, 1), None, 1, (4,)),
        ((4, 5, 3), -2, 2, (4, 5)),
        ((5, 1), -2, 2, (1, 5)),
        ((3, 5), -1, 2, (1, 5)),
        ((4, 1, 1), None, 2, (4,)),
    ],
)
def test_reduction_keeps_particles_and_data(shape, dim, nesting, expected):
    value = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    reduced = reduce_site(value, dim, nesting)
    assert reduced.shape == expected
    torch.testing.assert_close(reduced.sum(), value.sum())


def test_a_model_that_does_not_broadcast_is_run_particle_by_particle():
    """The view assumes two dimensions; the numbers must be right all the same."""

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z.view(len(x), 2) * 1.0, 1.0).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 2, 0.5**0.5).to_event(1))

    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    pair = Pair.of(model, guide)
    assert pair.structure(x).loop is not None
    evidence = torch.distributions.Normal(0.0, 2**0.5).log_prob(x).sum(-1)
    torch.testing.assert_close(log_weights(pair, x, 3), evidence.expand(3, 5), atol=1e-5, rtol=0)


class PeakMemory(TorchDispatchMode):
    """The most bytes that tensors made under it held at one time."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_iter(result):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                key, size = storage.data_ptr(), storage.nbytes()
                if key not in self.seen and size:
                    self.seen.add(key)
                    self.now += size
                    self.peak = max(self.peak, self.now)
                    weakref.finalize(storage, self.free, key, size)
        return result

    def free(self, key, size):
        self.seen.discard(key)
        self.now -= size


def peak_of(particles, max_bytes):
    torch.manual_seed(0)
    pair = VAE((64,), latent=4, hidden=(32,))
    x = torch.ones(10, 64)
    pair.initialise(x)
    with PeakMemory() as memory:
        for chunk in chunks(pair, x, particles, max_bytes=max_bytes):
            del chunk
    return memory.peak


def test_memory_stays_within_the_budget_and_does_not_grow_with_particles():
    budget = 400_000
    few, many = peak_of(200, budget), peak_of(4_000, budget)
    assert many <= budget
    assert many <= 1.01 * few
    assert peak_of(200, 100 * budget) > few  # the budget is what limits it


@pytest.mark.parametrize("estimator", [ELBO, IWAE, ImportanceSampling])
def test_estimates_with_many_particles_stay_within_the_budget(estimator):
    """The weights of four data, which one chunk would hold, take more than the budget."""
    particles, budget = 20_000, 20_000 * 128
    options = (
        {"draws": particles} if estimator is ELBO else {"particles": particles // 2 if estimator is IWAE else particles}
    )
    made = estimator(**options, max_bytes=budget, **({"draws": 2} if estimator is IWAE else {}))
    pair, x = BetaBernoulli((6,)), torch.ones(10, 6)
    pair.initialise(x)
    with PeakMemory() as memory:
        made.estimate(pair, x)
    assert memory.peak <= budget


def test_chunks_cover_every_particle_of_every_datum_once():
    pair = VAE((9,), latent=2, hidden=(8,))
    x = torch.ones(7, 9)
    for max_bytes in (20_000, 200_000, 2**29):
        seen = torch.zeros(23, 7)
        for chunk in chunks(pair, x, 23, max_bytes=max_bytes):
            seen[chunk.particles, chunk.data] += 1
        assert (seen == 1).all()


@pytest.mark.parametrize(
    ("particles", "max_bytes", "fragment"),
    [(0, 2**20, "at least 1, not 0"), (-3, 2**20, "not -3"), (10, 100, "more than max_bytes=100")],
)
def test_impossible_requests_are_refused(particles, max_bytes, fragment):
    with pytest.raises(ConfigurationError, match=fragment):
        log_weights(BetaBernoulli((4,)), torch.ones(3, 4), particles, max_bytes=max_bytes)


def test_data_outside_the_support_are_named_although_the_pair_was_probed_on_others():
    pair = BetaBernoulli((4,))
    x = torch.ones(2000, 4)
    pair.structure(x)
    x[1234, 2] = 0.5
    for call in (lambda: log_weights(pair, x, 3), lambda: ELBO().estimate(pair, x)):
        with pytest.raises(PairError, match=r"at index \[1234, 2\]: 0.5"):
            call()
