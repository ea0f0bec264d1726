"""Comparisons: what they say, print, save and hand to ArviZ."""

from __future__ import annotations

import json
import math
import re
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from pyrogen.data import load
from pyrogen.errors import ConfigurationError, DataError, NotPerDatum, PairError
from pyrogen.inference import (
    ELBO,
    EUBO,
    IWAE,
    NUTS,
    AnnealedImportance,
    Comparison,
    Estimate,
    Exact,
    ImportanceSampling,
    TemperedSMC,
    compare,
    fit,
    sample,
    traverse,
)
from pyrogen.inference.estimators.result_files import load_arviz
from pyrogen.inference.studies.prediction import reconstruct
from pyrogen.models import VAE, DiscreteVAE, GlobalGaussian, LinearGaussianVAE

arviz = load_arviz()  # which announces its next version once a day, by a warning


@pytest.fixture(scope="module")
def oracle():
    torch.manual_seed(1)
    pair = LinearGaussianVAE((6,), latent=3, guide="full").double()
    pair.set_exact_guide(offset=0.5, scale=1.2)
    x = torch.randn(60, 6, dtype=torch.float64)
    return pair, x


@pytest.fixture(scope="module")
def table(oracle):
    pair, x = oracle
    return compare(pair, x, [ELBO(), IWAE(10), ImportanceSampling(2000), Exact()])


def test_the_caller_s_generator_is_left_alone(oracle):
    pair, x = oracle
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    first = compare(pair, x, [ELBO()], seed=3)
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(first["ELBO"].log_prob, compare(pair, x, [ELBO()], seed=3)["ELBO"].log_prob)
    assert not torch.equal(first["ELBO"].log_prob, compare(pair, x, [ELBO()], seed=4)["ELBO"].log_prob)


def test_rows_state_the_mean_with_both_errors(oracle, table):
    pair, x = oracle
    row = table.record()["rows"][1]
    estimate = table["IWAE(10)"]
    assert row["nats"] == pytest.approx(estimate.log_prob.mean().item())
    assert row["error"] == pytest.approx(estimate.standard_error.square().sum().sqrt().item() / 60)
    assert row["spread"] == pytest.approx(estimate.log_prob.std().item() / 60**0.5)
    assert row["bits_per_dimension"] == pytest.approx(-row["nats"] / (6 * math.log(2)))
    exact = pair.log_evidence(x)
    assert table["Exact"].log_prob.tolist() == exact.tolist()
    assert table.reference is table["Exact"]


def test_gap_is_the_kl_divergence_of_the_guide(oracle, table):
    """log p(x) - ELBO = KL(q || posterior), which is known here."""
    pair, x = oracle
    guide = torch.distributions.MultivariateNormal(pair.encoder(x), scale_tril=pair._scale_tril())
    posterior = pair.posterior(x)
    kl = torch.distributions.kl_divergence(
        guide, torch.distributions.MultivariateNormal(posterior.mean, posterior.covariance_matrix)
    ).mean()
    gap, error = table.gap("ELBO")
    assert abs(gap - kl.item()) < 5 * error


def test_sentences_say_how_far_and_in_which_direction(table):
    sentences = table.sentences()
    gap, error = table.gap("ELBO")
    said = re.match(r"ELBO lies ([\d.]+) ± ([\d.]+) nats below the exact evidence\.", sentences[0])
    assert said is not None
    assert float(said[1]) == pytest.approx(gap, abs=10 ** -len(said[1].split(".")[1]))
    assert float(said[2]) == pytest.approx(error, rel=0.1)
    assert any("k-hat of IS(2000) is at most 0.7 for all data" in s for s in sentences)


def test_a_failing_diagnostic_is_said_where_the_number_is_printed():
    torch.manual_seed(1)
    pair = LinearGaussianVAE((6,), latent=3, guide="full").double()
    pair.set_exact_guide(scale=0.3)
    found = compare(pair, torch.randn(20, 6, dtype=torch.float64), [ELBO(), ImportanceSampling(1000)])
    share = (found["IS(1000)"].khat > 0.7).double().mean().item()
    assert share > 0.5
    text = str(found)
    assert f"k-hat of IS(1000) is above 0.7 for {share:.1%} of the data" in text.replace("\n", " ")
    assert "no importance estimate can be trusted" in " ".join(text.split())


def test_saved_and_loaded_it_is_the_same(tmp_path, table):
    table.save(tmp_path)
    again = Comparison.load(tmp_path)
    assert again.record() == table.record()
    draws, saved = table["IS(2000)"].draws, again["IS(2000)"].draws
    assert torch.equal(draws.latents["z"], saved.latents["z"])
    assert torch.equal(draws.log_likelihood, saved.log_likelihood)
    assert again["ELBO"].draws is None
    assert saved.chains is None
    chained = replace(table["IS(2000)"], draws=replace(draws, chains=2))
    Comparison([chained], table.data).save(tmp_path / "chains")
    assert Comparison.load(tmp_path / "chains")["IS(2000)"].draws.chains == 2
    assert json.loads((tmp_path / "comparison.json").read_text())["version"] == 1
    assert not list(tmp_path.glob(".*"))


