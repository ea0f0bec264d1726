"""Pyro's own examples run, where a checkout of Pyro is named; and what tripped on them stays mended."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.contrib.easyguide import EasyGuide
from pyro.infer import SVI, Trace_ELBO
from pyro.optim import Adam
from torch import nn

from pyrogen import Pair
from pyrogen.errors import PairError
from pyrogen.inference import ELBO, ImportanceSampling, compare, log_weights

ROOT = Path(__file__).parents[1]
CHECKOUT = os.environ.get("PYROGEN_PYRO")
ROWS = 12


def _data(rows=ROWS):
    return torch.randn(rows, 3, generator=torch.Generator().manual_seed(0))


def _vae(*sizes):
    """A VAE whose plate gets what `sizes` says of the batch's length: nothing, or the length itself."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)

    def plate(x):
        return pyro.plate("data", *(size(x) for size in sizes))

    def model(x):
        pyro.module("decoder", decoder)
        with plate(x):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)

    def guide(x):
        pyro.module("encoder", encoder)
        with plate(x):
            pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(1))

    return model, guide


# A plate without a size, as in vae/ss_vae_M2.py and cvae/cvae.py.


def test_a_plate_without_a_size_gives_the_log_weights_of_one_with_the_batch_s_length():
    weights, structures = [], []
    for sizes in ((), (len,)):
        pair = Pair.of(*_vae(*sizes))
        structures.append(pair.structure(_data()))
        with torch.random.fork_rng():
            torch.manual_seed(2)
            weights.append(log_weights(pair, _data(), 5))
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=0)
    assert structures[0] == structures[1]
    assert not structures[0].objections
    assert structures[0].rows is None


def test_the_loss_under_a_plate_without_a_size_is_pyro_s():
    model, guide = _vae()
    pair = Pair.of(model, guide)
    pair.initialise(_data())
    losses = []
    for loss in (
        lambda: ELBO(kl="sampled").loss(pair, _data()) * ROWS,
        lambda: Trace_ELBO().differentiable_loss(model, guide, _data()),
    ):
        with torch.random.fork_rng(), pair.scope():
            torch.manual_seed(3)
            losses.append(float(loss().detach()))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def _shared_latent(x):
    with pyro.plate("data"):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))  # one for all data: this plate makes it no longer
        pyro.sample("x", dist.Normal(z, 1.0).expand([len(x), 3]).to_event(1), obs=x)


def _shared_guide(x):
    with pyro.plate("data"):
        pyro.sample("z", dist.Normal(0.0, 1.0))


def test_a_latent_that_data_share_unseen_in_a_plate_without_a_size_is_refused():
    with pytest.raises(
        PairError, match=r"site 'z' has log probabilities of shape \(\) in plate 'data', .* no size .* 12 data"
    ):
        Pair.of(_shared_latent, _shared_guide).structure(_data())


def _computed(x):
    with pyro.plate("data"):
        pyro.deterministic("mean", x.mean())
        z = pyro.sample("z", dist.Normal(x.new_zeros(len(x)), 1.0))
        pyro.sample("x", dist.Normal(z[..., None], 1.0).expand((*z.shape, 3)).to_event(1), obs=x)


def _computed_guide(x):
    with pyro.plate("data"):
        pyro.sample("z", dist.Normal(x.mean(-1), 1.0))


def test_what_is_computed_in_a_plate_without_a_size_may_be_of_all_data():
    assert Pair.of(_computed, _computed_guide).structure(_data()).local >= {"z", "x"}


def _mixing(x):
    with pyro.plate("data"):
        z = pyro.sample("z", dist.Normal(x.new_zeros(len(x)), 1.0))
        centre = x.mean(0)  # of all data, so that each of them depends on the others
        pyro.sample("x", dist.Normal(centre + z[..., None], 1.0).to_event(1), obs=x)


def test_data_that_depend_on_each_other_are_seen_in_a_plate_without_a_size():
    structure = Pair.of(_mixing, _computed_guide).structure(_data())
    assert re.search("'x' gives a datum another log probability", "; ".join(map(str, structure.objections)))


# A guide that keeps its plates from run to run, and breaks off on part of a batch, as in sparse_gamma_def.py.


class _Kept(EasyGuide):
    def guide(self, x):
        group = self.group(match="z")
        with self.plate("data", x.size(0)):
            loc = pyro.param("loc", lambda: torch.zeros(ROWS, 2))
            group.sample("zs", dist.Normal(loc, 0.5).to_event(1))


def test_an_easy_guide_with_parameters_for_each_datum_is_a_pair_of_the_whole_batch():
    model, _ = _vae(len)
    pair = Pair.of(model, _Kept(model))
    structure = pair.structure(_data())
    assert not structure.amortized
    table = compare(pair, _data(), [ELBO(draws=400), ImportanceSampling(400)])
    reference = SVI(model, pair.guide, Adam({}), Trace_ELBO(num_particles=400, vectorize_particles=False))
    with pair.scope(), torch.random.fork_rng():
        torch.manual_seed(4)
        losses = torch.tensor([reference.evaluate_loss(_data()) for _ in range(2)])
    estimate = table.estimates[0]
    error = float(estimate.standard_error.square().sum().sqrt())
    assert abs(float(estimate.log_prob.sum()) + float(losses.mean())) < 5 * error * 1.5  # two means of 400 beside one


# A plate that draws a fixed number of the batch's data, as in air/air.py.


