"""Particle filters against the Kalman filter, the forward recursion, quadrature and enumeration."""

from __future__ import annotations

import itertools
import math

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import pytest
import torch
from oracles import sequences
from torch import nn

from pyrogen import Pair
from pyrogen.errors import ConfigurationError, NotPerDatum, PairError
from pyrogen.inference import Comparison, Exact, ImportanceSampling, compare
from pyrogen.inference.estimators.estimate import Draws
from pyrogen.inference.estimators.filtering import ParticleFilter
from pyrogen.inference.estimators.filtering.islands import Islands
from pyrogen.inference.estimators.filtering.particle_filter import _choose
from pyrogen.inference.estimators.filtering.timeline import timeline
from pyrogen.inference.weights.evaluation import evaluation
from pyrogen.models import HiddenMarkov, LinearGaussianVAE

F64 = torch.float64


def hidden(rows=6, steps=10):
    torch.manual_seed(2)
    pair = HiddenMarkov((steps, 2), states=3).double()
    return pair, torch.rand(rows, 2 * steps, dtype=F64).round()


def agrees(found, expected, errors=5.0):
    return ((found.log_prob - expected).abs() < errors * found.standard_error).all()


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("guide", ["exact", "optimal", "off", "prior"])
def test_it_finds_the_kalman_filter_s_evidence(guide, threshold):
    pair, x = sequences()
    if guide == "exact":
        pair.set_exact_guide()
    elif guide == "optimal":
        pair.set_optimal_filter()
    elif guide == "off":
        pair.set_optimal_filter(offset=0.3, scale=1.2)
    filter = ParticleFilter(100, islands=50, ess_threshold=threshold, proposal="prior" if guide == "prior" else "guide")
    torch.manual_seed(3)
    found = filter.estimate(pair, x)
    if guide == "exact" and threshold == 0:
        assert torch.allclose(found.log_prob, pair.log_evidence(x), rtol=0, atol=1e-9)
    else:
        assert agrees(found, pair.log_evidence(x))
    assert found.standard_error.max() < 0.5
    assert (found.ess > 50).all()
    assert (found.ess < 4999).all() or threshold == 0
    least, most = {0.0: (0, 0), 0.5: (0, 7), 1.0: (6, 7)}[threshold]  # equal weights need no resampling
    assert (found.diagnostics["resamplings"] >= least).all()
    assert (found.diagnostics["resamplings"] <= most).all()
    assert found.evaluations == 5000 * 6 if threshold == 0 else found.evaluations >= 5000 * 6
    assert not found.log_prob.requires_grad


@pytest.mark.parametrize("guided", [True, False])
def test_it_finds_the_forward_recursion_s_evidence(guided):
    pair, x = hidden(steps=16)
    torch.manual_seed(4)
    found = ParticleFilter(100, islands=50, proposal="guide" if guided else "prior").estimate(pair, x)
    assert agrees(found, pair.log_evidence(x))
    assert found.diagnostics["resamplings"].min() > 0.5


@pytest.mark.parametrize("make", [sequences, hidden])
@pytest.mark.parametrize("threshold", [0.5, 1.0])
def test_the_evidence_is_unbiased_with_few_particles(make, threshold):
    """The mean over 8,000 filters of 6 particles, in units of the truth, is 1."""
    pair, x = make(steps=6, rows=1)
    pair.set_optimal_filter()
    torch.manual_seed(5)
    found = ParticleFilter(6, islands=40, ess_threshold=threshold, draws=0).estimate(pair, x.expand(200, -1))
    each = (found.log_prob - pair.log_evidence(x)).exp()  # means of 40 filters
    error = each.std() / math.sqrt(200)
    assert error < 0.02
    assert abs(each.mean() - 1) < 5 * error
    # One filter alone errs downwards on the log scale: the test can tell a bias of that size.
    assert abs((found.log_prob - pair.log_evidence(x)).mean()) < 5 * found.standard_error.mean()


def test_the_standard_error_is_the_spread_of_independent_estimates():
    pair, x = sequences(steps=5, rows=1)
    torch.manual_seed(6)
    found = ParticleFilter(30, islands=20, proposal="prior", draws=0).estimate(pair, x.expand(1000, -1))
    # The standard error of a standard deviation of 1,000 normals is its 1/45th part.
    assert abs(found.standard_error.square().mean().sqrt() / found.log_prob.std() - 1) < 5 / 45