def test_arviz_takes_it(oracle, table):
    found = table.to_arviz()
    assert found.posterior["z"].dims[:3] == ("chain", "draw", "data")
    assert found.posterior["z"].shape == (4, 25, 60, 3)
    assert found.log_likelihood["x"].shape == (4, 25, 60)
    np.testing.assert_array_equal(found.estimates["log_prob"].sel(estimator="ELBO"), table["ELBO"].log_prob)
    assert np.isnan(found.estimates["khat"].sel(estimator="ELBO")).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # arviz warns of the large k-hat of leaving out a datum with its own latent
        loo = arviz.loo(found, pointwise=True)
        assert loo.pareto_k.shape == (60,)
        arviz.plot_khat(loo)
        other = compare(oracle[0], oracle[1], [ImportanceSampling(500)], seed=9).to_arviz()
        ranked = arviz.compare({"first": found, "second": other})
    assert set(ranked.index) == {"first", "second"}
    import matplotlib.pyplot as plt

    plt.close("all")


def test_arviz_without_draws(oracle, tmp_path):
    found = compare(oracle[0], oracle[1], [ELBO()])
    data = found.to_arviz()
    assert list(data.children if hasattr(data, "children") else data.groups()) == ["estimates"]
    found.save(tmp_path)
    assert Comparison.load(tmp_path).record() == found.record()


@pytest.mark.parametrize("kind", ["overview", "bounds", "khat", "cost"])
def test_pictures(table, kind):
    assert table.plot(kind).axes


def test_tables_for_papers_and_frames(oracle, table):
    names = ["ELBO", "IWAE(10)", "IS(2000)", "Exact"]
    lines = table.to_markdown().splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:6]] == names
    assert len({line.count("|") for line in lines[:6]}) == 1
    latex = table.to_latex()
    assert latex.count(r"\\") == 5
    assert latex.count(r"$\pm$") >= 4
    assert "±" not in latex
    assert latex.splitlines()[0] == r"\begin{tabular}{" + "ll" + "r" * (lines[0].count("|") - 3) + "}"
    means = table.to_dataframe().set_index("name")["nats"]
    data = table.to_dataframe(per_datum=True, labels=torch.arange(60) % 3)
    assert len(data) == 4 * 60
    assert data["datum"].max() == 59
    assert set(data["label"]) == {0, 1, 2}
    for name in names:
        own = data[data["estimator"] == name]
        np.testing.assert_array_equal(own["log_prob"], table[name].log_prob)
        assert own["log_prob"].mean() == pytest.approx(means[name])
        assert own["khat"].notna().all() == (name == "IS(2000)")
    with pytest.raises(ConfigurationError, match="one for each datum, with per_datum=True: there are 59"):
        table.to_dataframe(per_datum=True, labels=range(59))
    with pytest.raises(ConfigurationError, match="with per_datum=True"):
        table.to_dataframe(labels=range(60))


def test_marks_of_a_table_are_explained_in_markdown_and_latex():
    torch.manual_seed(1)
    pair = LinearGaussianVAE((6,), latent=3, guide="full").double()
    pair.set_exact_guide(scale=0.3)
    found = compare(pair, torch.randn(20, 6, dtype=torch.float64), [ImportanceSampling(1000)])
    reasons = found.to_markdown().split("\n\n")[1].splitlines()
    assert reasons
    assert all(reason.startswith("- ! IS(1000): ") for reason in reasons)
    assert [line for line in found.to_latex().splitlines() if line.startswith("% ! IS(1000): ")]


def test_binarization_is_stated_with_the_result():
    data = load("digits", binarize="dynamic")
    found = compare(VAE(data.shape, latent=2, hidden=(8,)), data.test[:20], [ELBO(draws=2)])
    assert found.record()["data"]["binarize"] == "dynamic"
    assert "dynamic" in str(found)


def test_gap_of_a_single_datum_is_its_monte_carlo_error():
    values = {"standard_error": torch.tensor([0.3]), "evaluations": 1, "seconds": 1.0, "particles": 10}
    table = Comparison(
        [
            Estimate("a", "lower", torch.tensor([-3.0]), **values),
            Estimate("b", "consistent", torch.tensor([-2.0]), **{**values, "standard_error": torch.tensor([0.4])}),
        ],
        {"name": "one", "rows": 1, "dimensions": 1, "binarize": "none"},
    )
    assert table.gap("a") == pytest.approx((1.0, 0.5))
    assert table.record()["rows"][0]["spread"] is None
    assert "a lies 1.0 ± 0.5 nats below the evidence that b estimates." in table.sentences()


