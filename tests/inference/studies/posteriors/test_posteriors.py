"""Posteriors by several methods, where the exact one is known."""

from __future__ import annotations

import json
import math
import re

import pytest
import torch

from pyrogen.errors import ConfigurationError, DataError, NotPerDatum, PairError
from pyrogen.inference import ELBO, ImportanceSampling
from pyrogen.inference.estimators.estimate import Draws, Estimate
from pyrogen.inference.studies.posteriors import Posteriors, posterior
from pyrogen.inference.studies.posteriors.agreement import _moments, agree
from pyrogen.inference.studies.posteriors.posterior_draws import PosteriorDraws, draw
from pyrogen.models import VAE, BetaBernoulli, DiscreteVAE, GlobalGaussian, LinearGaussianVAE
from pyrogen.report.posteriors import agreement_picture, agreement_rows, format_posteriors
from pyrogen.report.style import png

FEW = {"permutations": 19}


def linear(offset=0.0, scale=1.0, rows=20):
    torch.manual_seed(0)
    pair = LinearGaussianVAE((5,), latent=2, guide="full").double()
    pair.set_exact_guide(offset, scale)
    return pair, torch.randn(rows, 5, dtype=torch.float64)


def squares_are_one(z):
    """Standard normal numbers have squares of mean one; neither they nor their errors are independent across dimensions."""
    assert z.abs().max() < 6
    assert abs(z.square().mean() - 1) < 5 * (2 / len(z)) ** 0.5


def test_the_exact_guide_agrees_with_the_exact_posterior():
    pair, x = linear(rows=100)
    found = posterior(pair, x, ["guide", "exact"], draws=100, **FEW)
    (agreement,) = found.agreements
    assert (agreement.name, agreement.reference) == ("guide", "exact")
    for p_values in (agreement.accuracy_p, agreement.energy_p):
        rejected = int((p_values <= 0.05).sum())
        assert rejected <= 100 * 0.05 + 5 * (100 * 0.05 * 0.95) ** 0.5
    assert agreement.each.p_value > 0.01
    assert agreement.pooled.p_value > 0.05
    assert agreement.energy_all.p_value > 0.05


def test_moments_are_measured_in_their_own_errors():
    pair, x = linear(rows=1000)
    guide, exact = (draw(pair, x, name, 100) for name in ("guide", "exact"))
    mean_error, mean_z, _, scale_z = _moments(guide.matrix(), exact.matrix(), guide.effective, exact.effective)
    squares_are_one(mean_z)
    squares_are_one(scale_z)
    assert abs(mean_error.square().mean() - 2 / 100) < 5 * 2 / 100 * (2 / 1000) ** 0.5


def test_a_guide_that_is_off_is_found_and_measured():
    pair, x = linear(offset=0.5, scale=0.7)
    (agreement,) = posterior(pair, x, ["guide", "exact"], draws=400, **FEW).agreements
    error = (1.5 / 400) ** 0.5
    assert bool(((agreement.mean_error - 0.5).abs() < 5 * error).all())
    assert bool(((agreement.scale_error - math.log(0.7)).abs() < 5 * (1 / 400) ** 0.5).all())
    assert agreement.pooled.p_value == agreement.energy_all.p_value == 1 / 20
    assert agreement.pooled.statistic > 0.6
    assert (agreement.accuracy_p <= 0.05).double().mean() > 0.8
    assert re.search(r"are 0\.(6[5-9]|7[0-4]?) times as large", agreement.sentence())


def test_resampled_draws_correct_the_guide_and_carry_their_own_error():
    """Resampling repeats particles, which the error of the means must know and the tests must not take for a difference."""
    pair, x = linear(offset=0.5, scale=1.2, rows=100)
    found = posterior(pair, x, [ImportanceSampling(3000, draws=400), "exact"], draws=400, **FEW)
    (agreement,) = found.agreements
    squares_are_one(agreement.mean_z)
    assert bool((agreement.draws >= 50).all())
    weighted = found["IS(3000)"]
    assert bool((weighted.effective < 400).all())
    assert int((agreement.accuracy_p <= 0.05).sum()) <= 100 * 0.07 + 5 * (100 * 0.07) ** 0.5
    few = posterior(pair, x, [ImportanceSampling(300, draws=400), "exact"], draws=400, **FEW)
    squares_are_one(few.agreements[0].mean_z)
    assert int((few.agreements[0].energy_p <= 0.05).sum()) <= 100 * 0.07 + 5 * (100 * 0.07) ** 0.5
    assert bool((few["IS(300)"].effective < 200).all())


