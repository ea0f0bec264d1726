"""Importance sampling that looks outside the guide, and what it says of a guide that misses mass or is too narrow."""

from __future__ import annotations

import math

import oracles
import pyro
import pyro.distributions as dist
import pytest
import torch
import wrong_guides
from pyro.distributions import constraints

from pyrogen import Pair
from pyrogen.errors import ConfigurationError
from pyrogen.inference import AnnealedImportance, Comparison, Estimate, Exact, ImportanceSampling, TemperedSMC, compare
from pyrogen.inference.weights.chunks import Chunk, whole
from pyrogen.inference.weights.defensive import Curvature, defensive_chunks
from pyrogen.inference.weights.evaluation import evaluation
from pyrogen.models import LinearGaussianVAE


def kinds(names, seeds):
    return pytest.mark.parametrize(("kind", "seed"), [(kind, seed) for kind in names for seed in seeds])


@torch.no_grad()
@pytest.mark.parametrize("kind", wrong_guides.KINDS)
def test_what_it_does_not_flag_is_right(kind):
    """Of 50 problems hardly any unflagged estimate is wild, and the intervals cover; by the guide alone they do not."""
    held, wild, alone = [], 0, 0
    for seed in range(10):
        pair, x, truth = wrong_guides.KINDS[kind](seed)
        torch.manual_seed(seed)
        found = ImportanceSampling(5000, draws=0).estimate(pair, x)
        good, off = ~found.untrusted(), found.log_prob - truth
        held += (off.abs() < 1.96 * found.standard_error)[good].tolist()
        wild += int((off.abs() > 5 * found.standard_error)[good].sum())
        if kind == "two modes":
            guide = ImportanceSampling(5000, draws=0, defensive=0.0).estimate(pair, x)
            alone += int(((guide.log_prob - truth < -5 * guide.standard_error) & ~guide.untrusted()).sum())
    assert wild <= 1  # a second mode so far out that no draw from the prior has met it
    # Of 50 that cover with 93%, fewer than 36 do with a probability below 1e-6.
    assert sum(held) >= (36 / 50) * len(held)
    assert bool(held) == (kind != "crossed plates")  # where all are flagged
    assert alone > 5 or kind != "two modes"


def test_weights_are_those_of_the_mixture():
    pair, x = oracles.linear(4, offset=0.5, scale=0.7)
    guide, prior = (
        oracles.gaussian_guide(pair, x),
        dist.Normal(torch.zeros(3, dtype=torch.float64), 1.0).to_event(1),
    )
    with evaluation(pair):
        block = whole(pair, x).sized_for(100)
        for part in block.split():
            chunks = list(defensive_chunks(part, 100, 20))
    assert [own is None for _, own in chunks] == [False, True]
    for chunk, own in chunks:
        z = chunk.latents["z"]
        log_prior, log_guide = prior.log_prob(z), guide.log_prob(z)
        mixture = torch.logaddexp(math.log(0.8) + log_guide, math.log(0.2) + log_prior)
        torch.testing.assert_close(chunk.log_weight, chunk.log_likelihood + log_prior - mixture, atol=1e-9, rtol=0)
        assert (chunk.log_weight <= chunk.log_likelihood - math.log(0.2)).all()
        if own is not None:
            torch.testing.assert_close(own, chunk.log_likelihood + log_prior - log_guide, atol=1e-9, rtol=0)


def test_the_mean_weight_is_unbiased():
    pair, x = oracles.linear(1, offset=1.0, scale=0.5)  # alone, the guide's weights would have no variance
    x = x.expand(20_000, -1)
    torch.manual_seed(0)
    found = ImportanceSampling(20, draws=0, smoothing=False, defensive=0.25).estimate(pair, x)
    ratio = (found.log_prob - pair.log_evidence(x)).exp()
    assert abs(ratio.mean() - 1) < 5 * ratio.std() / math.sqrt(len(ratio))


def test_two_modes_of_which_the_guide_knows_one():
    pair, x = wrong_guides.two_modes(1)[0], torch.ones(1, dtype=torch.float64)
    torch.manual_seed(0)
    found = ImportanceSampling(5000).estimate(pair, x)
    assert abs(found.log_prob - pair.log_evidence(x)) < 5 * found.standard_error
    assert 0.3 < found.diagnostics["missed"] < 0.7
    assert "carry weight that the guide's do not explain for 100.0% of the data" in found.warnings()[0]
    assert not found.flagged  # many draws have met it
    few = ImportanceSampling(100).estimate(pair, x)
    assert few.diagnostics["met"] < 25
    modes = found.draws.latents["z"].sign().mean()
    assert abs(modes) < 5 / math.sqrt(100)


@torch.no_grad()
@pytest.mark.parametrize("estimator", [AnnealedImportance(50, initial="guide"), TemperedSMC(initial="guide")], ids=str)
def test_chains_from_the_guide_are_held_against_draws_from_the_prior(estimator):
    pair, x = wrong_guides.two_modes(1)[0], torch.full((1,), 3.0, dtype=torch.float64)
    torch.manual_seed(0)
    found = estimator.estimate(pair, x)
    assert found.log_prob < pair.log_evidence(x) - 0.5
    assert found.untrusted().all()
    assert "draws from the prior meet mass" in found.notes[0]
    table = compare(pair, x, [estimator, ImportanceSampling(5000)], device="cpu")
    assert table.reference.name == "IS(5000)"
    assert table.missed(estimator.name).all()
    assert not table.missed("IS(5000)").any()
    assert "has missed mass there" in " ".join(table.sentences())
    assert table.record()["rows"][0]["missed"] == 1.0
    assert "lies significantly below IS(5000)" in str(table)