def test_why_particles_run_in_turn_is_not_that_a_few_rows_hold_no_subsample():
    encoder = nn.Linear(3, 2)

    def guide(x):
        with pyro.plate("data", len(x), subsample_size=6) as taken:
            pyro.sample("z", dist.Normal(encoder(x[taken]), 0.5).to_event(1))

    def subsampled(x):
        with pyro.plate("data", len(x)) as taken:
            part = x[taken]
            z = pyro.sample("z", dist.Normal(part.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(torch.cat([z, z[..., :1]], -1), 1.0).to_event(1), obs=part)

    structure = Pair.of(subsampled, guide).structure(_data())
    assert structure.loop is None
    assert structure.subsampled


# The script and its page.


@pytest.fixture
def compatibility(monkeypatch):
    """The script as a module; the process is left as it was."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    before = set(sys.modules)
    threads = torch.get_num_threads()
    with torch.random.fork_rng():
        import compatibility

        yield compatibility
    torch.set_num_threads(threads)
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("compatibility", "pyro_examples"):
            del sys.modules[name]


def _attempt(compatibility, **changed):
    examples = sys.modules["pyro_examples.attempt"]
    model, guide = _vae(len)
    return examples.Attempt(**{"pair": Pair.of(model, guide), "batch": _data(), "programs": (model, guide), **changed})


def test_a_right_pair_runs_and_the_numbers_are_pyro_s(compatibility):
    result = compatibility.tried(_attempt(compatibility))
    assert result.wrong == []
    assert result.runs("structure", "same loss", "fit", "graph", "compare", "check")


def test_another_loss_than_pyro_s_is_told(compatibility):
    model, guide = _vae(len)
    wrong = _attempt(compatibility, programs=(pyro.poutine.scale(model, 1.01), guide))
    assert any("same loss" in problem for problem in compatibility.tried(wrong).wrong)


@pytest.mark.parametrize(
    ("words", "told"),
    [(None, "structure: refused: "), ("another reason", "in other words"), ("'z' has log probabilities", None)],
)
def test_a_refusal_is_wrong_unless_its_words_are_expected(compatibility, words, told):
    examples = sys.modules["pyro_examples.attempt"]
    refusals = {} if words is None else {"structure": examples.Refusal(words, "it is.")}
    attempt = _attempt(
        compatibility,
        pair=Pair.of(_shared_latent, _shared_guide),
        programs=None,
        refusals=refusals,
        findings={"PG108": "it is."},
    )
    wrong = compatibility.tried(attempt).wrong
    assert wrong == [] if told is None else any(told in problem for problem in wrong)


def test_a_refusal_that_does_not_come_is_told(compatibility):
    examples = sys.modules["pyro_examples.attempt"]
    result = compatibility.tried(_attempt(compatibility, refusals={"fit": examples.Refusal("x", "y")}))
    assert any("not refused" in problem for problem in result.wrong)


def test_an_example_is_imported_with_stand_ins_and_leaves_nothing_behind(compatibility, tmp_path):
    checkout = sys.modules["pyro_examples.checkout"]
    examples = sys.modules["pyro_examples.attempt"]
    folder = tmp_path / "examples" / "some"
    folder.mkdir(parents=True)
    (folder / "beside.py").write_text("VALUE = 3\n")
    (folder / "one.py").write_text(
        "import not_installed.part as part\nfrom beside import VALUE\nclass Child(part.Parent):\n    value = VALUE\n"
    )
    example = examples.Example("some/one.py", lambda module: [], ("not_installed", "not_installed.part"))
    modules, path = dict(sys.modules), list(sys.path)
    with checkout.imported(example, tmp_path) as module:
        assert module.Child.value == 3
    assert not {"one", "beside", "not_installed", "not_installed.part"} & set(sys.modules)
    assert set(modules) <= set(sys.modules)
    assert path == sys.path
    with pytest.raises(FileNotFoundError, match="PYROGEN_PYRO must name a checkout"):
        checkout.imported(examples.Example("some/two.py", lambda module: []), tmp_path).__enter__()


def test_the_verdict_is_that_of_the_first_attempt_that_runs(compatibility):
    page = sys.modules["pyro_examples.page"]

    def result(change, **refused):
        stages = {stage: SimpleNamespace(refused=refused.get(stage, False)) for stage in ("structure", "fit", "compare")}
        return SimpleNamespace(
            attempt=SimpleNamespace(change=change),
            wrong=[],
            runs=lambda *names: not any(stages[name].refused for name in names),
        )

    assert page.verdict_of([result("")]) == "runs as it stands"
    assert page.verdict_of([result("", structure=True), result("binary")]) == "runs with a named change: binary"
    assert page.verdict_of([result("", compare=True)]).startswith("`fit` runs as it stands; `compare` is refused")
    assert page.verdict_of([result("", structure=True, fit=True, compare=True)]) == "refused with a right reason"
    assert page.verdict_of([SimpleNamespace(wrong=["x"])]) == "**not as it should be**"


def test_the_page_tells_of_every_example_and_of_nothing_wrong(compatibility):
    text = (ROOT / "docs" / "generated" / "compatibility.md").read_text()
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [
        example.path for example in sys.modules["pyro_examples"].EXAMPLES
    ]
    assert "ot as it should be" not in text


@pytest.mark.skipif(CHECKOUT is None, reason="PYROGEN_PYRO names no checkout of pyro-ppl/pyro")
@pytest.mark.parametrize("only", ["svi_torch", "eight_schools", "sparse_gamma", "lda", "cevae"])  # the quick ones
@pytest.mark.filterwarnings("default")
def test_an_example_of_pyro_does_as_the_page_says(compatibility, only, capsys):
    assert compatibility.main(["--only", only, "--pyro", str(CHECKOUT)]) == 0, capsys.readouterr().err
    (verdict,) = re.findall(rf"^\| \[[^|]*{only}.*\| ([^|]*) \|$", capsys.readouterr().out, re.MULTILINE)
    assert verdict in (ROOT / "docs" / "generated" / "compatibility.md").read_text()
