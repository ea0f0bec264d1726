"""Annealed importance sampling and tempered sequential Monte Carlo, on models whose evidence and posterior are known."""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from oracles import beta, linear

from pyrogen import Pair
from pyrogen.errors import ConfigurationError, NotPerDatum, PairError
from pyrogen.inference import compare
from pyrogen.inference.estimators.annealing import HMC, MALA, AnnealedImportance, TemperedSMC
from pyrogen.inference.estimators.annealing.ais import anneal, log_normal_mean, resampled
from pyrogen.inference.estimators.annealing.mover import Mover
from pyrogen.inference.estimators.annealing.schedule import equal_lengths, interpolate, plan, temperatures
from pyrogen.inference.estimators.annealing.transition import Moved, evaluate, move
from pyrogen.inference.estimators.latent_density import LatentDensity
from pyrogen.inference.studies.brackets import Bracket, sandwich
from pyrogen.models import VAE, DiscreteVAE, GlobalGaussian

F64 = torch.float64


@pytest.mark.parametrize("make", [linear, beta], ids=lambda make: make.__name__)
@pytest.mark.parametrize(
    "estimator",
    [AnnealedImportance(4, chains=2), AnnealedImportance(2, chains=2, initial="guide"), TemperedSMC(4, islands=2, keep=0.4)],
    ids=str,
)
def test_evidence_is_unbiased(make, estimator):
    """In linear space, however few the temperatures: the mean of evidence over truth is one."""
    pair, x = make(1)
    torch.manual_seed(0)
    many = x.expand(4000, -1)
    ratio = (estimator.estimate(pair, many).log_prob - pair.log_evidence(x).detach()).exp()
    assert abs(ratio.mean() - 1) < 5 * ratio.std() / len(ratio) ** 0.5
    assert ratio.std() / len(ratio) ** 0.5 < 0.1


def test_resampling_alone_keeps_the_evidence_unbiased(monkeypatch):
    """Without moves, which mend a population that is resampled by other weights than its own."""
    monkeypatch.setattr(Mover, "move", lambda self, batch, state, *_: Moved(state, torch.ones_like(state.base)))
    pair, x = linear(1)
    torch.manual_seed(0)
    many = x.expand(4000, -1)
    found = TemperedSMC(16, islands=4, moves=1).estimate(pair, many)
    assert found.diagnostics["temperatures"].double().mean() > 3
    ratio = (found.log_prob - pair.log_evidence(x).detach()).exp()
    assert abs(ratio.mean() - 1) < 5 * ratio.std() / len(ratio) ** 0.5


@pytest.mark.parametrize("initial", ["prior", "guide"])
def test_reversed_weights_estimate_the_inverse_without_bias(initial):
    pair, x = linear(1)
    torch.manual_seed(0)
    many = x.expand(4000, -1)
    density = LatentDensity(pair, many, initial=initial)
    mover, transition = Mover(density), HMC(3)
    chosen = plan(mover, many, transition, "sigmoid", 6)
    draws = pair.posterior(x).sample((4000,)).transpose(0, 1)  # (1, data, latent)
    done = anneal(mover, many, mover.start(draws, many), chosen, transition, backwards=True)
    ratio = (pair.log_evidence(x).detach() - done.log_weight[0]).exp()
    assert abs(ratio.mean() - 1) < 5 * ratio.std() / len(ratio) ** 0.5
    assert ratio.std() > 1e-3  # and not because nothing moved
    low = plan(mover, many, transition, "sigmoid", 6)
    there = anneal(mover, many, mover.start(density.draw(many, 1), many), low, transition)
    assert there.log_weight.mean() < pair.log_evidence(x).item() < done.log_weight.mean()