class StochasticVolatility(Pair):
    """``z_t ~ N(0.9 z_{t-1}, 0.5^2)``, ``x_t ~ N(0, exp(z_t))``: the log variance of a price's changes."""

    steps, drift = 8, 0.5

    def __init__(self, limit=None):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(0.2, dtype=F64))
        self.limit = limit

    def model(self, x):
        z = x.new_zeros(())
        with pyro.plate("data", len(x)):
            for t in pyro.markov(range(self.steps)):
                z = pyro.sample(f"z_{t}", dist.Normal(0.9 * z, self.drift))
                pyro.sample(f"x_{t}", dist.Normal(x.new_zeros(()), (z / 2).exp()), obs=x[:, t])
                if self.limit is not None:
                    pyro.factor(f"limit_{t}", torch.where(z > self.limit, math.nan, 0.0))

    def guide(self, x):
        z = x.new_zeros(())
        with pyro.plate("data", len(x)):
            for t in pyro.markov(range(self.steps)):
                z = pyro.sample(f"z_{t}", dist.Normal(0.9 * z + self.slope * (x[:, t].abs() - 0.8), 0.55))

    def by_quadrature(self, x, nodes=401, reach=6.0):
        """log p(x) of each datum, by a forward filter on a grid: the trapezoid rule is exact but for e^-50."""
        grid = torch.linspace(-reach, reach, nodes, dtype=F64)
        cell = grid[1] - grid[0]
        likely = torch.distributions.Normal(0.0, (grid / 2).exp()).log_prob(x.unsqueeze(-1))  # (data, steps, nodes)
        if self.limit is not None:
            likely = torch.where(grid > self.limit, -math.inf, likely)
        kernel = torch.distributions.Normal(0.9 * grid.unsqueeze(-1), self.drift).log_prob(grid) + cell.log()
        joint = torch.distributions.Normal(0.0, self.drift).log_prob(grid) + cell.log() + likely[:, 0]
        for t in range(1, self.steps):
            joint = (joint.unsqueeze(-1) + kernel).logsumexp(-2) + likely[:, t]
        return joint.logsumexp(-1)


@pytest.mark.parametrize("proposal", ["guide", "prior"])
def test_a_nonlinear_model_against_quadrature(proposal):
    torch.manual_seed(7)
    pair = StochasticVolatility()
    x = 1.5 * torch.randn(5, pair.steps, dtype=F64)
    expected = pair.by_quadrature(x)
    assert torch.allclose(expected, pair.by_quadrature(x, nodes=201, reach=7.0), rtol=0, atol=1e-8)
    found = ParticleFilter(200, islands=50, proposal=proposal).estimate(pair, x)
    assert agrees(found, expected)


def test_sequences_of_different_lengths_have_the_evidence_of_their_own_steps():
    lengths = torch.tensor([1, 3, 8, 5, 2, 8])
    for pair, x in (sequences(), hidden(steps=8)):
        pair.set_optimal_filter()
        torch.manual_seed(8)
        found = ParticleFilter(100, islands=50).estimate(pair, (x, lengths))
        expected = pair.log_evidence(x, lengths)
        # Where all is in the first step, the weights are equal.
        assert ((found.log_prob - expected).abs() < 5 * found.standard_error + 1e-9).all()
        assert found.standard_error[0] < 1e-9
        assert found.diagnostics["resamplings"][0] == 0


class Uneven(Pair):
    """A random walk that some data are seen to walk sharply, and others dimly."""

    steps = 24

    def model(self, x, noise):
        z = x.new_zeros(())
        with pyro.plate("data", len(x)):
            for t in pyro.markov(range(self.steps)):
                z = pyro.sample(f"z_{t}", dist.Normal(z, 1.0))
                pyro.sample(f"x_{t}", dist.Normal(z, noise[:, t]), obs=x[:, t])

    def log_evidence(self, x, noise):
        order = torch.arange(self.steps, dtype=F64)
        covariance = 1 + torch.minimum(order.unsqueeze(0), order.unsqueeze(1)) + noise.square().diag_embed()
        return torch.distributions.MultivariateNormal(torch.zeros_like(x), covariance).log_prob(x)


