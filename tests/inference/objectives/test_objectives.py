"""Objectives: the value is the plain bound's, and the gradient is right on average."""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.distributions.testing.fakes import NonreparameterizedNormal as Scored
from torch import nn

from pyrogen import Pair
from pyrogen.errors import ConfigurationError, NotPerDatum, PairError
from pyrogen.inference import ELBO, IWAE, Renyi, ScoreFunction, linear_warmup
from pyrogen.inference.objectives.gradients import NoBaseline, RunningAverage
from pyrogen.inference.weights.terms import weigh
from pyrogen.models import BetaBernoulli, DiscreteVAE, GlobalGaussian, LinearGaussianVAE

STL, DREG = "sticking-the-landing", "doubly-reparameterized"
ROWS, GROUPS = 400, 150


class TwoLayers(Pair):
    """z1 ~ N(0, 1), z2 ~ N(a z1, 1), x ~ N(z2, s), and a guide that draws z1 from x and z2 from both."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(0.7))
        self.log_s = nn.Parameter(torch.tensor(-0.3))
        self.b = nn.Parameter(torch.tensor([0.3, 0.2, 0.5]))
        self.log_t = nn.Parameter(torch.tensor([-0.2, -0.4]))

    def model(self, x):
        with pyro.plate("data", len(x)):
            z1 = pyro.sample("z1", dist.Normal(x.new_zeros(()), 1.0))
            z2 = pyro.sample("z2", dist.Normal(self.a * z1, 1.0))
            pyro.sample("x", dist.Normal(z2, self.log_s.exp()), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            z1 = pyro.sample("z1", dist.Normal(self.b[0] * x, self.log_t[0].exp()))
            pyro.sample("z2", dist.Normal(self.b[1] * z1 + self.b[2] * x, self.log_t[1].exp()))

    def elbo(self, x):
        s2, t1, t2 = (2 * self.log_s).exp(), (2 * self.log_t[0]).exp(), (2 * self.log_t[1]).exp()
        m1 = self.b[0] * x
        m2 = (self.b[1] * self.b[0] + self.b[2]) * x
        v2 = self.b[1] ** 2 * t1 + t2
        slope = self.b[1] - self.a  # z2 - a z1 = slope z1 + b2 x + noise
        mean, variance = slope * m1 + self.b[2] * x, slope**2 * t1 + t2
        log2pi = math.log(2 * math.pi)
        energy = -0.5 * (m1**2 + t1 + log2pi) - 0.5 * (mean**2 + variance + log2pi)
        energy = energy - 0.5 * (((x - m2) ** 2 + v2) / s2 + s2.log() + log2pi)
        return energy + 0.5 * ((t1 * t2).log() + 2 * (1 + log2pi))


def linear():
    torch.manual_seed(1)
    pair = LinearGaussianVAE((3,), latent=2).double()
    pair.set_exact_guide(offset=0.5, scale=0.7)
    return pair, torch.tensor([0.5, -1.0, 0.3], dtype=torch.float64)


def beta():
    pair = BetaBernoulli((4,), 2.0, 3.0).double()
    pair.set_exact_guide(offset=0.3, scale=0.8)
    return pair, torch.tensor([1.0, 0.0, 1.0, 1.0], dtype=torch.float64)


def discrete():
    torch.manual_seed(2)
    pair = DiscreteVAE((4,), latent=2).double()
    return pair, torch.tensor([1.0, 0.0, 1.0, 1.0], dtype=torch.float64)


def two_layers():
    return TwoLayers().double(), torch.tensor(0.8, dtype=torch.float64)


def gradient_samples(objective, pair, x, groups=GROUPS, rows=ROWS):
    """Independent gradients, each the average over many copies of one datum: (groups, parameters)."""
    torch.manual_seed(7)
    batch = x.expand(rows, *x.shape).clone()
    parameters, state = list(pair.parameters()), {}
    found = []
    for _ in range(groups):
        loss, state, _ = objective.compute(pair, batch, state)
        grads = torch.autograd.grad(loss, parameters, allow_unused=True)
        found.append(
            torch.cat(
                [torch.zeros_like(p).flatten() if g is None else g.flatten() for g, p in zip(grads, parameters, strict=True)]
            )
        )
    return torch.stack(found)


def exact_gradient(pair, x):
    grads = torch.autograd.grad(-pair.elbo(x.unsqueeze(0)).sum(), list(pair.parameters()), allow_unused=True)
    return torch.cat(
        [torch.zeros_like(p).flatten() if g is None else g.flatten() for g, p in zip(grads, pair.parameters(), strict=True)]
    )


def assert_mean(samples, expected, other=None):
    """Means agree within five standard errors, coordinate by coordinate."""
    error = samples.std(0) / len(samples) ** 0.5
    if other is not None:
        error = (error**2 + other.var(0) / len(other)).sqrt()
    excess = (samples.mean(0) - expected).abs() / (error + 1e-12)
    assert excess.max() < 5, f"{excess.max():.1f} standard errors off"


ELBO_CASES = [
    (linear, ELBO()),
    (linear, ELBO(kl="sampled")),
    (linear, ELBO(3, kl="sampled")),
    (linear, ELBO(2, gradient=STL)),
    (beta, ELBO()),
    (beta, ELBO(gradient=STL)),
    (two_layers, ELBO()),
    (two_layers, ELBO(kl="sampled")),
    (two_layers, ELBO(2, gradient=STL)),
    (discrete, ELBO()),
    (discrete, ELBO(kl="sampled")),
    (discrete, ELBO(4)),
]


@pytest.mark.parametrize(
    ("case", "objective"),
    ELBO_CASES,
    ids=lambda v: getattr(v, "__name__", f"{v}-{vars(v).get('gradient')}-{vars(v).get('analytic')}"),
)
def test_gradient_of_the_elbo_is_exact_on_average(case, objective):
    pair, x = case()
    samples = gradient_samples(objective, pair, x)
    assert_mean(samples, exact_gradient(pair, x))
    assert samples.std(0).max() < 1  # an estimate so noisy that anything passes would show nothing


def enumerated_bound(pair, x, bound, particles):
    """E[bound(log w_1..K)] under the guide of a discrete pair, by enumerating all tuples of particles."""
    log_joint = pair._log_joint(x.unsqueeze(0))[0]  # (states,)
    logits = pair.encoder(x.unsqueeze(0))[0]
    states = pair.states
    log_guide = dist.Bernoulli(logits=logits).log_prob(states).sum(-1)  # (states,)
    weight = log_joint - log_guide
    grids = torch.cartesian_prod(*[torch.arange(len(states))] * particles)  # (tuples, particles)
    return (log_guide[grids].sum(-1).exp() * bound(weight[grids].T)).sum()


@pytest.mark.parametrize("objective", [IWAE(2), IWAE(3), Renyi(0.5, 2), Renyi(-0.5, 2), Renyi(3.0, 2)], ids=str)
def test_score_function_gradient_of_a_weighted_bound_is_exact_on_average(objective):
    pair, x = discrete()
    exact = torch.autograd.grad(-enumerated_bound(pair, x, objective.bound, objective.particles), list(pair.parameters()))
    assert_mean(gradient_samples(objective, pair, x), torch.cat([g.flatten() for g in exact]))


@pytest.mark.parametrize("case", [linear, two_layers])
@pytest.mark.parametrize("plain", [IWAE(4), Renyi(0.5, 4), Renyi(-1.0, 3)], ids=str)
def test_doubly_reparameterized_gradient_agrees_with_the_pathwise_one(case, plain):
    pair, x = case()
    double = Renyi(plain.alpha, plain.particles, gradient=DREG)
    first, second = gradient_samples(double, pair, x), gradient_samples(plain, pair, x)
    assert_mean(first, second.mean(0), second)


@pytest.mark.parametrize("objective", [ELBO(4, gradient=STL), IWAE(4, gradient=DREG)], ids=str)
def test_path_gradients_vanish_at_the_exact_posterior(objective):
    torch.manual_seed(0)
    pair = LinearGaussianVAE((3,), latent=2, guide="full").double()
    pair.set_exact_guide()
    x = torch.randn(5, 3, dtype=torch.float64)
    own = [pair.encoder.weight, pair.encoder.bias, pair.log_scale]
    noisy = torch.autograd.grad(IWAE(4).loss(pair, x), own)
    for still, moving in zip(torch.autograd.grad(objective.loss(pair, x), own), noisy, strict=True):
        assert still.abs().max() < 1e-9
        assert moving.abs().max() > 1e-3


@pytest.mark.parametrize(
    "objective",
    [
        ELBO(3, kl="sampled"),
        ELBO(3, gradient=STL),
        IWAE(3),
        IWAE(3, gradient=DREG),
        IWAE(3, gradient=STL),
        Renyi(0.5, 3),
        Renyi(0.5, 3, gradient=DREG),
        Renyi(-2.0, 3),
    ],
    ids=lambda o: f"{o}-{o.gradient}",
)
@pytest.mark.parametrize("case", [linear, beta, two_layers])
def test_value_is_that_of_the_plain_bound(objective, case):
    pair, x = case()
    batch = x.expand(6, *x.shape)
    torch.manual_seed(3)
    loss = objective.loss(pair, batch)
    torch.manual_seed(3)
    with torch.no_grad():
        weight = weigh(pair, batch, pair.structure(batch), 3).log_weight().local
    power = 1 - objective.order
    bound = weight.mean(0) if power == 0 else (power * weight).exp().mean(0).log() / power
    torch.testing.assert_close(loss.detach(), -bound.mean(), atol=1e-10, rtol=0)


def test_one_seed_gives_one_value_whatever_the_gradient():
    pair, x = discrete()
    torch.manual_seed(3)
    loss = ELBO(3, kl="sampled").loss(pair, x.expand(6, 4))
    torch.manual_seed(3)
    weight = weigh(pair, x.expand(6, 4), pair.structure(x.expand(6, 4)), 3).log_weight().local
    torch.testing.assert_close(loss.detach(), -weight.mean().detach(), atol=1e-12, rtol=0)


def test_baselines_lower_the_variance_of_the_score_function():
    pair, x = discrete()
    encoder = list(pair.encoder.parameters())
    width = sum(p.numel() for p in encoder)

    def spread(objective):
        samples = gradient_samples(objective, pair, x, groups=300, rows=4)
        names = [n for n, _ in pair.named_parameters()]
        start = sum(
            p.numel()
            for n, p in list(pair.named_parameters())[: next(i for i, n in enumerate(names) if n.startswith("encoder"))]
        )
        return samples[20:, start : start + width].var(0).sum()

    assert spread(ELBO()) < 0.8 * spread(ELBO(gradient=ScoreFunction(NoBaseline())))


def test_global_latent_counts_once_and_the_bound_is_joint():
    torch.manual_seed(0)
    pair = GlobalGaussian((2,)).double()
    x = torch.randn(6, 2, dtype=torch.float64)
    pair.set_exact_guide(x, offset=0.4, scale=0.8)
    values = torch.stack([ELBO(50, kl="sampled").loss(pair, x) for _ in range(200)]).detach()
    error = values.std() / 200**0.5
    assert abs(-values.mean() * 6 - pair.joint_elbo(x)) < 5 * error * 6
    evidence = pair.joint_log_evidence(x)
    bounds = {k: torch.stack([-IWAE(k).loss(pair, x) * 6 for _ in range(300)]).detach() for k in (1, 10, 1000)}
    assert bounds[1].mean() < bounds[10].mean() < bounds[1000].mean()
    assert bounds[1000].mean() < evidence + 5 * bounds[1000].std() / 300**0.5
    assert evidence - bounds[1000].mean() < 0.05


def test_global_latent_with_a_subsample():
    def model(x):
        mu = pyro.sample("mu", dist.Normal(x.new_zeros(()), 1.0))
        with pyro.plate("data", 12, subsample_size=3) as index:
            pyro.sample("x", dist.Normal(mu, 1.0), obs=x[index])

    def guide(x):
        pyro.sample("mu", dist.Normal(x.mean(), 0.3))

    pair = Pair.of(model, guide)
    x = torch.randn(12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    values = torch.stack([-ELBO().loss(pair, x) * 12 for _ in range(3000)])
    mean, variance = x.mean(), 0.3**2
    log2pi = math.log(2 * math.pi)
    exact = -0.5 * ((x - mean) ** 2 + variance + log2pi).sum() - 0.5 * (mean**2 + variance + log2pi)
    exact = exact + 0.5 * (math.log(variance) + 1 + log2pi)
    assert abs(values.mean() - exact) < 5 * values.std() / 3000**0.5
    with pytest.raises(NotPerDatum, match="latent site 'mu'"):
        IWAE(5).loss(pair, x)


def test_beta_weighs_the_divergence_and_never_an_evaluation():
    pair, x = linear()
    batch = x.expand(4, 3)
    seen = {}
    for weight in (0.0, 0.5, 1.0):
        torch.manual_seed(0)
        seen[weight] = ELBO().loss(pair, batch, beta=weight)
    torch.testing.assert_close(seen[0.5], (seen[0.0] + seen[1.0]) / 2)
    assert seen[1.0] > seen[0.0]
    torch.manual_seed(0)
    torch.testing.assert_close(ELBO().loss(pair, batch, beta=torch.tensor(0.5)), seen[0.5])
    with pytest.raises(ConfigurationError, match="IWAE"):
        IWAE(2).loss(pair, batch, beta=0.5)
    assert [linear_warmup(2)(step) for step in range(4)] == [0.0, 0.5, 1.0, 1.0]


def test_analytic_kl_is_not_used_where_the_guide_draws_in_another_order():
    """q(z2|x) q(z1|z2) against p(z1) p(z2|z1): the closed form given a draw of z1 would be another number."""

    class Reversed(TwoLayers):
        def guide(self, x):
            with pyro.plate("data", len(x)):
                z2 = pyro.sample("z2", dist.Normal(self.b[0] * x, self.log_t[0].exp()))
                pyro.sample("z1", dist.Normal(self.b[1] * z2, self.log_t[1].exp()))

    pair, x = Reversed().double(), torch.linspace(-1, 1, 5, dtype=torch.float64)
    assert pair.structure(x).analytic == frozenset()
    assert TwoLayers().double().structure(x).analytic == {"z1", "z2"}
    torch.manual_seed(0)
    sampled = ELBO(kl="sampled").loss(pair, x)
    torch.manual_seed(0)
    torch.testing.assert_close(ELBO(kl="analytic").loss(pair, x), sampled)


@pytest.mark.parametrize(
    ("make", "fragment"),
    [
        (lambda: ELBO(0), "particles must be at least 1"),
        (lambda: ELBO(kl="exact"), "unknown kl 'exact'"),
        (lambda: ELBO(gradient="magic"), "unknown gradient estimator 'magic'"),
        (lambda: ELBO(gradient=DREG), "no weights to reparameterize"),
        (lambda: ELBO(kl="analytic", gradient=STL), "use kl='sampled'"),
        (lambda: ELBO(draws=1), "draws must be at least 2"),
        (lambda: Renyi(1.0), "use ELBO"),
        (lambda: Renyi(math.inf), "must be finite"),
        (lambda: IWAE(5, draws=0), "draws must be at least 2"),
    ],
)
def test_impossible_objectives_are_refused(make, fragment):
    with pytest.raises(ConfigurationError, match=fragment):
        make()


def test_path_gradients_of_discrete_draws_are_refused():
    pair, x = discrete()
    with pytest.raises(PairError, match="'z' has none"):
        IWAE(3, gradient=DREG).loss(pair, x.expand(3, 4))


def test_negative_renyi_orders_are_not_reported():
    pair, x = linear()
    with pytest.raises(ConfigurationError, match="neither a lower nor an upper bound"):
        Renyi(-1.0).estimate(pair, x.expand(3, 3))


def test_score_of_a_local_draw_hears_of_what_it_moves_outside_the_plate():
    """q(z) Bernoulli in the plate, then q(mu | z) outside it: the exact ELBO by enumerating z."""

    class Outward(Pair):
        def __init__(self):
            super().__init__()
            self.logit = nn.Parameter(torch.tensor(0.3))

        def model(self, x):
            mu = pyro.sample("mu", dist.Normal(x.new_zeros(()), 1.0))
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Bernoulli(x.new_tensor(0.5)))
                pyro.sample("x", dist.Normal(mu + z, 1.0), obs=x)

        def guide(self, x):
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Bernoulli(logits=self.logit))
            pyro.sample("mu", dist.Normal(3 * z.sum(-1), 1.0))

        def elbo(self, x):
            total = 0.0
            for z, log_q in ((1.0, nn.functional.logsigmoid(self.logit)), (0.0, nn.functional.logsigmoid(-self.logit))):
                constants = -0.5 * (1 + math.log(2 * math.pi))
                energy = -0.5 * 9 * z - 0.5 * (x - 4 * z) ** 2 + constants + math.log(0.5) - log_q
                total = total + log_q.exp() * energy
            return total

    pair, x = Outward().double(), torch.tensor([0.8], dtype=torch.float64)
    (exact,) = torch.autograd.grad(-pair.elbo(x).sum(), [pair.logit])
    torch.manual_seed(0)
    found = torch.stack([torch.autograd.grad(ELBO().loss(pair, x), [pair.logit])[0] for _ in range(6000)])
    assert abs(found.mean() - exact) < 5 * found.std() / 6000**0.5
    assert found.std() / 6000**0.5 < 0.1 * exact.abs()


class SharedMean(Pair):
    """g ~ N(0, 1), z_i ~ N(0, 1), x_i ~ N(z_i + g, 1); each guide site is reparameterized or not."""

    def __init__(self, outer, inner):
        super().__init__()
        self.outer, self.inner = outer, inner
        self.mean = nn.Parameter(torch.tensor(0.4))
        self.log_scale = nn.Parameter(torch.tensor(-0.5))
        self.loc = nn.Parameter(torch.tensor([0.2, -0.3]))
        self.log_width = nn.Parameter(torch.tensor(-0.2))

    def model(self, x):
        g = pyro.sample("g", dist.Normal(x.new_zeros(()), 1.0))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z + g, 1.0), obs=x)

    def guide(self, x):
        pyro.sample("g", self.outer(self.mean, self.log_scale.exp()))
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.inner(self.loc, self.log_width.exp()))

    def elbo(self, x):
        """Of all data together, in closed form."""
        s2, t2 = (2 * self.log_scale).exp(), (2 * self.log_width).exp()
        energy = -0.5 * (self.mean**2 + s2) - 0.5 * (self.loc**2 + t2).sum()
        energy = energy - 0.5 * ((x - self.loc - self.mean) ** 2 + s2 + t2).sum()
        return energy + self.log_scale + len(x) * self.log_width


MIXES = [(outer, inner) for outer in (dist.Normal, Scored) for inner in (dist.Normal, Scored)]


@pytest.mark.parametrize(("outer", "inner"), MIXES)
@pytest.mark.parametrize(("particles", "kl"), [(1, None), (3, "sampled")])
def test_gradient_of_local_latents_beside_a_global_one_is_exact_on_average(outer, inner, particles, kl):
    # Without memory the baseline is the last step's weight; one that had seen the present weight would cancel the gradient.
    gradient = ScoreFunction(RunningAverage(0.0)) if particles == 1 else "pathwise"
    pair, x = SharedMean(outer, inner).double(), torch.tensor([2.0, -1.5], dtype=torch.float64)
    parameters, objective, state = list(pair.parameters()), ELBO(particles, kl=kl, gradient=gradient), {}
    exact = torch.cat([g.flatten() for g in torch.autograd.grad(-pair.elbo(x), parameters)])
    torch.manual_seed(5)
    found = []
    for _ in range(3000):
        loss, state, _ = objective.compute(pair, x, state)
        found.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss * len(x), parameters)]))
    samples = torch.stack(found)
    assert_mean(samples, exact)
    assert (samples.std(0) / 3000**0.5 < 0.2 * exact.abs())[exact.abs() > 1].all()  # else a lost gradient would pass


@pytest.mark.parametrize(("outer", "inner"), MIXES[1:])
@pytest.mark.parametrize("objective", [IWAE(3), Renyi(0.5, 2)], ids=str)
def test_gradient_of_a_joint_bound_is_the_pathwise_one_on_average(outer, inner, objective):
    x, means = torch.tensor([1.0, -0.5], dtype=torch.float64), []
    for kinds in ((dist.Normal, dist.Normal), (outer, inner)):
        pair = SharedMean(*kinds).double()
        parameters = list(pair.parameters())
        torch.manual_seed(6)
        found = [torch.autograd.grad(objective.loss(pair, x), parameters) for _ in range(1000)]
        means.append(torch.stack([torch.cat([g.flatten() for g in gradients]) for gradients in found]))
    assert_mean(means[1], means[0].mean(0), means[0])


def test_a_scaled_model_is_scaled_as_pyro_does():
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 3, 0.5))

    x = torch.randn(7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    scaled = pyro.poutine.scale(model, scale=0.1)
    pair = Pair.of(scaled, guide)
    pair.structure(x)
    torch.manual_seed(4)
    ours = ELBO().loss(pair, x) * 7
    torch.manual_seed(4)
    theirs = pyro.infer.Trace_ELBO().loss(scaled, guide, x)
    assert ours.item() == pytest.approx(theirs, abs=1e-9)
    with pytest.raises(NotPerDatum, match=r"is scaled by 0\.1"):
        IWAE(2).loss(pair, x)


def test_path_gradients_of_several_latents_keep_one_subsample():
    def plate():
        return pyro.plate("data", 8, subsample_size=4)

    def model(x):
        with plate() as index:
            z1 = pyro.sample("z1", dist.Normal(x.new_zeros(()), 1.0))
            z2 = pyro.sample("z2", dist.Normal(z1, 1.0))
            pyro.sample("x", dist.Normal(z2, 1.0), obs=x[index])

    def guide(x):
        with plate() as index:
            pyro.sample("z1", dist.Normal(x[index] / 3, 1.0))
            pyro.sample("z2", dist.Normal(x[index], 0.5))

    pair, x = Pair.of(model, guide), 10 * torch.arange(8.0, dtype=torch.float64)
    pair.structure(x)
    values = []
    for gradient in ("pathwise", STL):
        torch.manual_seed(2)
        values.append(ELBO(kl=None if gradient == STL else "sampled", gradient=gradient).loss(pair, x))
    torch.testing.assert_close(values[0], values[1])


@pytest.mark.parametrize("layer", [nn.Dropout(0.5), nn.BatchNorm1d(1)])
def test_layers_that_change_from_run_to_run_are_refused_where_the_guide_runs_again(layer):
    pair = TwoLayers()
    pair.layer = layer
    with pytest.raises(PairError, match=type(layer).__name__):
        ELBO(gradient=STL).loss(pair, torch.zeros(4))
    pair.eval()
    ELBO(gradient=STL).loss(pair, torch.zeros(4))
