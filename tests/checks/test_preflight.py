"""What `fit` and `compare` say of a pair before they begin."""

from __future__ import annotations

import re
import warnings

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import pytest
import right_pairs as right
import torch

from pyrogen.checks import PairWarning, check, preflight
from pyrogen.checks.examples import changed, load_example
from pyrogen.checks.rules import RULES
from pyrogen.errors import NotPerDatum, PairError
from pyrogen.inference import ELBO, compare, fit
from pyrogen.pair import Pair

SCALED = changed(
    right.FUNCTIONS,
    (
        '    with pyro.plate("data", len(x)):\n        z = pyro.sample',
        '    with poutine.scale(scale=0.5), pyro.plate("data", len(x)):\n        z = pyro.sample',
    ),
)
SUMMED = changed(right.FACTOR, (".sum(-1))", ".sum())"))


def warned(pair, batch):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        preflight(pair, batch)
    return [str(one.message) for one in seen if issubclass(one.category, PairWarning)]


def test_a_warning_is_given_once_for_each_kind_of_batch():
    pair, batch = load_example(SCALED, "scaled")
    first = warned(pair, batch)
    assert [text[:5] for text in first] == ["PG116"]
    assert "(<scaled>:8)" in first[0]
    assert "1 more like it" in first[0]
    assert warned(pair, batch) == warned(pair, batch[:7]) == []
    other, _ = load_example(SCALED, "scaled")
    assert len(warned(other, batch)) == 1


def test_fit_warns():
    pair, batch = load_example(SCALED)
    with pytest.warns(PairWarning, match="PG116"):
        fit(pair, batch, steps=1, progress=False)


def test_compare_warns_and_then_refuses():
    pair, batch = load_example(SCALED)
    with pytest.warns(PairWarning, match="PG116"), pytest.raises(NotPerDatum):
        compare(pair, batch, [ELBO()])


def test_an_error_stops_fit():
    pair, batch = load_example(SUMMED)
    with pytest.raises(PairError, match="one number, which plate 'data' repeats") as caught:
        fit(pair, batch, steps=1, progress=False)
    assert caught.value.code == "PG304"


def test_a_comment_silences_it():
    source = SUMMED.replace('pyro.factor("x",', 'pyro.factor("x",  # pyrogen: ignore[PG304]\n               ')
    pair, batch = load_example(source, "silenced factor")
    assert warned(pair, batch) == []


@pytest.mark.parametrize("name", right.RIGHT)
def test_right_pairs_pass_and_stay_as_they_were(name):
    pair, batch = load_example(right.RIGHT[name])
    pair.structure(batch)
    for parameter in pair.parameters():
        parameter.requires_grad_(False)
    before, generator = {k: v.clone() for k, v in pair.state_dict().items()}, torch.get_rng_state()
    assert warned(pair, batch) == []
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(value, before[key]) for key, value in pair.state_dict().items())
    assert not any(parameter.requires_grad for parameter in pair.parameters())


def test_what_all_turns_of_a_loop_share_is_said_once():
    def model(x):
        for row in pyro.plate("data", len(x)):
            with poutine.scale(scale=0.5):
                z = pyro.sample(f"z{row}", dist.Normal(0.0, 1.0))
            pyro.sample(f"x{row}", dist.Normal(z, 1.0), obs=x[row])

    def guide(x):
        for row in pyro.plate("data", len(x)):
            pyro.sample(f"z{row}", dist.Normal(x[row], 1.0))

    loop, text = warned(Pair.of(model, guide), torch.randn(9))
    assert re.match(r"PG116 .*site 'z0' is scaled by 0.5 \(poutine.scale\).*; 8 more like it:", text)
    assert loop.startswith("PG113")


def test_a_loop_over_a_part_of_the_data_is_scaled_as_it_should_be():
    def model(x):
        for row in pyro.plate("data", len(x), subsample_size=3):
            pyro.sample(f"x{row}", dist.Normal(0.0, 1.0), obs=x[row])

    assert [text[:5] for text in warned(Pair.of(model, lambda x: None), torch.randn(9))] == ["PG113"]


def test_rules_look_at_the_rows_that_a_loop_drew_first():
    def model(x):
        inner = pyro.plate("inner", 3, subsample_size=2)
        for row in pyro.plate("data", len(x), subsample_size=2):
            for column in inner:
                z = pyro.sample(f"z{row}{column}", dist.Normal(0.0, 1.0))
                pyro.sample(f"x{row}{column}", dist.Normal(z, 1.0), obs=x[row, column])

    def guide(x):
        loc, inner = pyro.param("loc", torch.zeros(())), pyro.plate("inner", 3, subsample_size=2)
        for row in pyro.plate("data", len(x), subsample_size=2):
            for column in inner:
                pyro.sample(f"z{row}{column}", dist.Normal(loc + x[row, column], 1.0))

    report = check(Pair.of(model, guide), torch.randn(3, 3))
    assert report.codes() == {"PG113", "PG117"}
    assert not [reason for reason in report.skipped.values() if "could not run" in reason]


def test_a_plate_without_a_size_is_trained():
    def model(x):
        level = pyro.sample("level", dist.Normal(0.0, 1.0))
        with pyro.plate("data"):
            pyro.sample("x", dist.Normal(level, 1.0), obs=x)

    def guide(x):
        pyro.sample("level", dist.Normal(pyro.param("loc", torch.zeros(())), 1.0))

    pair, x = Pair.of(model, guide), torch.randn(9)
    with warnings.catch_warnings():
        warnings.simplefilter("error", PairWarning)
        fit(pair, x, steps=2, progress=False)
    assert not check(pair, x).skipped.keys() & {rule.code for rule in RULES if rule.cheap}


def test_a_rule_that_fails_keeps_nobody_from_training(monkeypatch):
    def broken(subject):
        raise IndexError("no such dimension")

    first = next(rule for rule in RULES if rule.cheap)
    assert first.code != "PG116"
    monkeypatch.setattr(first, "detector", broken)
    pair, batch = load_example(SCALED)
    with pytest.warns(PairWarning, match="PG116"):
        fit(pair, batch, steps=1, progress=False)