def test_filters_that_are_seldom_resampled_wait_for_those_that_often_are():
    """Some filters come to the end of a run that stops on the way, and go on from there in the next."""
    pair = Uneven()
    noise = torch.full((4, pair.steps), 0.3, dtype=F64)
    noise[1:3, 1:] = 8.0
    noise[3] = 50.0  # never resampled: at the end after the first run
    torch.manual_seed(22)
    x = torch.randn(4, pair.steps, dtype=F64).cumsum(1) + noise * torch.randn(4, pair.steps, dtype=F64)
    found = ParticleFilter(200, islands=50, proposal="prior").estimate(pair, (x, noise))
    assert agrees(found, pair.log_evidence(x, noise))
    often, *seldom, never = found.diagnostics["resamplings"].tolist()
    assert often > 15
    assert 1 <= min(seldom) <= max(seldom) < 8
    assert never == 0
    # A run that stops on the way replays but a part of what a filter that is at the end already knows, and is no lie.
    x, noise = x[:1].repeat(20, 1), noise[:1].repeat(20, 1)
    noise[7] = 50.0
    assert ParticleFilter(20, islands=2, proposal="prior").estimate(pair, (x, noise)).evaluations < 40 * 20 * 22


class Recurrent(Pair):
    """A binary latent whose probability depends on all before it, through the state of a recurrent network."""

    steps = 5

    def __init__(self):
        super().__init__()
        torch.manual_seed(9)
        self.weight, self.of_z, self.guide_weight = (nn.Parameter(torch.randn(3, 3, dtype=F64)) for _ in range(3))

    def model(self, x):
        h = x.new_zeros(3)
        with pyro.plate("data", len(x)):
            for t in pyro.markov(range(self.steps)):
                z = pyro.sample(f"z_{t}", dist.Bernoulli(logits=3 * h.sum(-1)))
                pyro.sample(f"x_{t}", dist.Normal(2 * z - 1, 1.0), obs=x[:, t])
                h = torch.tanh(h @ self.weight + (2 * z - 1).unsqueeze(-1) * self.of_z[0])

    def guide(self, x):
        h = x.new_zeros(3)
        with pyro.plate("data", len(x)):
            for t in pyro.markov(range(self.steps)):
                z = pyro.sample(f"z_{t}", dist.Bernoulli(logits=h.sum(-1) + x[:, t]))
                seen = z.unsqueeze(-1) * self.of_z[1] + x[:, t].unsqueeze(-1) * self.of_z[2]
                h = torch.tanh(h @ self.guide_weight + seen)

    def by_enumeration(self, x):
        total = []
        for path in itertools.product([0.0, 1.0], repeat=self.steps):
            draws = {f"z_{t}": x.new_full((len(x),), value) for t, value in enumerate(path)}
            trace = poutine.trace(poutine.condition(self.model, data=draws)).get_trace(x)
            trace.compute_log_prob()
            total.append(sum(trace.nodes[f"{site}_{t}"]["log_prob"] for t in range(self.steps) for site in "zx"))
        return torch.stack(total).logsumexp(0)


@pytest.mark.parametrize("proposal", ["guide", "prior"])
def test_a_program_whose_state_depends_on_all_earlier_draws(proposal):
    """What was computed from draws that have not survived must not go on."""
    pair = Recurrent()
    x = torch.randn(4, pair.steps, dtype=F64, generator=torch.Generator().manual_seed(10))
    torch.manual_seed(10)
    found = ParticleFilter(100, islands=50, ess_threshold=1.0, proposal=proposal).estimate(pair, x)
    assert agrees(found, pair.by_enumeration(x).detach())