def chains(draws, ess):
    return Estimate(
        "chains",
        "consistent",
        torch.zeros(draws.shape[1]),
        torch.zeros(draws.shape[1]),
        1,
        1.0,
        ess=torch.full((draws.shape[1],), float(ess)),
        draws=Draws({"z": draws}, torch.zeros(draws.shape[:2]), chains=1),
    )


def test_draws_of_markov_chains_count_by_their_effective_number():
    """An autoregressive chain around the exact posterior, whose effective number is known."""
    pair, x = linear(rows=60)
    exact = pair.posterior(x)
    memory, length = 0.8, 2000
    torch.manual_seed(3)
    noise = torch.randn(length, 60, 2, dtype=torch.float64)
    walk = [noise[0]]
    for step in noise[1:]:
        walk.append(memory * walk[-1] + (1 - memory**2) ** 0.5 * step)
    draws = exact.mean + (exact.scale_tril @ torch.stack(walk)[..., None])[..., 0]
    ess = length * (1 - memory) / (1 + memory)
    found = posterior(pair, x, [chains(draws.detach(), ess), "exact"], draws=length, **FEW)
    (agreement,) = found.agreements
    squares_are_one(agreement.mean_z)
    assert bool((agreement.draws == int(ess)).all())
    assert int((agreement.energy_p <= 0.05).sum()) <= 60 * 0.05 + 5 * (60 * 0.05) ** 0.5


def test_the_reference_is_the_best_there_is():
    pair, x = linear(rows=3)
    run = chains(torch.zeros(40, 3, 2, dtype=torch.float64), 40)
    importance = ImportanceSampling(100, draws=40)
    assert posterior(pair, x, ["guide", importance, run, "exact"], draws=40, **FEW).reference == "exact"
    assert posterior(pair, x, ["guide", importance, run], draws=40, **FEW).reference == "chains"
    assert posterior(pair, x, [importance, "guide"], draws=40, **FEW).reference == "IS(100)"
    assert posterior(pair, x, [importance, "guide"], reference="guide", draws=40, **FEW).reference == "guide"


@pytest.mark.parametrize("name", ["beta", "discrete"])
def test_other_latents(name):
    """Latents without an event, and discrete ones."""
    torch.manual_seed(0)
    pair = BetaBernoulli((6,)).double() if name == "beta" else DiscreteVAE((6,), latent=2).double()
    x = torch.randint(0, 2, (8, 6)).double()
    found = posterior(pair, x, draws=100, **FEW)
    assert found.reference == "exact"
    assert found["guide"].dimensions() == (["theta"] if name == "beta" else ["z[0]", "z[1]"])
    by_name = {agreement.name: agreement for agreement in found.agreements}
    assert by_name["IS(5000)"].pooled.p_value > 0.05
    if name == "discrete":
        assert by_name["guide"].energy_all.p_value == 0.05
    assert by_name["IS(5000)"].each.p_value > 0.01


def test_draws_that_are_not_finite_are_left_out_of_the_tests():
    pair, x = linear()
    good = draw(pair, x, "exact", 40)
    values = good.latents["z"].clone()
    values[3, 5] = math.nan
    broken = PosteriorDraws("broken", {"z": values}, good.effective, good.independent)
    agreement = agree(broken, good, permutations=19)
    assert agreement.draws.eq(0).nonzero().flatten().tolist() == [5]
    others = torch.arange(20) != 5
    assert bool(torch.isfinite(agreement.accuracy[others]).all())
    assert math.isnan(agreement.accuracy[5])
    assert math.isfinite(agreement.pooled.p_value)