@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("temperature", [0.0, 0.4, 1.0])
def test_transitions_leave_their_density_as_it_is(steps, temperature):
    """20,000 exact draws of the tempered Gaussian, moved ten times, still pass a DKW test at 1e-6 in every direction."""
    pair, x = linear(1)
    torch.manual_seed(3)
    density = LatentDensity(pair, x)
    weight = pair.weight.detach().mT / (2 * pair.log_noise.detach()).exp()
    precision = torch.eye(3, dtype=F64) + temperature * weight @ pair.weight.detach()
    loc = torch.linalg.solve(precision, temperature * weight @ (x - pair.bias.detach())[0])
    exact = dist.MultivariateNormal(loc, precision_matrix=precision)
    count = 20000
    with torch.no_grad():
        state = evaluate(density, exact.sample((count, 1)), x)
        start = state.u
        scale = torch.tensor([[0.7, 1.0, 1.4]], dtype=F64)
        for _ in range(10):
            moved = move(
                density,
                x,
                state,
                torch.tensor([temperature], dtype=F64),
                torch.tensor([0.9 - 0.6 * temperature**0.5], dtype=F64),
                scale,
                steps,
            )
            state = moved.state
    assert (state.u != start).any(-1).double().mean() > 0.7
    assert 0.4 < moved.acceptance.mean() < 0.98  # else a transition that always accepts would pass, too
    white = (torch.linalg.cholesky(precision).mT @ (state.u[:, 0] - loc).mT).mT  # (draws, latent)
    again = evaluate(density, state.u, x)
    for kept, computed in zip(state, again, strict=True):  # what is carried is what would be computed
        torch.testing.assert_close(kept, computed)
    ranks = torch.special.ndtr(white.sort(0).values)  # (draws, latent)
    grid = torch.arange(1, count + 1, dtype=F64)[:, None] / count
    distance = torch.maximum((grid - ranks).abs(), (ranks - grid + 1 / count).abs()).amax()
    assert distance < math.sqrt(math.log(2 / 1e-6) / (2 * count))


def test_standard_error_is_the_spread_of_independent_estimates():
    pair, x = linear(1)
    for estimator in (AnnealedImportance(40), TemperedSMC(16, islands=16, moves=1)):
        torch.manual_seed(0)
        found = estimator.estimate(pair, x.expand(400, -1))
        ratio = found.standard_error.square().mean().sqrt() / found.log_prob.std()
        assert abs(ratio - 1) < 5 / math.sqrt(2 * 400) * 1.5  # the errors themselves scatter, too


def test_interval_is_students_where_chains_are_few():
    pair, x = linear(2)
    torch.manual_seed(0)
    found = AnnealedImportance(5, chains=4).estimate(pair, x)
    low, high = found.interval(0.95)
    torch.testing.assert_close((high - low) / 2, 3.182446 * found.standard_error, rtol=1e-5, atol=0)


def test_draws_are_of_the_posterior():
    pair, x = linear(1)
    torch.manual_seed(0)
    many = x.expand(500, -1)
    exact = pair.posterior(x)
    for estimator in (AnnealedImportance(40, chains=8), TemperedSMC(16, islands=2)):
        z = estimator.estimate(pair, many).draws.latents["z"]  # (draws, data, latent)
        mean = z.mean(0)  # (data, latent): draws of one datum are resampled from few, and depend on each other
        error = mean.std(0) / 500**0.5
        assert ((mean.mean(0) - exact.mean[0]).abs() < 5 * error).all()
        square = (z - exact.mean).square().mean(0)
        error = square.std(0) / 500**0.5
        assert ((square.mean(0) - exact.variance[0]).abs() < 5 * error).all()


def test_draws_are_chosen_in_proportion_to_their_weights():
    pair, x = linear(2)
    torch.manual_seed(0)
    u = torch.randn(3000, 2, 3, dtype=F64)
    heavy = torch.arange(3000) % 3  # weights 1, 3 and none
    log_weight = torch.tensor([0.0, math.log(3.0), -math.inf], dtype=F64)[heavy, None].expand(-1, 2)
    drawn = resampled(LatentDensity(pair, x), u, log_weight, x).latents["z"]  # (draws, data, latent)
    for row in range(2):
        place = (drawn[:, None, row] == u[None, :, row]).all(-1).double().argmax(1)
        shares = torch.bincount(heavy[place], minlength=3) / 3000
        assert shares[2] == 0
        assert abs(shares[1] - 0.75) < 5 * (0.75 * 0.25 / 3000) ** 0.5


