"""The guide refined for each datum, and the two gaps, where both are known in closed form."""

from __future__ import annotations

import json
import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.distributions.transforms import ExpTransform

from pyrogen import Pair
from pyrogen.errors import ConfigurationError, DataError, NotPerDatum, PairError
from pyrogen.inference import ELBO, Exact, ImportanceSampling, compare
from pyrogen.inference.estimators.estimate import Estimate
from pyrogen.inference.studies.inference_gaps import Gaps, _best, gaps
from pyrogen.inference.studies.refinement import _Offsets, refine
from pyrogen.models import VAE, BetaBernoulli, DiscreteVAE, GlobalGaussian, LinearGaussianVAE
from pyrogen.report.gaps import format_gaps, gap_picture, gap_rows
from pyrogen.report.style import png

DATA = 60
SHORTFALL = 0.03
"""Nats that the optimisation may leave, beyond Monte Carlo error."""


def linear(guide="diagonal", offset=0.7, scale=1.6):
    torch.manual_seed(0)
    pair = LinearGaussianVAE((6,), latent=3, guide=guide).double()
    x = torch.randn(DATA, 6, dtype=torch.float64)
    pair.set_exact_guide()
    best = pair.elbo(x).detach()
    pair.set_exact_guide(offset=offset, scale=scale)
    with torch.no_grad():  # a datum's fault is its own
        pair.encoder.weight.add_(0.2 * torch.randn(3, 6))
    return pair, x, best


@pytest.mark.parametrize("guide", ["diagonal", "full"])
def test_gaps_are_those_of_the_closed_form(guide):
    pair, x, best = linear(guide)
    encoder, evidence = pair.elbo(x).detach(), pair.log_evidence(x).detach()
    before = [parameter.clone() for parameter in pair.parameters()]
    found = gaps(pair, x)
    for value, error, truth in (
        (found.amortization, found.amortization_error, best - encoder),
        (found.approximation, found.approximation_error, evidence - best),
        (found.elbo, found.elbo_error, encoder),
    ):
        assert bool(((value - truth).abs() < 5 * error + SHORTFALL).all())
    # Below what the optimisation left there is nothing but Monte Carlo error.
    assert bool((found.approximation > evidence - best - 5 * found.approximation_error).all())
    assert bool((found.elbo + found.amortization + found.approximation - evidence).abs().max() < 1e-9)
    assert (evidence - best).mean() > 0.1 or guide == "full"
    assert all(torch.equal(now, then) and now.requires_grad for now, then in zip(pair.parameters(), before, strict=True))


def test_the_refined_bound_is_evaluated_without_bias_and_with_its_error():
    """Against the exact ELBO of the very guides that were found; draws that had a say in the choice would exceed it."""
    pair, x, _ = linear()
    x = x.repeat(5, 1)
    torch.manual_seed(1)
    block = _Offsets(pair.requires_grad_(False), x, pair.structure(x), 4)
    block.optimise(60, 0.1)
    loc, log_scale = (offset.detach() for offset in block.offsets["z"])
    scale = pair.log_scale.exp()
    mean, spread = pair.encoder(x) + scale * loc, scale * log_scale.exp()
    noise = (2 * pair.log_noise).exp()
    expected = dist.Normal(mean @ pair.weight.mT + pair.bias, noise.sqrt()).log_prob(x).sum(-1)
    expected = expected - (spread.square() @ pair.weight.square().mT / noise).sum(-1) / 2
    expected = expected - torch.distributions.kl_divergence(dist.Normal(mean, spread), dist.Normal(0.0, 1.0)).sum(-1)
    encoder, encoder_error, refined, refined_error, gain, gain_error = block.evaluate(1000)
    for value, error, truth in (
        (encoder, encoder_error, pair.elbo(x)),
        (refined, refined_error, expected),
        (gain, gain_error, expected - pair.elbo(x)),
    ):
        z = (value - truth) / error
        assert z.abs().max() < 5
        assert abs(z.mean()) < 5 / len(z) ** 0.5
        assert abs(z.square().mean() - 1) < 5 * (2 / len(z)) ** 0.5


def test_one_noise_for_both_guides():
    """The gain is known better than two independent evaluations would tell."""
    pair, x, _ = linear("diagonal", 0.1, 1.0)
    found = refine(pair, x, steps=20)
    independent = (found.encoder_error.square() + found.refined_error.square()).sqrt()
    assert (found.gain_error / independent).mean() < 0.9


