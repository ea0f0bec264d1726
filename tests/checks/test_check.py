"""`check` itself: it leaves everything as it was, obeys codes and comments, and reports in words and in JSON."""

from __future__ import annotations

import json
import random
import warnings

import numpy as np
import pyro
import pytest
import right_pairs as right
import torch
from torch import nn

import pyrogen
from pyrogen.checks import RULES, Finding, Report, check
from pyrogen.checks.catalogue import catalogue
from pyrogen.checks.examples import changed, load_example
from pyrogen.checks.snapshot import preserved
from pyrogen.errors import ConfigurationError, DataError, NotPerDatum, PairError

BATCH_NORM = right.VAE.replace("nn.Linear(6, 8), nn.Tanh(),", "nn.Linear(6, 8), nn.BatchNorm1d(8),")


def state(pair):
    """Everything about a pair that a check could change."""
    return {
        "modules": {name: module.training for name, module in pair.named_modules()},
        "tensors": {
            name: (id(tensor), tensor.detach().clone(), tensor.requires_grad, tensor.grad, tensor.grad_fn)
            for name, tensor in (*pair.named_parameters(), *pair.named_buffers())
        },
        "attributes": {
            name: {key: value if isinstance(value, bool | str | int) else id(value) for key, value in vars(module).items()}
            for name, module in pair.named_modules()
        },
        "sizes": {name: {k: len(v) for k, v in vars(m).items() if isinstance(v, dict)} for name, m in pair.named_modules()},
        "store": sorted(pyro.get_param_store().keys()),
    }


def same(first, second):
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, tuple):
        return all(same(a, b) for a, b in zip(first, second, strict=True))
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    return first == second


INITIALISED = ["functions", "global latents, an autoguide", "batch norm"]


@pytest.mark.parametrize(
    ("name", "initialised"),
    [*((name, False) for name in [*right.RIGHT, "batch norm"]), *((name, True) for name in INITIALISED)],
)
def test_a_check_changes_nothing(name, initialised):
    pair, batch = load_example(BATCH_NORM if name == "batch norm" else right.RIGHT[name], name)
    if initialised:
        pair.initialise(batch)
    for number, parameter in enumerate(pair.parameters()):
        if number % 2:
            parameter.requires_grad_(False)
        else:
            parameter.grad = torch.ones_like(parameter)
    next(module for module in pair.modules() if module is not pair or len(list(pair.modules())) == 1).training = False
    before = state(pair)
    generators = torch.get_rng_state(), random.getstate(), str(np.random.get_state())  # noqa: NPY002
    check(pair, batch)
    assert same(state(pair), before)
    assert torch.equal(torch.get_rng_state(), generators[0])
    assert (random.getstate(), str(np.random.get_state())) == generators[1:]  # noqa: NPY002
    assert all(parameter.grad is None or bool((parameter.grad == 1).all()) for parameter in pair.parameters())


def test_what_a_rule_does_to_a_module_is_undone():
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with preserved(module, seed=0):
        torch.manual_seed(3)
        module(torch.randn(4, 2)).sum().backward()
        for parameter in module.parameters():
            parameter.data = torch.zeros(3)
        module[1].running_mean.data.fill_(7.0)
        module.add_module("more", nn.Linear(1, 1))
        module.extra = 3
        module.eval()
    assert same(dict(module.state_dict()), before)
    assert module.training
    assert not hasattr(module, "extra")
    assert all(parameter.grad is None for parameter in module.parameters())


def test_a_fit_after_a_check_is_the_fit_without():
    from pyrogen.inference import fit

    losses = []
    for checked in (False, True):
        pair, batch = load_example(right.FUNCTIONS)
        if checked:
            check(pair, batch)
        run = fit(pair, batch, steps=3, batch_size=5, progress=False, log_every=1, device="cpu")
        losses.append([row["loss"] for row in run.history])
    assert losses[0] == losses[1]


def test_codes_are_selected_and_ignored_by_their_beginnings():
    pair, batch = load_example(right.VAE)
    assert set(check(pair, batch, select=["PG2", "PG301"]).ran) == {"PG201", "PG202", "PG203", "PG204", "PG205", "PG301"}
    assert not any(code.startswith("PG1") for code in check(pair, batch, ignore=["PG1", "PG6"]).ran)
    assert check(pair, batch, select=["PG2"], ignore=["PG20"]).ran == ()