def test_more_temperatures_and_a_good_guide_bring_the_chains_together():
    pair, x = linear(30)
    torch.manual_seed(0)
    few, many = (AnnealedImportance(count).estimate(pair, x).standard_error.mean() for count in (10, 300))
    assert many < few / 2
    guide = AnnealedImportance(10, initial="guide").estimate(pair, x).standard_error.mean()
    assert guide < few / 2


class Trap(Pair):
    """A likelihood that is no number far to the right, where the prior reaches in about one draw of forty."""

    def __init__(self, edge=50.0):
        super().__init__()
        self.edge = edge

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Normal(torch.where(z > self.edge, math.nan, z), 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 2, 0.1))


@pytest.mark.parametrize("estimator", [AnnealedImportance(30, chains=64), TemperedSMC(32)], ids=str)
def test_values_that_are_no_numbers_are_contained_and_counted(estimator):
    x = torch.zeros(20, dtype=F64)
    torch.manual_seed(0)
    found = estimator.estimate(Trap(2.0), x)
    truth = dist.Normal(0.0, math.sqrt(2.0)).log_prob(x) + math.log(float(torch.special.ndtr(torch.tensor(2.0 * 2**0.5))))
    error = (found.standard_error.square().sum().sqrt() / len(x)).item()
    assert abs((found.log_prob - truth).mean().item()) < 5 * error
    expected = found.particles * len(x) * float(torch.special.ndtr(torch.tensor(-2.0)))
    assert abs(found.diagnostics["lost"].sum() - expected) < 5 * expected**0.5
    assert "not finite" in found.warnings()[0]
    whole = estimator.estimate(Trap(50.0), x)
    assert not whole.warnings()


@pytest.mark.parametrize("estimator", [AnnealedImportance(5), TemperedSMC(8)], ids=str)
def test_no_chain_with_weight_is_said(estimator):
    pair, x = Trap(), torch.zeros(3, dtype=F64)
    pair.structure(x)  # the look that a pair is given first would refuse such a likelihood
    pair.edge = -50.0
    found = estimator.estimate(pair, x)
    assert (found.log_prob == -math.inf).all()
    assert "not finite for 3 data" in " ".join(found.warnings())


def test_graphs_give_what_the_pair_gives():
    torch.manual_seed(0)
    pair = VAE((1, 4, 4), latent=3, hidden=(8,))
    x = torch.bernoulli(torch.full((6, 16), 0.4))
    estimators = [AnnealedImportance(30), AnnealedImportance(30, initial="guide"), TemperedSMC(16)]
    eager, graph = (compare(pair, x, estimators, device="cpu", compile=compile) for compile in (False, "graph"))
    for ours, theirs in zip(eager.estimates, graph.estimates, strict=True):
        torch.testing.assert_close(ours.log_prob, theirs.log_prob, atol=1e-3, rtol=0)
        assert ours.gradients == theirs.gradients


def test_a_small_memory_budget_anneals_fewer_data_at_a_time():
    pair, x = linear(40)
    torch.manual_seed(0)
    found = AnnealedImportance(20, chains=8, max_bytes=200_000).estimate(pair, x)
    error = (found.standard_error.square().sum().sqrt() / 40).item()
    bias = found.standard_error.square().mean().item()
    assert -5 * error - bias < (found.log_prob - pair.log_evidence(x)).mean().item() < 5 * error
    with pytest.raises(ConfigurationError, match="8 chains of one datum: about"):
        AnnealedImportance(20, chains=8, max_bytes=1000).estimate(pair, x)