@pytest.mark.parametrize(
    ("late", "words"),
    [
        (NUTS(max_data=3), r"NUTS\(1000\) on 5 data would run"),
        (AnnealedImportance(10), "latent 'z' is discrete"),
        (TemperedSMC(8), "latent 'z' is discrete"),
        (Exact(), "offers no exact evidence"),
        (EUBO(by=AnnealedImportance(10)), "latent 'z' is discrete"),
    ],
    ids=str,
)
def test_what_an_estimator_cannot_do_is_said_before_any_work(late, words):
    class Counted(ELBO):
        def estimate(self, *args, **options):
            raise AssertionError("work has begun")

    class Bare(DiscreteVAE):
        log_evidence = None

    with pytest.raises((PairError, ConfigurationError), match=words):
        compare(Bare((6,), latent=2), torch.zeros(5, 6), [Counted(), late], device="cpu")


def test_reference_is_the_best_there_is():
    def estimate(name, kind, value, particles=1):
        return Estimate(name, kind, torch.tensor([value]), torch.tensor([0.1]), 1, 1.0, particles)

    low, high = estimate("low", "lower", -5.0), estimate("high", "lower", -4.0)
    far, near = estimate("far", "consistent", -3.5, 100), estimate("near", "consistent", -3.0, 10)
    exact, above = estimate("exact", "exact", -3.2), estimate("above", "upper", -1.0)
    broken = estimate("broken", "consistent", float("nan"))
    assert Comparison([low, high, above], {}).reference is high
    assert Comparison([low, near, far, high], {}).reference is near
    assert Comparison([broken, low, far], {}).reference is far
    assert Comparison([low, near, exact], {}).reference is exact
    sharp = replace(estimate("sharp", "consistent", -3.1), standard_error=torch.tensor([0.01]))
    assert Comparison([near, sharp, far], {}).reference is sharp  # within two standard errors of the largest
    off = replace(sharp, log_prob=torch.tensor([-3.3]))
    assert Comparison([near, off], {}).reference is near


@pytest.mark.parametrize(
    ("call", "error", "fragment"),
    [
        (lambda pair, x: compare(pair, x, []), ConfigurationError, "at least one estimator"),
        (lambda pair, x: compare(pair, x, [ELBO(), ELBO()]), ConfigurationError, "two estimators are called 'ELBO'"),
        (lambda pair, x: compare(pair, x, [ELBO()])["IS"], ConfigurationError, "no estimate is called 'IS'"),
        (lambda pair, x: compare(GlobalGaussian((6,)).double(), x, [ELBO()]), NotPerDatum, "outside plate"),
        (lambda pair, x: compare(pair, x[:0], [ELBO()]), DataError, "0 rows"),
        (lambda pair, x: Comparison.load("/nonexistent"), DataError, "nonexistent"),
        (lambda pair, x: traverse(pair, x, steps=1), ConfigurationError, "2 steps"),
    ],
)
def test_bad_requests(oracle, call, error, fragment):
    with pytest.raises(error, match=fragment):
        call(*oracle)


def test_a_damaged_netcdf_is_named(tmp_path, table):
    table.save(tmp_path)
    whole = (tmp_path / "comparison.nc").read_bytes()
    (tmp_path / "comparison.nc").write_bytes(whole[:100])
    with pytest.raises(DataError, match=r"comparison\.nc is damaged"):
        Comparison.load(tmp_path)


def test_samples_reconstructions_and_walks(oracle):
    pair, x = oracle
    torch.manual_seed(0)
    drawn = sample(pair, x, 4000, mean=False)
    assert drawn.shape == (4000, 6)
    covariance = pair.weight @ pair.weight.T + (2 * pair.log_noise).exp().diag()
    deviation = (drawn.var(0) / covariance.diag() - 1) / (2 / 4000) ** 0.5
    assert deviation.abs().max() < 5
    assert ((drawn.mean(0) - pair.bias) / (covariance.diag() / 4000).sqrt()).abs().max() < 5
    torch.manual_seed(0)
    many = torch.stack([reconstruct(pair, x[:3]) for _ in range(500)])
    expected = pair.encoder(x[:3]) @ pair.weight.T + pair.bias
    assert ((many.mean(0) - expected) / (many.std(0) / 500**0.5)).abs().max() < 5
    walk = traverse(pair, x, steps=5, dimensions=2)
    assert walk.shape == (2, 5, 6)
    # The mean of a linear decoder moves in equal steps along a column of its weight.
    steps = walk.diff(dim=1)
    torch.testing.assert_close(steps, steps[:, :1].expand_as(steps))
    columns = {tuple((1.25 * pair.weight[:, j]).tolist()) for j in range(3)}
    for row in steps[:, 0]:
        assert any(np.allclose(row.tolist(), column) for column in columns)


def test_a_fitted_pair_is_compared_as_the_readme_does():
    data = load("digits", binarize="threshold")
    torch.manual_seed(0)
    run = fit(VAE(data.shape, latent=4, hidden=(32,)), data.train, epochs=3, progress=False)
    found = compare(run.pair, data.test[:50], [ELBO(), IWAE(5), ImportanceSampling(200)])
    means = [estimate.log_prob.mean() for estimate in found.estimates]
    assert means[0] < means[1] < means[2]