@pytest.mark.parametrize("words", [{"select": ["PG9"]}, {"ignore": ["E501"]}, {"select": [""]}])
def test_a_code_that_no_rule_has(words):
    pair, batch = load_example(right.VAE)
    with pytest.raises(ConfigurationError, match=r"no rule has a code that begins with .*PG1.. \(structure\)"):
        check(pair, batch, **words)


def test_what_is_no_batch():
    with pytest.raises(DataError):
        check(load_example(right.VAE)[0], [])


ZEROS = changed(right.VAE, ("x.new_zeros(2)", "torch.zeros(2)"))
SAMPLE = 'z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))'


@pytest.mark.parametrize(
    ("comment", "silent"),
    [
        ("# pyrogen: ignore[PG601]", True),
        ("#pyrogen:ignore[PG111, PG6]", True),
        ("# pyrogen: ignore", True),
        ("# pyrogen: ignore[PG602]", False),
        ("# noqa", False),
        ("# pyrogen: ignore[]", False),
    ],
)
@pytest.mark.parametrize("line", [SAMPLE, "class VAE(Pair):", "    def model(self, x):"])
def test_a_comment_silences(line, comment, silent):
    pair, batch = load_example(changed(ZEROS, (line, f"{line}  {comment}")), f"comment {comment} {len(line)}")
    report = check(pair, batch, select=["PG6"], device="cuda")
    assert {finding.code for finding in report.silenced} == ({"PG601"} if silent else set())
    assert report.codes() == (set() if silent else {"PG601"})
    assert report.ok == silent


def test_a_comment_on_a_function_silences_a_pair_of_functions():
    source = changed(
        right.FUNCTIONS,
        ("def guide(x):", "def guide(x):  # pyrogen: ignore[PG101]"),
        ('"z", dist.Normal(enc', '"y", dist.Normal(enc'),
    )
    report = check(*load_example(source, "functions, silenced"))
    assert [finding.code for finding in report.silenced] == ["PG101"]
    assert report.ok