def test_schedules():
    for shape in ("sigmoid", "linear", "adaptive"):
        betas = temperatures(shape, 50)
        assert len(betas) == 51
        assert betas[0] == 0
        assert betas[-1] == 1
        assert (betas.diff() > 0).all()
    x = torch.tensor([[0.0], [1.0], [4.0]], dtype=F64)
    at = torch.tensor([[0.0], [0.5], [2.5], [4.0]], dtype=F64)
    assert interpolate(x, x.square(), at).flatten().tolist() == [0.0, 0.5, 8.5, 16.0]
    grid = torch.linspace(0, 1, 401, dtype=F64)[:, None].expand(-1, 2)
    spread = torch.stack([1 / (grid[:, 0] + 0.1), torch.ones(401, dtype=F64)], 1)
    found = equal_lengths(grid, spread, 10)
    length = torch.log(10 * found[:, 0] + 1) / math.log(11)  # the integral of 1 / (beta + 0.1)
    torch.testing.assert_close(length, torch.linspace(0, 1, 11, dtype=F64), atol=2e-3, rtol=0)
    torch.testing.assert_close(found[:, 1], torch.linspace(0, 1, 11, dtype=F64), atol=1e-9, rtol=0)


def test_log_normal_mean():
    mean, error, ess = log_normal_mean(torch.tensor([[0.0, -math.inf], [math.log(3.0), -math.inf]], dtype=F64))
    torch.testing.assert_close(mean, torch.tensor([math.log(2.0), -math.inf], dtype=F64))
    # Weights 1 and 3, of mean 2 and error 1; log-normal ones of their spread have more, of which a quarter is taken.
    torch.testing.assert_close(error, torch.tensor([1.25 * 0.5, math.inf], dtype=F64))
    mean, error, _ = log_normal_mean(torch.tensor([[0.0], [0.4]], dtype=F64))
    torch.testing.assert_close(error, torch.tensor([math.sqrt(math.expm1(0.08) / 2)], dtype=F64))
    _, error, _ = log_normal_mean(torch.tensor([[0.0], [0.0], [0.0], [-math.inf]], dtype=F64))
    torch.testing.assert_close(error, torch.tensor([1 / 3], dtype=F64))  # 0.25 of a mean of 0.75
    torch.testing.assert_close(ess, torch.tensor([1.6, 0.0], dtype=F64))


def test_bracket_holds_the_truth_and_closes():
    """Of 60 brackets of 90% at most 19 may miss: that has a probability below 1e-6 at the stated rate."""
    pair, x = linear(1)
    found = sandwich(pair, x, 1200, temperatures=(3, 100), chains=4, transition=HMC(2), device="cpu")
    missed, few, many = 0, *found.brackets
    for part in torch.arange(1200).split(20):
        low, high = Bracket(100, many.lower[part], many.upper[part], many.lower_error[part], 1, 1.0).interval(0.9)
        missed += not low <= found.exact[part].mean() <= high
    assert missed <= 19
    below, above = few.guaranteed(1 - 1e-8)
    assert ((below < found.exact) & (found.exact < above)).all()
    assert many.gap[0] < few.gap[0] / 3
    # The evidence without bias from below, and its inverse without bias from above.
    for ratio in ((many.lower - found.exact).exp(), (found.exact - many.upper).exp()):
        assert abs(ratio.mean() - 1) < 5 * ratio.std() / 1200**0.5 < 0.15


def test_both_ends_of_a_bracket_have_their_error():
    lower, gap = torch.tensor([-5.0, -6.0, -7.0, -8.0], dtype=F64), torch.tensor([0.0, 2.0, 1.0, 5.0], dtype=F64)
    found = Bracket(10, lower, lower + gap, torch.full((4,), 0.4, dtype=F64), 1, 1.0)
    assert found.gap == pytest.approx((2.0, float(gap.std()) / 2))
    low, high = found.interval(0.95)
    assert low == pytest.approx(-6.5 - 1.959964 * 0.2)
    assert high == pytest.approx(-4.5 + 1.959964 * float(gap.std()) / 2)
    with pytest.raises(ConfigurationError, match="between 0 and 1"):
        found.interval(95)


