"""The score function gradient where draws lie in plates: each cell answers for itself, and only where it may."""

from __future__ import annotations

import itertools

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO

from pyrogen.batch import arguments
from pyrogen.inference import ELBO, ScoreFunction, fit
from pyrogen.inference.objectives.gradients.score_function import LeaveOneOut, NoBaseline, RunningAverage
from pyrogen.inference.weights.divergence import kl_divergence
from pyrogen.pair import Pair
from pyrogen.programs.run import run_guide, run_model

ROWS, CELLS = 2, 2
X = torch.randn(ROWS, CELLS, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def bits(name, logits):
    return pyro.sample(name, dist.Bernoulli(logits=logits))


def data(x):
    return pyro.plate("data", len(x), dim=-2)


def inner(x):
    return pyro.plate("inner", x.shape[1], dim=-1)


def observe(x, mean):
    pyro.sample("x", dist.Normal(mean, 1.0), obs=x)


class Bits(Pair):
    """Bits in two plates; the parameters are the guide's."""

    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.tensor([0.3, -0.5, 0.4, 0.2], dtype=torch.float64))


class Independent(Bits):
    def model(self, x):
        with data(x), inner(x):
            observe(x, 2 * bits("z", 0 * x))

    def guide(self, x):
        with data(x), inner(x):
            bits("z", self.w[0] + self.w[1] * x)


class TwoLayers(Bits):
    """A bit of each datum above the bits of its cells; the guide draws it first."""

    def model(self, x):
        with data(x):
            top = bits("top", 0 * x[:, :1])
            with inner(x):
                observe(x, 2 * bits("z", top - 0.5 + 0 * x))

    def guide(self, x):
        with data(x):
            top = bits("top", self.w[2] + x.sum(-1, keepdim=True))
            with inner(x):
                bits("z", self.w[0] + self.w[1] * x + self.w[3] * top)


class Shared(Bits):
    """A bit that all data share; data move their own bits alone."""

    def model(self, x):
        top = bits("top", x.new_zeros(()))
        with data(x), inner(x):
            observe(x, 2 * bits("z", top - 0.5 + 0 * x))

    def guide(self, x):
        top = bits("top", self.w[2] + x.sum())
        with data(x), inner(x):
            bits("z", self.w[0] + self.w[1] * x + self.w[3] * top)


class Chain(Independent):
    """A cell's likelihood depends on the bit of the cell before."""

    def model(self, x):
        with data(x), inner(x):
            z = bits("z", 0 * x)
            observe(x, 2 * z + 3 * z.roll(1, -1))


class Upwards(Bits):
    """The guide draws the bit of the datum after those of its cells, and the likelihood of all cells depends on it."""

    def model(self, x):
        with data(x):
            top = bits("top", 0 * x[:, :1])
            with inner(x):
                observe(x, 2 * bits("z", 0 * x) + 5 * top)

    def guide(self, x):
        with data(x):
            with inner(x):
                z = bits("z", self.w[0] + self.w[1] * x)
            bits("top", self.w[2] + 10 * self.w[3] * (z.sum(-1, keepdim=True) - 1))


class InTurn(Bits):
    """Of two bits of a cell the guide draws the second by the first of the cell before."""

    def model(self, x):
        with data(x), inner(x):
            observe(x, 2 * bits("first", 0 * x) + bits("second", 0 * x))

    def guide(self, x):
        with data(x), inner(x):
            first = bits("first", self.w[0] + self.w[1] * x)
            bits("second", self.w[2] + 2 * first.roll(1, -1))


PAIRS = {
    Independent: {"inner"},
    TwoLayers: {"inner"},
    Shared: {"data", "inner"},
    Chain: set(),
    Upwards: set(),
    InTurn: set(),
}


@pytest.mark.parametrize(("pair", "plates"), PAIRS.items())
def test_only_plates_whose_cells_do_not_meet_are_independent(pair, plates):
    for seed in range(3):
        torch.manual_seed(seed)
        assert pair().structure(torch.randn(5, 4, dtype=torch.float64)).independent == plates


@pytest.mark.parametrize("shift", [1, -1, 2, -2, 4, -5])
def test_a_coupling_of_any_distance_and_direction_is_seen(shift):
    class Shifted(Independent):
        def model(self, x):
            with data(x), inner(x):
                z = bits("z", 0 * x)
                padded = torch.nn.functional.pad(z, (max(shift, 0), max(-shift, 0)))
                observe(x, 2 * z + (padded[:, : x.shape[1]] if shift > 0 else padded[:, -x.shape[1] :]))

    torch.manual_seed(0)
    assert Shifted().structure(torch.randn(5, 12, dtype=torch.float64)).independent == set()


def test_a_latent_whose_values_never_differ_leaves_its_plate_out():
    class Certain(Chain):
        def model(self, x):
            with data(x), inner(x):
                observe(x, 3 * bits("z", 0 * x + 200).roll(1, -1))

        def guide(self, x):
            with data(x), inner(x):
                bits("z", 0 * x + 200)

    assert Certain().structure(torch.randn(5, 4, dtype=torch.float64)).independent == set()