def test_ancestors_are_the_first_step_s_particles_with_descendants():
    pair, x = sequences()
    with evaluation(pair):
        structure = pair.structure(x)
        times, sizes = timeline(pair, x, structure), {"particles": 40, "islands": 3, "threshold": 0.9}
        filters = Islands(pair, x, times, nesting=structure.nesting, guided=True, **sizes)
        torch.manual_seed(11)
        found = filters.filtered()
    first = found.latents["z_0"][..., 0].reshape(40, 3, 6)  # (particles, islands, data)
    distinct = [[len(first[:, i, j].unique()) for j in range(6)] for i in range(3)]
    assert found.ancestors.tolist() == distinct
    assert found.ancestors.max() < 40
    total = found.log_weight.reshape(40, 3, 6).logsumexp(0)
    assert torch.allclose(total, found.log_evidence, rtol=0, atol=1e-9)


def test_draws_are_histories_from_the_posterior():
    pair, x = hidden(steps=5, rows=3)
    torch.manual_seed(11)
    estimate = ParticleFilter(20_000, islands=2, draws=4000).estimate(pair, x)
    states = torch.stack([estimate.draws.latents[f"z_{t}"] for t in range(5)], -1)  # (draws, data, steps)
    expected = pair.posterior(x).probs  # (data, steps, states)
    seen = torch.nn.functional.one_hot(states, 3).double().mean(0)
    # The draws are 4,000 of some thousands of different histories: half as many again for the noise of these.
    assert ((seen - expected).abs() < 5 * (1.5 * expected * (1 - expected) / 4000).sqrt()).all()
    log_likelihood = sum(
        torch.distributions.Bernoulli(logits=pair.emission[states[..., t]]).log_prob(x[:, 2 * t : 2 * t + 2]).sum(-1)
        for t in range(5)
    )
    assert torch.allclose(estimate.draws.log_likelihood, log_likelihood, rtol=0, atol=1e-9)
    together = pair._emission(x, 0).unsqueeze(-1) + pair._emission(x, 1).unsqueeze(-2)
    together = together + pair.initial.log_softmax(-1).unsqueeze(-1) + pair.transition.log_softmax(-1)
    later = torch.zeros_like(x[:, :3])
    for t in (4, 3, 2):
        later = (pair.transition.log_softmax(-1) + (pair._emission(x, t) + later).unsqueeze(-2)).logsumexp(-1)
    joint = (together + later.unsqueeze(-2)).flatten(1).softmax(-1)  # (data, pairs of states), of steps 0 and 1
    seen = torch.nn.functional.one_hot(3 * states[..., 0] + states[..., 1], 9).double().mean(0)
    assert ((seen - joint).abs() < 5 * (1.5 * joint * (1 - joint) / 4000).sqrt()).all()


class Walk(Pair):
    """A random walk, whose programs mark time, or don't, as they are told."""

    def __init__(self, loop=pyro.markov, *, backwards=False, split=False, ahead=False, noise=0.0, steps=6):
        super().__init__()
        self.loop, self.backwards, self.split, self.ahead, self.noise, self.steps = (
            loop,
            backwards,
            split,
            ahead,
            noise,
            steps,
        )

    def model(self, x):
        z, drawn = x.new_zeros(()), []
        with pyro.plate("data", len(x)):
            start = pyro.sample("start", dist.Normal(x.new_zeros(()), 1.0))
            for t in self.loop(range(self.steps)):
                z = pyro.sample(f"z_{t}", dist.Normal(start if t == 0 else z, 1.0))
                drawn.append(z)
                if not self.split:
                    self.see(x, t, z)
            for t in self.loop(range(self.steps)) if self.split else ():
                self.see(x, t, drawn[min(t + self.ahead, self.steps - 1)])
            pyro.sample("end", dist.Normal(z, 1.0), obs=x[:, 0])

    def see(self, x, t, z):
        noise = self.noise * torch.rand((), dtype=F64) if self.noise else 0.0
        pyro.sample(f"x_{t}", dist.Normal(z + noise, 0.5), obs=x[:, t])

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("start", dist.Normal(x[:, 0] / 2, 1.0))
            for t in self.loop(list(range(self.steps))[:: -1 if self.backwards else 1]):
                pyro.sample(f"z_{t}", dist.Normal(x[:, t], 0.6))

    def log_evidence(self, x):
        """By the covariance of all observations."""
        order = torch.arange(self.steps, dtype=F64)
        walk = 2 + torch.minimum(order.unsqueeze(0), order.unsqueeze(1))  # of z_0 it is 2
        places = [*(min(t + self.ahead, self.steps - 1) for t in range(self.steps)), self.steps - 1]
        covariance = walk[places][:, places] + torch.tensor([0.25] * self.steps + [1.0], dtype=F64).diag()
        normal = torch.distributions.MultivariateNormal(torch.zeros(self.steps + 1, dtype=F64), covariance)
        return normal.log_prob(torch.cat([x, x[:, :1]], -1))