def test_sandwich_is_saved_and_says_what_it_means(tmp_path):
    pair, x = beta(3)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    found = sandwich(pair, x, 10, temperatures=(5, 10), chains=4, initial="guide", device="cpu")
    assert torch.equal(before, torch.get_rng_state())
    assert str(found.load(found.save(tmp_path))) == str(found)
    assert "On real data only the lower end exists" in str(found)
    assert found.last.lower.shape == found.last.upper.shape == (10,)
    assert not (found.last.lower == found.brackets[0].lower).any()


def make_discrete():
    return DiscreteVAE((6,), latent=3), torch.zeros(2, 6)


def make_global():
    return GlobalGaussian((1,)), torch.zeros(4, 1)


@pytest.mark.parametrize("estimator", [AnnealedImportance(10), TemperedSMC(8)], ids=str)
@pytest.mark.parametrize(
    ("make", "error", "words"),
    [(make_discrete, PairError, "latent 'z' is discrete"), (make_global, NotPerDatum, "lies outside plate 'data'")],
)
def test_pairs_that_cannot_be_annealed(estimator, make, error, words):
    pair, x = make()
    with pytest.raises(error, match=words):
        estimator.estimate(pair, x)
    with pytest.raises(error, match=words):
        sandwich(pair, x, 2, device="cpu")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: AnnealedImportance(0), "temperatures must be at least 1"),
        (lambda: AnnealedImportance(chains=0), "chains must be at least 2"),
        (lambda: AnnealedImportance(initial="posterior"), "unknown initial distribution"),
        (lambda: AnnealedImportance(schedule="cosine"), "unknown schedule 'cosine'"),
        (lambda: AnnealedImportance(schedule=[0.0, 0.5]), "must grow from 0 to 1; these run from 0 to 0.5"),
        (lambda: AnnealedImportance(schedule=[0.1, 1.0]), "these run from 0.1 to 1"),
        (lambda: AnnealedImportance(schedule=[0.0, 0.6, 0.5, 1.0]), "do not grow throughout"),
        (lambda: AnnealedImportance(schedule=[1.0]), "at least two numbers"),
        (lambda: HMC(0), "at least one leapfrog step"),
        (lambda: MALA(target=1.5), "between 0 and 1"),
        (lambda: TemperedSMC(2), "particles must be at least 4"),
        (lambda: TemperedSMC(islands=1), "islands must be at least 2"),
        (lambda: TemperedSMC(moves=0), "moves must be at least 1"),
        (lambda: TemperedSMC(keep=1.0), "keep must be a share"),
        (lambda: TemperedSMC(initial="x"), "unknown initial distribution"),
        (lambda: sandwich(*linear(2), 1), "simulations must be at least 2"),
        (lambda: sandwich(*linear(2), 5, chains=1), "chains must be at least 2"),
        (lambda: sandwich(*linear(2), 5, temperatures=()), "at least one number of temperatures"),
        (lambda: sandwich(*linear(2), 5, temperatures=(0, 5)), "temperatures must be at least 1"),
    ],
)
def test_bad_arguments(make, words):
    with pytest.raises(ConfigurationError, match=words):
        make()


@pytest.mark.parametrize("scale", [0.2, 0.5, 0.9])
def test_interval_of_few_chains_with_log_normal_weights_covers(scale):
    """Of 20,000 intervals of 16 chains with log-normal weights, as those of annealing nearly are, 3 to 8% miss."""
    torch.manual_seed(0)
    log_weight = scale * torch.randn(16, 20000, dtype=F64) - scale**2 / 2  # of mean weight one
    log_prob, error, ess = log_normal_mean(log_weight)
    good = ess >= 0.2 * 16
    missed = (log_prob.abs() > 2.13145 * error)[good].double().mean()
    assert 0.03 < missed < 0.08
    assert good.double().mean() > 0.9