def test_a_good_guide_has_nothing_said_against_it():
    pair, x = oracles.linear(30)
    torch.manual_seed(0)
    table = compare(pair, x, [ImportanceSampling(5000), AnnealedImportance(60, initial="guide"), Exact()], device="cpu")
    for estimate in table.estimates:
        assert not table.missed(estimate.name).any()
        assert not estimate.warnings()
    assert (table["IS(5000)"].diagnostics["missed"] == 0).all()


def quadratic(matrix, count):
    """Draws of a standard normal guide and log weights ``-e' M e / 2``, with a shift and a slope."""
    torch.manual_seed(0)
    e = torch.randn(count, 2, len(matrix), dtype=torch.float64)
    log_weight = -0.5 * torch.einsum("kni,ij,knj->kn", e, matrix, e) + 7.0 + 0.5 * e[..., 0]
    return e, log_weight


def test_curvature_is_that_of_the_log_weight():
    matrix = torch.diag(torch.tensor([0.8, -0.6, 0.1], dtype=torch.float64))
    e, log_weight = quadratic(matrix, 40_000)
    transform = torch.randn(3, 3, dtype=torch.float64)  # of the guide's draws: the curvature is that of whitened ones
    z = 3 + e @ transform
    curvature = Curvature()
    for part in torch.arange(40_000).split(10_000):
        curvature.add(Chunk(slice(0, 2), slice(0, 0), log_weight[part], log_weight[part], {"z": z[part]}), log_weight[part])
    noise = 2 * log_weight.std(0) * math.sqrt(3 / 40_000)
    found = curvature.largest() + noise
    assert ((found - 0.6).abs() < 2 * noise).all()


def test_curvature_of_weights_that_are_no_number_is_not_known():
    e, log_weight = quadratic(torch.eye(2, dtype=torch.float64), 1000)
    log_weight[0, 0] = -math.inf
    curvature = Curvature()
    curvature.add(Chunk(slice(0, 2), slice(0, 0), log_weight, log_weight, {"z": e}), log_weight)
    assert curvature.largest()[0] == -math.inf
    assert curvature.largest()[1].isfinite()


class Improper(Pair):
    """A latent that nothing can be drawn from but the guide."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.ImproperUniform(constraints.real, (), ()))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x, 1.0))


class Auxiliary(Pair):
    """A guide that draws what the model does not know."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            a = pyro.sample("a", dist.Normal(0.0, 1.0), infer={"is_auxiliary": True})
            pyro.sample("z", dist.Normal(x / 2 + 0.1 * a, 0.7))


@pytest.mark.parametrize("pair", [Improper(), Auxiliary()], ids=lambda pair: type(pair).__name__)
def test_all_particles_are_the_guides_where_the_prior_cannot_stand_in(pair):
    x = torch.randn(3, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    found = ImportanceSampling(200, draws=0).estimate(pair, x)
    torch.manual_seed(0)
    alone = ImportanceSampling(200, draws=0, defensive=0.0).estimate(pair, x)
    assert torch.equal(found.log_prob, alone.log_prob)
    assert "missed" not in found.diagnostics


def test_recorded_graphs_draw_the_same():
    torch.manual_seed(0)
    pair, x = LinearGaussianVAE((6,), latent=3), torch.randn(8, 6)
    numbers = []
    for compiled in (False, "graph"):
        torch.manual_seed(1)
        numbers.append(ImportanceSampling(500, draws=0).estimate(pair, x, compile=compiled).log_prob)
    torch.testing.assert_close(*numbers)


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_that_is_none(share):
    with pytest.raises(ConfigurationError, match="defensive must be a share of the particles, from 0 to below 1"):
        ImportanceSampling(100, defensive=share)


def test_what_has_missed_mass_is_never_the_reference():
    def estimate(name, log_prob, error, kind="consistent"):
        numbers = torch.tensor(log_prob, dtype=torch.float64), torch.tensor(error, dtype=torch.float64)
        return Estimate(name, kind, *numbers, evaluations=1, seconds=1.0)

    missing = estimate("missing", [-1.0, -2.5], [0.01, 0.01])
    wide = estimate("wide", [-3.0, -2.0], [2.0, 0.01])
    bound, upper = estimate("bound", [-9.0, -9.0], [0.0, 0.0], "lower"), estimate("upper", [0.0, -2.2], [0.1, 0.01], "upper")
    table = Comparison([missing, wide, bound, upper], {"rows": 2})
    assert table.reference is wide
    assert {name: table.missed(name).tolist() for name in ("missing", "wide", "bound", "upper")} == {
        "missing": [False, True],
        "wide": [False, False],
        "bound": [False, False],
        "upper": [False, True],
    }
    assert "upper lies significantly below wide for 50.0% of the data: it is no upper bound there." in table.sentences()


def test_an_untrusted_estimate_counts_by_markovs_bound():
    def estimate(log_prob, khat):
        numbers = torch.tensor([log_prob]), torch.tensor([0.01])
        return Estimate("a", "consistent", *numbers, evaluations=1, seconds=1.0, khat=torch.tensor([khat]))

    low = estimate(-10.0, 0.1)
    assert low.lies_below(estimate(-9.0, 0.1))
    assert not low.lies_below(estimate(-4.0, 0.9))  # it exceeds the truth by log(1000) with a probability of 1 in 1,000
    assert low.lies_below(estimate(-3.0, 0.9))