def walk_data(steps=6):
    return torch.randn(5, steps, dtype=F64, generator=torch.Generator().manual_seed(12))


class Named(Walk):
    """Time by the names of the sites."""

    def time_of(self, name):
        return int(name.split("_")[1]) if "_" in name else None


def in_turn(steps):
    return pyro.plate("time", len(steps))


@pytest.mark.parametrize(
    "pair",
    [Walk(steps=12), Walk(in_turn, steps=12), Named(iter, steps=12), Walk(split=True, steps=12)],
    ids=["markov", "time plate", "time_of", "two loops"],
)
def test_time_is_known_by_any_of_its_marks(pair):
    x = walk_data(12)
    with evaluation(pair):
        line = timeline(pair, x, pair.structure(x))
    expected = {f"{site}_{t}": t for t in range(12) for site in "zx"} | {"start": 0, "end": 11}
    assert line.steps == expected
    assert line.length == 12
    assert line.ordered == (not pair.split)
    torch.manual_seed(13)
    assert agrees(ParticleFilter(100, islands=50, ess_threshold=1.0).estimate(pair, x), pair.log_evidence(x))


def test_what_the_guide_alone_visits_counts_against_its_step():
    class Factored(Walk):
        def guide(self, x):
            with pyro.plate("data", len(x)):
                pyro.sample("start", dist.Normal(x[:, 0] / 2, 1.0))
                for t in pyro.markov(range(self.steps)):
                    pyro.sample(f"z_{t}", dist.Normal(x[:, t], 0.6))
                    pyro.factor(f"f_{t}", x.new_tensor(0.1 * t), has_rsample=False)

    pair, x = Factored(), walk_data()
    with evaluation(pair):
        assert [timeline(pair, x, pair.structure(x)).steps[f"f_{t}"] for t in range(6)] == list(range(6))
    torch.manual_seed(14)
    assert agrees(ParticleFilter(100, islands=50).estimate(pair, x), pair.log_evidence(x) - 1.5)


def test_a_pair_may_have_no_guide_where_the_prior_proposes():
    class NoGuide(Walk):
        def guide(self, x):
            pass

    pair, x = NoGuide(), walk_data()
    torch.manual_seed(14)
    assert agrees(ParticleFilter(100, islands=50, proposal="prior").estimate(pair, x), pair.log_evidence(x))
    with pytest.raises(PairError, match="neither observed nor sampled by the guide"):
        ParticleFilter(10).estimate(pair, x)
    named = ParticleFilter(100, islands=50, proposal="prior").estimate(Named(iter), x)
    assert agrees(named, pair.log_evidence(x))


def test_groups_of_islands_are_drawn_from_in_proportion_to_their_evidence():
    """Three islands in groups of two and one, of evidence 1, 2 and 1, 2 for one datum and all zero for the other."""
    groups = [Draws({"z": torch.full((4000, 2), value)}, torch.zeros(4000, 2)) for value in (0.0, 1.0)]
    log_evidence = torch.tensor([[0.0, -math.inf], [math.log(2), -math.inf], [0.0, -math.inf]], dtype=F64)
    torch.manual_seed(23)
    share = _choose(groups, log_evidence, 2).latents["z"].double().mean(0)
    expected = torch.tensor([0.25, 0.5], dtype=F64)
    assert ((share - expected).abs() < 5 * (expected * (1 - expected) / 4000).sqrt()).all()


def test_data_outside_the_support_are_refused_by_their_number():
    pair, x = hidden()
    pair.structure(x)  # known from good data
    x[4, 7] = 0.5
    with pytest.raises(PairError, match=r"'x_3' observes a value outside .* at index \[4, 1\]"):
        ParticleFilter(10).estimate(pair, x)