def test_latents_that_are_bounded_or_discrete():
    torch.manual_seed(2)
    beta = BetaBernoulli((8,), 2.0, 3.0).double()
    beta.set_exact_guide(offset=0.5, scale=0.5)
    discrete = DiscreteVAE((6,), latent=1).double()
    for pair in (beta, discrete):
        x = torch.randint(0, 2, (DATA, 8 if pair is beta else 6)).double()
        found = gaps(pair, x, refine_steps=400)
        truth = (pair.log_evidence(x) - pair.elbo(x)).detach()
        # The family holds the posterior, so that all of the gap is the encoder's.
        assert bool(((found.amortization - truth).abs() < 5 * found.amortization_error + SHORTFALL).all())
        assert truth.mean() > 0.02


class _Flexible(Pair):
    """``log z ~ N(0, 1), x ~ N(log z, 1)``, with a guide of a chosen kind that knows nothing of the data."""

    def __init__(self, build):
        super().__init__()
        self.build = build
        self.loc = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.LogNormal(x.new_zeros(1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z.log(), 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.build(self.loc))

    def log_evidence(self, x):
        return dist.Normal(0.0, 2**0.5).log_prob(x).sum(-1)


BUILDS = {
    "LogNormal": lambda loc: dist.LogNormal(loc, 1.0).to_event(1),
    "transformed": lambda loc: dist.TransformedDistribution(dist.Normal(loc, 1.0), [ExpTransform()]).to_event(1),
    "low rank": lambda loc: dist.TransformedDistribution(
        dist.LowRankMultivariateNormal(loc, 0.5 * loc.new_ones(1, 1), loc.new_ones(1)), [ExpTransform()]
    ),
    "expanded": lambda loc: dist.LogNormal(loc, 1.0).to_event(1).expand_by([1]),
}


@pytest.mark.parametrize("name", BUILDS)
def test_every_kind_of_guide_is_refined(name):
    pair = _Flexible(BUILDS[name])
    x = torch.linspace(-2, 2, 20, dtype=torch.float64)[:, None]
    found = gaps(pair, x, refine_steps=400)
    assert bool((found.approximation.abs() < 5 * found.approximation_error + SHORTFALL).all())
    assert found.amortization.mean() > 0.3
    assert any("transforms at site 'z'" in note for note in found.notes) == (name in ("transformed", "low rank"))


def test_guides_whose_latents_depend_on_each_other():
    """z2 ~ N(z1, 1), x ~ N(z2, 1): the posterior lies in the family, if every conditional is shifted rightly."""

    class Chain(Pair):
        def model(self, x):
            with pyro.plate("data", len(x)):
                z1 = pyro.sample("z1", dist.Normal(x.new_zeros(()), 1.0))
                z2 = pyro.sample("z2", dist.Normal(z1, 1.0))
                pyro.sample("x", dist.Normal(z2, 1.0), obs=x)

        def guide(self, x):
            with pyro.plate("data", len(x)):
                z1 = pyro.sample("z1", dist.Normal(x.new_zeros(()), 1.0))
                pyro.sample("z2", dist.Normal(z1 / 2, 1.0))  # the slope of the posterior; the rest is wrong

        def log_evidence(self, x):
            return dist.Normal(0.0, 3**0.5).log_prob(x)

    x = torch.linspace(-3, 3, 20, dtype=torch.float64)
    found = gaps(Chain(), x, refine_steps=400)
    assert bool((found.approximation.abs() < 5 * found.approximation_error + SHORTFALL).all())
    assert found.amortization.mean() > 0.3
    assert any("site 'z2' depend on other latents" in note for note in found.notes)
    assert not any("'z1'" in note for note in found.notes)


def test_a_datum_that_is_not_finite_keeps_to_itself():
    pair, x, best = linear()
    x[3] = math.inf
    pair.initialise(torch.zeros_like(x))
    found = refine(pair, x, steps=200)
    others = torch.arange(DATA) != 3
    assert not bool(torch.isfinite(found.refined[3]))
    assert bool(((found.refined - best).abs() < 5 * found.refined_error + SHORTFALL)[others].all())
    assert found.lost.nonzero().flatten().tolist() == [3]
    assert found.lost[3] == 200


def test_one_step_that_is_not_finite_does_no_lasting_harm(monkeypatch):
    pair, x, best = linear()
    plain, calls = _Offsets._surrogate, []

    def sometimes(self):
        calls.append(None)
        bad = torch.zeros(DATA, dtype=torch.float64)
        bad[3] = math.nan if len(calls) == 5 else 0.0
        return plain(self) * (1 + bad)

    monkeypatch.setattr(_Offsets, "_surrogate", sometimes)
    found = refine(pair, x, steps=200)
    assert bool(((found.refined - best).abs() < 5 * found.refined_error + SHORTFALL).all())
    assert found.lost.sum() == found.lost[3] == 1


def test_the_best_evidence_is_taken():
    def named(name, kind, nats):
        return Estimate(name, kind, torch.full((3,), nats), torch.ones(3), 1, 1.0)

    lower, more = named("a", "lower", -9.0), named("b", "consistent", -8.0)
    upper, exact = named("c", "upper", -1.0), named("d", "exact", -8.5)
    broken = named("e", "consistent", math.nan)
    assert _best([lower, more, upper]) is more
    assert _best([lower, more, exact, upper]) is exact
    assert _best([broken, lower]) is lower
    with pytest.raises(ConfigurationError, match="no upper bound"):
        _best([upper])


def test_evidence_of_a_comparison_and_of_estimators():
    pair, x, _ = linear()
    table = compare(pair, x, [ELBO(), ImportanceSampling(500)], device="cpu")
    by_table = gaps(pair, x, table, refine_steps=20)
    by_name = gaps(pair, x, [ELBO()], refine_steps=20)
    assert by_table.evidence_name == "IS(500)"
    assert by_name.evidence_kind == "lower"
    assert any("lower bound" in note for note in by_name.notes)
    with pytest.raises(ConfigurationError, match="60 data, and there are 4"):
        gaps(pair, x[:4], table, refine_steps=2)


@pytest.mark.parametrize(
    ("build", "arguments", "error", "message"),
    [
        (lambda: linear()[0], {"refine_steps": -1}, ConfigurationError, "steps must be at least 0"),
        (lambda: linear()[0], {"particles": 1}, ConfigurationError, "particles must be at least 2"),
        (lambda: linear()[0], {"draws": 1}, ConfigurationError, "draws must be at least 2"),
        (lambda: linear()[0], {"learning_rate": 0.0}, ConfigurationError, "learning_rate"),
        (lambda: GlobalGaussian((6,)).double(), {}, NotPerDatum, "'mu'"),
    ],
)
def test_bad_input_is_named(build, arguments, error, message):
    with pytest.raises(error, match=message):
        gaps(build(), torch.zeros(3, 6, dtype=torch.float64), **arguments)


def test_a_distribution_that_cannot_be_refined_is_named():
    pair = _Flexible(lambda loc: dist.Uniform(loc.exp() / 2, 2 * loc.exp()).to_event(1))
    with pytest.raises(PairError, match=r"site 'z': the guide's .* cannot be refined"):
        gaps(pair, torch.zeros(3, 1, dtype=torch.float64))


def test_saved_and_read_again(tmp_path):
    pair, x, _ = linear()
    found = gaps(pair, x, [Exact()], refine_steps=10)
    again = Gaps.load(found.save(tmp_path))
    assert json.dumps(again.record()) == json.dumps(found.record())
    assert str(again) == str(found)
    (tmp_path / "gaps.json").write_text('{"version": 1}')
    with pytest.raises(DataError, match=r"gaps\.json is damaged"):
        Gaps.load(tmp_path)


def test_evidence_below_a_bound_of_it_is_called_too_low():
    pair, x, _ = linear(offset=3.0)
    found = gaps(pair, x, [ELBO()], refine_steps=50)
    assert any("lies below the refined ELBO" in note for note in found.notes)
    assert "accounts for" not in str(found)
    exact = gaps(pair, x, refine_steps=50)
    assert exact.notes == ()
    assert "accounts for" in str(exact)


def test_seeded_and_outside_randomness_left_alone():
    pair, x, _ = linear()
    torch.manual_seed(7)
    first = gaps(pair, x, refine_steps=5, seed=3).amortization
    drawn = torch.rand(())
    second = gaps(pair, x, refine_steps=5, seed=3).amortization
    torch.manual_seed(7)
    assert torch.equal(first, second)
    assert torch.equal(drawn, torch.rand(()))


def test_words_and_picture():
    torch.manual_seed(0)
    found = gaps(VAE((4,), latent=2, hidden=(8,)), torch.rand(12, 4).round(), [ImportanceSampling(200)], refine_steps=10)
    text = str(found)
    assert "amortization gap" in text
    assert "IS(200)" in text
    rows = {row["name"]: row["nats"] for row in gap_rows(found.record())}
    assert abs(rows["ELBO"] + rows["amortization gap"] + rows["approximation gap"] - rows["evidence"]) < 1e-6
    assert png(gap_picture(found.record())).startswith(b"\x89PNG")
    record = found.record()
    record["approximation"][0] = None
    assert "1 data have no finite gap" in format_gaps(record)
    assert png(gap_picture(record)).startswith(b"\x89PNG")
    one = {key: value[1:2] if isinstance(value, list) and len(value) == 12 else value for key, value in record.items()}
    assert png(gap_picture(one)).startswith(b"\x89PNG")
    with pytest.raises(DataError, match="no datum"):
        gap_picture({**one, "approximation": [math.nan]})
    with pytest.raises(DataError, match="no 'elbo'"):
        format_gaps({"version": 1})