def test_the_divergence_of_several_particles_from_a_prior_without_them():
    logits = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0))
    posterior, prior = dist.Bernoulli(logits=logits), dist.Bernoulli(logits=torch.zeros(2, 4))
    p = posterior.probs
    expected = p * (2 * p).log() + (1 - p) * (2 - 2 * p).log()
    torch.testing.assert_close(kl_divergence(posterior, prior), expected)


class ZeroAtFirst(Upwards):
    """As `Upwards`, by a parameter that begins at zero."""

    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.zeros_like(self.w))


def of_statements():
    def guide(x):
        coupling = pyro.param("coupling", torch.zeros((), dtype=torch.float64))
        with data(x):
            with inner(x):
                z = bits("z", x)
            bits("top", coupling * z.sum(-1, keepdim=True))

    return Pair.of(lambda x: Upwards.model(None, x), guide)


@pytest.mark.parametrize("pair", [ZeroAtFirst, of_statements])
def test_a_coupling_that_begins_at_zero_is_seen(pair):
    pair = pair()
    assert pair.structure(torch.randn(5, 4, dtype=torch.float64)).independent == set()
    assert all(bool((value == 0).all()) for value in pair.parameters())  # they are put back


def exact(pair, x):
    """The ELBO of all data, (), summed over all values of the bits."""
    args, kwargs = arguments(x)
    with pair.scope():
        first = run_guide(pair, args, kwargs, nesting=2).latents()
        total = 0.0
        for values in itertools.product([0.0, 1.0], repeat=sum(value.numel() for value in first.values())):
            given, rest = {}, torch.tensor(values, dtype=x.dtype)
            for name, value in first.items():
                given[name], rest = rest[: value.numel()].reshape(value.shape), rest[value.numel() :]
            guide = run_guide(pair, args, kwargs, nesting=2, given=given)
            model = run_model(pair, args, kwargs, given, nesting=2)
            log_q, log_p = (sum(site.log_prob().sum() for site in run.visited.values()) for run in (guide, model))
            total = total + log_q.exp() * (log_p - log_q)
    return total


@pytest.mark.parametrize("baseline", [NoBaseline(), RunningAverage(), LeaveOneOut()], ids=lambda b: type(b).__name__)
@pytest.mark.parametrize("pair", PAIRS)
def test_the_gradient_is_that_of_the_sum_over_all_values(pair, baseline):
    pair = pair()
    (truth,) = torch.autograd.grad(-exact(pair, X) / ROWS, [pair.w], allow_unused=True)
    objective = ELBO(2 if isinstance(baseline, LeaveOneOut) else 1, gradient=ScoreFunction(baseline))
    torch.manual_seed(4)
    state, found = {}, []
    for _ in range(600):
        loss = objective.compute(pair, X, state)
        state = {name: value.detach() for name, value in loss.state.items()}
        found.append(torch.autograd.grad(loss.value, [pair.w])[0])
    draws = torch.stack(found)  # (draws, parameters)
    error = draws.std(0) / len(draws) ** 0.5
    assert ((draws.mean(0) - truth).abs() <= 5 * error + 1e-12).all()


@pytest.mark.parametrize("pair", [Independent, TwoLayers, Shared])
def test_a_plate_of_a_hundred_is_as_noisy_as_pyros(pair):
    x = torch.randn(20, 100, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    pair, theirs = pair(), Trace_ELBO()
    objective = ELBO(1, gradient=ScoreFunction(NoBaseline()))
    torch.manual_seed(5)
    ours, pyros = [], []
    for _ in range(150):
        ours.append(torch.autograd.grad(objective.loss(pair, x) * len(x), [pair.w])[0])
        with pair.scope():
            pyros.append(torch.autograd.grad(theirs.differentiable_loss(pair.model, pair.guide, x), [pair.w])[0])
    first, second = (torch.stack(draws) for draws in (ours, pyros))
    spread = (first.mean(0) - second.mean(0)).abs() / ((first.var(0) + second.var(0)) / len(first)).sqrt()
    assert (spread[first.var(0) > 0] < 5).all()
    used = second.var(0) > 0
    # Two variances of 150 draws: the ratio of equal ones is below 2.2 with probability 1 - 1e-6, were they normal.
    assert (first.var(0)[used] < 2.2 * second.var(0)[used]).all()


@pytest.mark.parametrize("pair", [TwoLayers, Shared])
def test_compiled_steps_are_the_same(pair):
    fitted = []
    for compile in (False, "graph"):
        each = pair()
        fit(each, X, steps=20, lr=0.1, seed=0, progress=False, compile=compile)
        fitted.append(each.w.detach())
    torch.testing.assert_close(*fitted, rtol=1e-9, atol=1e-9)
    assert not torch.equal(fitted[0], pair().w)