def test_parameters_of_plain_functions_stay_in_their_pair():
    def model(x):
        scale = pyro.param("scale", torch.tensor(0.8, dtype=F64))
        z = x.new_zeros(())
        with pyro.plate("data", len(x)):
            for t in pyro.markov(range(6)):
                z = pyro.sample(f"z_{t}", dist.Normal(z, scale), infer={"enumerate": "parallel"})
                pyro.sample(f"x_{t}", dist.Normal(z, 0.5), obs=x[:, t])

    pair, x = Pair.of(model, lambda x: None), walk_data()
    walk = torch.minimum(torch.arange(6).unsqueeze(0), torch.arange(6).unsqueeze(1)) + 1
    covariance = 0.64 * walk.double() + 0.25 * torch.eye(6, dtype=F64)
    expected = torch.distributions.MultivariateNormal(torch.zeros(6, dtype=F64), covariance).log_prob(x)
    for proposal in ("prior", "guide"):  # a site that Pyro would sum out is proposed from the prior in either
        torch.manual_seed(15)
        assert agrees(ParticleFilter(100, islands=50, proposal=proposal).estimate(pair, x), expected)
        assert [name for name, _ in pair.named_parameters()] == ["pyro_params.scale"]
        assert len(pyro.get_param_store()) == 0


def test_a_nan_is_contained_and_counted():
    torch.manual_seed(16)
    pair = StochasticVolatility(limit=2.5)
    x = 3 * torch.randn(4, pair.steps, dtype=F64)
    found = ParticleFilter(200, islands=50, proposal="prior").estimate(pair, x)
    smooth = pair.by_quadrature(x, nodes=1001)
    assert ((found.log_prob - smooth).abs() < 5 * found.standard_error + 2e-3).all()  # the grid has a kink at the limit
    assert (found.diagnostics["lost"] > 0).all()
    assert "not a number" in found.warnings()[0]
    whole = ParticleFilter(200, islands=50, proposal="prior").estimate(StochasticVolatility(), x)
    assert (whole.diagnostics["lost"] == 0).all()


def test_a_datum_that_no_particle_explains_is_alone_in_that():
    class Impossible(Walk):
        def see(self, x, t, z):
            possible = x[:, t] < 50
            pyro.sample(f"x_{t}", dist.Normal(z, 0.5), obs=x[:, t])
            pyro.factor(f"only_{t}", torch.where(possible, 0.0, -math.inf).expand(z.shape))

    x = walk_data()
    expected = Walk().log_evidence(x)
    x[2, 3] = 100.0
    torch.manual_seed(17)
    found = ParticleFilter(50, islands=40).estimate(Impossible(), x)
    assert found.log_prob[2] == -math.inf
    assert found.diagnostics["extinct"].tolist() == [0, 0, 40, 0, 0]
    others = [0, 1, 3, 4]
    assert ((found.log_prob - expected).abs() < 5 * found.standard_error)[others].all()
    assert found.draws.latents["z_5"].shape == (100, 5)
    assert any("lost all their particles" in sentence for sentence in found.warnings())
    x = walk_data(12)
    x[:, 5] = 100.0  # no filter comes to the end
    none = ParticleFilter(50, islands=4, ess_threshold=1.0).estimate(Impossible(steps=12), x)
    assert none.log_prob.tolist() == [-math.inf] * 5
    assert none.draws.latents["z_11"].shape == (100, 5)


def test_little_memory_takes_more_turns_to_the_same():
    """Few data and few islands at a time: each datum's estimate is near its own evidence."""
    pair, x = sequences(rows=9)
    x = x * torch.linspace(0.2, 2, 9, dtype=F64).unsqueeze(-1)
    pair.set_optimal_filter()
    for max_bytes in (10**7, 2 * 10**6):
        filter = ParticleFilter(50, islands=30, max_bytes=max_bytes)
        torch.manual_seed(18)
        found = filter.estimate(pair, x)
        assert agrees(found, pair.log_evidence(x))
        assert found.draws.latents["z_7"].shape == (100, 9, 2)
        expected = sum(
            torch.distributions.Normal(found.draws.latents[f"z_{t}"] @ pair.weight.mT + pair.bias, pair.log_noise.exp())
            .log_prob(x[:, 2 * t : 2 * t + 2])
            .sum(-1)
            for t in range(8)
        )
        assert torch.allclose(found.draws.log_likelihood, expected, rtol=0, atol=1e-9)
    structure = pair.structure(x)
    assert filter._sizes(pair, x, structure)[1] < 30
    with pytest.raises(ConfigurationError, match="more than max_bytes=1,000"):
        ParticleFilter(50, max_bytes=1000).estimate(pair, x)