def test_too_few_draws_are_not_tested():
    pair, x = linear(rows=3)
    found = posterior(pair, x, [ImportanceSampling(50, draws=20), "exact"], draws=20, **FEW)
    (agreement,) = found.agreements
    assert agreement.pooled is None
    assert "! IS(50): 3 data were not tested" in str(found)
    assert "too few independent draws" in agreement.sentence()


class _Own(LinearGaussianVAE):
    def posterior(self, x):
        return {"w": super().posterior(x)}


@pytest.mark.parametrize(
    ("build", "methods", "arguments", "error", "message"),
    [
        (linear, ["guide"], {}, ConfigurationError, "two methods or more"),
        (linear, ["guide", "guide"], {}, ConfigurationError, "each of another name"),
        (linear, ["guide", ELBO()], {}, ConfigurationError, "ELBO keeps no posterior draws"),
        (linear, ["guide", "prior"], {}, ConfigurationError, "no method 'prior'"),
        (linear, ["guide", "exact"], {"reference": "NUTS"}, ConfigurationError, "'NUTS' is none of the methods"),
        (linear, ["guide", "exact"], {"draws": 3}, ConfigurationError, "draws must be at least 4"),
        (linear, ["guide", "exact"], {"permutations": 0}, ConfigurationError, "permutations"),
        (linear, ["guide", chains(torch.zeros(9, 2, 2), 9)], {}, ConfigurationError, "draws of 2 data, and there are 3"),
        (lambda: (VAE((5,), latent=2), None), ["guide", "exact"], {}, PairError, "VAE knows no exact posterior"),
        (lambda: (_Own((5,), latent=2), None), ["guide", "exact"], {}, PairError, "for each latent"),
        (lambda: (GlobalGaussian((5,)), None), ["guide", "exact"], {}, NotPerDatum, "'mu'"),
    ],
)
def test_bad_input_is_named(build, methods, arguments, error, message):
    pair, x = build()
    x = torch.zeros(3, 5) if x is None else x[:3]
    with pytest.raises(error, match=message):
        posterior(pair, x, methods, **arguments)


def test_saved_and_read_again_and_in_arviz_form(tmp_path):
    pair, x = linear(rows=4)
    found = posterior(pair, x, ["guide", "exact"], draws=40, **FEW)
    again = Posteriors.load(found.save(tmp_path))
    assert json.dumps(again.record()) == json.dumps(found.record())
    assert torch.equal(again["guide"].latents["z"], found["guide"].latents["z"])
    data = found.to_arviz()
    assert list(data) == ["guide", "exact"]
    assert data["guide"].posterior["z"].shape == (4, 10, 4, 2)
    assert data["guide"].posterior["z"].dims[:3] == ("chain", "draw", "data")
    (tmp_path / "posterior-1.nc").unlink()
    with pytest.raises(DataError, match=r"posterior-1\.nc is damaged or missing"):
        Posteriors.load(tmp_path)


def test_words_and_picture():
    pair, x = linear(0.5, rows=5)
    record = posterior(pair, x, ["guide", ImportanceSampling(2000, draws=40), "exact"], draws=40, **FEW).record()
    text = format_posteriors(record)
    assert "against exact" in text
    assert "IS(2000)" in text
    rows = agreement_rows(record)
    assert [row["name"] for row in rows] == ["guide", "IS(2000)"]
    assert rows[0]["mean_z"] > rows[1]["mean_z"]
    assert png(agreement_picture(record)).startswith(b"\x89PNG")
    one = posterior(BetaBernoulli((4,)), torch.ones(1, 4), ["guide", "exact"], draws=40, **FEW)
    assert png(one.plot()).startswith(b"\x89PNG")
    with pytest.raises(DataError, match="no posteriors to compare"):
        agreement_picture({**record, "agreements": []})
    with pytest.raises(DataError, match="damaged"):
        format_posteriors({"version": 1})


def test_seeded_and_outside_randomness_left_alone():
    pair, x = linear(rows=3)
    torch.manual_seed(7)
    first, second = (posterior(pair, x, ["guide", "exact"], draws=20, seed=4, **FEW) for _ in range(2))
    drawn = torch.rand(())
    torch.manual_seed(7)
    assert torch.equal(drawn, torch.rand(()))
    assert json.dumps(first.record()) == json.dumps(second.record())