def test_findings_name_the_line_of_the_user(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = changed(right.VAE, ("Normal(loc, nn.functional.softplus(raw))", "Normal(loc, raw)"))
    (tmp_path / "mine.py").write_text(
        "import pyro, torch\nimport pyro.distributions as dist\nfrom torch import nn\nfrom pyrogen import Pair\n" + source
    )
    space = {}
    exec(compile((tmp_path / "mine.py").read_text(), str(tmp_path / "mine.py"), "exec"), space)
    (finding,) = check(space["pair"], space["batch"], select=["PG2"]).by_code("PG204")
    number = next(
        i for i, text in enumerate((tmp_path / "mine.py").read_text().splitlines(), 1) if "Normal(loc, raw)" in text
    )
    assert finding.line == f"mine.py:{number}"


def test_lines_of_the_zoo_are_those_of_the_zoo():
    from pyrogen.models import VAE

    report = check(VAE((4,), latent=2, hidden=(3,)), 2 + torch.rand(5, 4), select=["PG203"])
    (finding,) = report.findings
    assert "vae.py:" in finding.line


def test_refusals_have_one_wording_everywhere():
    from pyrogen.inference import ELBO, compare, fit

    source = changed(right.VAE, ("self.decoder(z)).to_event(1), obs=x)", "self.decoder(z)).to_event(1))"))
    pair, batch = load_example(source)
    (finding,) = check(pair, batch).findings
    for use in (
        lambda: fit(pair, batch, steps=1, progress=False),
        lambda: compare(pair, batch, [ELBO()]),
        lambda: pair.structure(batch),
    ):
        with pytest.raises(PairError) as caught:
            use()
        assert (caught.value.code, caught.value.site) == (finding.code, finding.site) == ("PG101", "x")
        assert str(caught.value) == f"{finding.seen}: {finding.remedy}"


def test_objections_carry_their_codes():
    pair, batch = load_example(right.GLOBAL)
    with pytest.raises(NotPerDatum) as caught:
        pair.structure(batch).require_per_datum("IWAE")
    assert (caught.value.code, caught.value.site) == ("PG114", "mu")


def test_a_refusal_stops_the_rules_that_run_the_pair():
    pair, batch = load_example(changed(right.VAE, (", obs=x", "")))
    report = check(pair, batch)
    assert report.codes() == {"PG101"}
    assert set(report.skipped) | set(report.ran) == {rule.code for rule in RULES}
    assert "PG302" in report.skipped
    assert "did not look: the pair is refused (PG101), and cannot be run" in str(report)


@pytest.mark.parametrize(
    "error", [PairError("no code", remedy="none"), PairError("odd", code="PG999"), RuntimeError("torch")]
)
def test_no_refusal_is_lost(error, monkeypatch):
    pair, batch = load_example(right.VAE)

    def refuse(batch):
        raise error

    monkeypatch.setattr(pair, "structure", refuse)
    (finding,) = check(pair, batch).findings
    assert finding.code == "PG100"
    assert str(error).partition(":")[0] in finding.seen


def test_a_rule_that_fails_says_so_and_stops_no_other(monkeypatch):
    rule = next(rule for rule in RULES if rule.code == "PG202")

    def fail(subject):
        raise RuntimeError("broken")

    monkeypatch.setattr(rule, "look", fail, raising=False)
    pair, batch = load_example(right.VAE)
    report = check(pair, batch, select=["PG2"])
    assert list(report.skipped) == ["PG202"]
    assert {"PG201", "PG203", "PG204", "PG205"} == set(report.ran)
    assert "PG202 did not look: could not run: RuntimeError: broken" in str(report)


def test_the_report_is_readable_and_in_json():
    pair, batch = load_example(changed(ZEROS, ("self.encoder(x)", "self.encoder(x - x.mean(0))")), "two faults")
    report = check(pair, batch)
    assert max(map(len, str(report).splitlines())) <= 110
    values = json.loads(report.to_json())
    assert values["ok"] is report.ok is False
    assert [Finding(**{**f, "shape": f["shape"] and tuple(f["shape"])}) for f in values["findings"]] == list(report.findings)
    order = [finding.severity for finding in report.findings]
    assert order == sorted(order, key=["error", "warning", "note"].index)
    assert report.by_code("PG6") == [finding for finding in report.findings if finding.code == "PG601"]
    assert str(Report("Mine", (), ran=("PG101", "PG102"))) == "Mine: nothing to say, by 2 rules in 0.0 s"


def test_the_package_offers_it():
    assert pyrogen.check is check
    assert "check" in pyrogen.__all__


def test_the_catalogue_is_up_to_date(request):
    page = (request.config.rootpath / "docs" / "generated" / "checks.md").read_text()
    assert page == catalogue(), "run: python -m pyrogen.checks.catalogue > docs/generated/checks.md"


def test_what_a_gpu_would_refuse_is_one_note_where_nobody_asks_for_one():
    source = changed(
        right.FUNCTIONS,
        ("dist.Normal(decoder(z), scale)", "dist.Normal(decoder(z) + torch.zeros(5), scale)"),
        ('"z", dist.Normal(encoder(x)', '"z", dist.Normal(torch.zeros(2) + encoder(x)'),
    )
    pair, batch = load_example(source)
    asked = check(pair, batch, device="cuda").by_code("PG6")
    assert len(asked) == 2
    assert {finding.severity for finding in asked} == {"error"}
    for device in (None, "cpu"):
        report = check(pair, batch, device=device)
        (note,) = report.by_code("PG6")
        assert note.severity == "note"
        assert note.seen == f"{asked[0].seen}; 1 more like it"
        assert note.line == asked[0].line
        assert report.ok
    with pytest.raises(ConfigurationError, match="unknown device 'gpu': use 'cpu' or 'cuda'"):
        check(pair, batch, device="gpu")


def test_a_sequential_plate_may_draw_a_subsample():
    """Pyro's second tutorial on SVI: other sites in every run, which train."""
    from pyrogen.inference import fit

    pair, batch = load_example("""
def model(x):
    fairness = pyro.sample("fairness", dist.Beta(x.new_tensor(10.0), x.new_tensor(10.0)))
    for i in pyro.plate("tosses", len(x), subsample_size=5):
        pyro.sample(f"toss_{i}", dist.Bernoulli(fairness), obs=x[i])

def guide(x):
    counts = pyro.param("counts", x.new_full((2,), 5.0), constraint=constraints.positive)
    pyro.sample("fairness", dist.Beta(*counts))

pair, batch = Pair.of(model, guide), torch.cat([torch.ones(30), torch.zeros(10)])
""")
    report = check(pair, batch, device="cuda")
    assert report.ok, str(report)
    assert "PG112" in report.ran
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit(pair, batch, steps=1500, batch_size=40, lr=0.03, scheduler="cosine", progress=False, device="cpu")
    ones, zeros = pair.pyro_params.counts.exp().tolist()  # of the posterior: 40 and 20
    assert abs(ones / (ones + zeros) - 2 / 3) < 0.1
    assert 30 < ones + zeros < 90
