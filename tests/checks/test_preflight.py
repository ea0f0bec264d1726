"""What `fit` and `compare` say of a pair before they begin."""

from __future__ import annotations

import warnings

import pytest
import right_pairs as right
import torch

from pyrogen.checks import PairWarning, preflight
from pyrogen.checks.examples import changed, load_example
from pyrogen.errors import NotPerDatum, PairError
from pyrogen.inference import ELBO, compare, fit

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
    assert [text[:5] for text in first] == ["PG116"] * 2
    assert "(<scaled>:8)" in first[0]
    assert warned(pair, batch) == warned(pair, batch[:7]) == []
    other, _ = load_example(SCALED, "scaled")
    assert len(warned(other, batch)) == 2


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
