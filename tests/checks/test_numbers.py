"""The rules of numbers: what is not finite, not trained, too wide or without a bound."""

from __future__ import annotations

import pytest
import torch

from pyrogen.checks import RULES, check
from pyrogen.checks.examples import RIGHT, changed, load_example
from pyrogen.checks.exponentials import exponential_of_a_network
from pyrogen.models import MADEModel

NUMBERS = [rule for rule in RULES if rule.code.startswith("PG4")]
ENCODED, DECODED, GUIDE = "encoder(x)", "decoder(z)", "encoder(x), 0.5"


def found(text):
    report = check(*load_example(text), select=["PG4"])
    assert not report.skipped
    return {(finding.code, finding.severity, finding.line) for finding in report.findings}


@pytest.mark.parametrize("rule", NUMBERS, ids=lambda rule: rule.code)
def test_the_bad_pair_has_the_fault_and_the_fixed_one_has_nothing(rule):
    assert rule.code in {code for code, *_ in found(rule.bad)}
    assert not found(rule.fixed)


@pytest.mark.parametrize(
    ("replacements", "expected"),
    [
        ([(GUIDE, "1e30 * encoder(x), 0.5")], ("PG401", "error", "<example>:3")),
        ([("decoder(z), 1.0", "decoder(z), 1e-30")], ("PG401", "error", "<example>:4")),
        ([(DECODED, "decoder(z) + (z - z).norm(dim=-1, keepdim=True)")], None),  # torch's norm has gradient zero at zero
        ([(DECODED, "decoder(z) + (z - z).square().sum(-1, keepdim=True).sqrt()")], ("PG402", "error", None)),
        ([(ENCODED, "encoder(x / x.sum(-1, keepdim=True))")], ("PG403", "warning", "<example>:8")),
        ([(ENCODED, "encoder(x.abs().log())")], ("PG403", "warning", "<example>:8")),
        ([(ENCODED, "encoder(x).detach()")], ("PG404", "warning", None)),
        ([("encoder(x), 0.5", "encoder(x).detach().requires_grad_(), 0.5")], ("PG404", "warning", None)),
        ([(DECODED, "decoder(z).clamp(50.0, 60.0)")], None),  # the value does not change with the parameter either
        ([(DECODED, "decoder(z).sign()")], ("PG405", "warning", None)),
        ([(DECODED, "(decoder(z) > 0).float()")], ("PG404", "warning", None)),
        ([(DECODED, "decoder(z) * torch.ones(3, dtype=torch.float64)")], ("PG406", "warning", "<example>:4")),
        ([(GUIDE, "encoder(x), (0.5 * encoder(x)).exp()")], ("PG407", "warning", "<example>:8")),
        ([(GUIDE, "encoder(x), encoder(x).tanh().exp()")], None),
        ([(GUIDE, "encoder(x), encoder(x).clamp(-5.0, 5.0).exp()")], None),
    ],
)
def test_a_fault_has_its_code_its_severity_and_its_line(replacements, expected):
    seen = found(changed(RIGHT, *replacements))
    assert (expected in seen) if expected is not None else (not seen)


def test_an_exponential_is_a_note_where_the_data_are_bounded():
    """No datum that the likelihood allows makes the scale explode."""
    text = changed(
        RIGHT,
        (GUIDE, "encoder(x), encoder(x).exp()"),
        ("Normal(decoder(z), 1.0)", "Bernoulli(logits=decoder(z))"),
        ("torch.randn(8, 3)", "torch.randn(8, 3).gt(0).float()"),
    )
    assert found(text) == {("PG407", "note", "<example>:8")}


def test_frozen_parameters_need_no_gradient():
    text = changed(RIGHT, (ENCODED, "encoder(x).detach()"), ("pair, batch", "encoder.requires_grad_(False)\npair, batch"))
    assert not found(text)


def test_baselines_are_trained_by_themselves():
    reason = "infer={'baseline': {'nn_baseline': net, 'nn_baseline_input': x, 'baseline_value': base(x).squeeze(-1)}}"
    text = changed(
        RIGHT,
        ("dist.Normal(encoder(x), 0.5).to_event(1))", f"dist.Normal(encoder(x), 0.5).to_event(1), {reason})"),
        ("encoder, decoder =", "net, base = nn.Linear(3, 1), nn.Linear(3, 1)\nencoder, decoder ="),
    )
    assert not found(text)
    unused = changed(text, ("'nn_baseline': net", "'another key': net"))
    assert {code for code, *_ in found(unused)} == {"PG404"}


def test_only_what_is_observed_is_taken_to_extremes():
    """A scale that comes with the datum is never zero, whatever the datum."""
    text = changed(
        RIGHT,
        ("def model(x):", "def model(x, s):"),
        ("def guide(x):", "def guide(x, s):"),
        ("decoder(z), 1.0", "decoder(z), s"),
        ("torch.randn(8, 3)", "(torch.randn(8, 3), torch.ones(8, 3) * 2)"),
    )
    assert not found(text)
    columns = changed(
        RIGHT,
        ("decoder(z), 1.0", "decoder(z)[..., :2], x[:, 2:]"),
        ("obs=x", "obs=x[:, :2]"),
        ("torch.randn(8, 3)", "torch.randn(8, 3).exp()"),
    )
    assert not found(columns)


def test_pixels_are_never_large():
    text = changed(RIGHT, (GUIDE, "encoder(x), encoder(x).exp()"))
    assert ("PG407", "warning", "<example>:8") in found(text)
    assert ("PG407", "note", "<example>:8") in found(changed(text, ("torch.randn(8, 3)", "torch.rand(8, 3)")))


def test_double_precision_by_wish_is_no_promotion():
    text = changed(
        RIGHT, ("torch.randn(8, 3)", "torch.randn(8, 3).double()"), ("nn.Linear(2, 3)", "nn.Linear(2, 3).double()")
    )
    text = changed(text, ("nn.Linear(3, 2)", "nn.Linear(3, 2).double()"))
    assert not found(text)


def test_masked_weights_units_that_are_off_and_initial_zeros_are_no_faults():
    torch.manual_seed(0)
    assert not check(MADEModel((5,), hidden=(8,)), torch.ones(8, 5), select=["PG4"]).findings
    zero = changed(RIGHT, ("pair, batch", "nn.init.zeros_(decoder.weight)\npair, batch"))
    assert not found(zero)


@pytest.mark.parametrize(
    ("function", "unbounded"),
    [
        (lambda h: h.exp(), True),
        (lambda h: (h / 2 + 1).exp().unsqueeze(0) * 3 + 1e-4, True),
        (lambda h: h.split(1, -1)[0].exp(), True),
        (lambda h: h.clamp(max=3).exp(), False),
        (lambda h: (5 * (h / 5).tanh()).exp(), False),
        (lambda h: torch.nn.functional.softplus(h), False),
        (lambda h: h.exp().log1p(), False),
        (lambda h: torch.zeros(2, requires_grad=True).exp(), False),
    ],
)
def test_an_exponential_is_told_from_autograds_graph(function, unbounded):
    hidden = torch.nn.Linear(3, 2)(torch.ones(4, 3))
    assert exponential_of_a_network(function(hidden)) == unbounded