def test_single_precision_will_do():
    pair, x = sequences(steps=20, rows=4)
    torch.manual_seed(19)
    pair.set_optimal_filter()
    expected = pair.log_evidence(x)
    found = ParticleFilter(100, islands=30).estimate(pair.float(), x.float())
    assert agrees(found, expected)
    assert found.draws.latents["z_0"].dtype == torch.float32
    pair, x = hidden(steps=20, rows=4)
    assert agrees(ParticleFilter(100, islands=30).estimate(pair.float(), x.float()), pair.double().log_evidence(x))


def test_many_resamplings_cost_no_more_than_the_one_filter_that_has_most():
    pair, x = hidden(steps=20)
    found = ParticleFilter(50, islands=4).estimate(pair, x)
    assert found.evaluations < 200 * 6 * (1.5 * found.diagnostics["resamplings"].max() + 2)


def test_it_takes_its_place_in_a_comparison(tmp_path):
    pair, x = sequences(rows=3)
    pair.set_optimal_filter()
    pair.train()
    torch.manual_seed(20)
    comparison = compare(pair, x, [ParticleFilter(50), ImportanceSampling(200), Exact()])
    assert pair.training
    assert "PF(10x50)" in str(comparison)
    comparison.save(tmp_path / "saved")
    loaded = Comparison.load(tmp_path / "saved").estimates[0]
    assert torch.equal(loaded.diagnostics["ancestors"], comparison.estimates[0].diagnostics["ancestors"])
    assert loaded.freedom == 9
    assert ParticleFilter(50).record()["ess_threshold"] == 0.5


def coupled(x):
    z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
    with pyro.plate("data", len(x)):
        for t in pyro.markov(range(6)):
            pyro.sample(f"x_{t}", dist.Normal(z, 1.0), obs=x[:, t])


def coupled_guide(x):
    pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda x: ParticleFilter(1), ConfigurationError, "at least 2"),
        (lambda x: ParticleFilter(10, islands=1), ConfigurationError, "islands must be at least 2"),
        (lambda x: ParticleFilter(10, ess_threshold=1.5), ConfigurationError, "between 0 and 1"),
        (lambda x: ParticleFilter(10, ess_threshold=math.nan), ConfigurationError, "between 0 and 1"),
        (lambda x: ParticleFilter(10, proposal="posterior"), ConfigurationError, "'guide' or 'prior'"),
        (lambda x: ParticleFilter(10, draws=-1), ConfigurationError, "draws must be at least 0"),
        (lambda x: ParticleFilter(10).estimate(Walk(iter), x), PairError, "no site of the model is marked with time"),
        (
            lambda x: ParticleFilter(10).estimate(LinearGaussianVAE((6,)).double(), x),
            PairError,
            "no site of the model is marked with time",
        ),
        (lambda x: ParticleFilter(10).estimate(Walk(backwards=True), x), PairError, "'z_4', of step 4, after 'z_5'"),
        (lambda x: ParticleFilter(10).estimate(Walk(split=True, ahead=True), x), PairError, "steps change when later"),
        (lambda x: ParticleFilter(10).estimate(Walk(noise=1.0), x), PairError, "steps change when later"),
        (lambda x: ParticleFilter(10).estimate(Pair.of(coupled, coupled_guide), x), NotPerDatum, "'z' lies outside"),
        (
            lambda x: ParticleFilter(10).estimate(Walk(), x.index_fill(0, torch.tensor(3), math.nan)),
            PairError,
            "does not run on this batch",
        ),
    ],
)
def test_what_cannot_be_filtered_is_refused(call, error, said):
    torch.manual_seed(21)
    with pytest.raises(error, match=said):
        call(walk_data())
