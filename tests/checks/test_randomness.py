"""The rules of randomness: draws that no site declares, generators that no seed reaches, layers that stay in training."""

from __future__ import annotations

import random

import pytest
import torch

from pyrogen.checks import RULES, check
from pyrogen.checks.examples import RIGHT, changed, load_example
from pyrogen.checks.random_runs import numpy_state

RANDOMNESS = [rule for rule in RULES if rule.code.startswith("PG5")]
ENCODED, DECODED, HELD = "encoder(x)", "decoder(z)", "encoder, decoder ="


def found(text):
    report = check(*load_example(text), select=["PG5"])
    assert not report.skipped
    return {(finding.code, finding.severity, finding.line) for finding in report.findings}


@pytest.mark.parametrize("rule", RANDOMNESS, ids=lambda rule: rule.code)
def test_the_bad_pair_has_the_fault_and_the_fixed_one_has_nothing(rule):
    assert rule.code in {code for code, *_ in found(rule.bad)}
    assert not found(rule.fixed)


FAULTS = {
    "noise": ("PG501", 4, "decoder(z) + 0.1 * torch.randn(3)", ""),
    "bernoulli": ("PG501", 8, "encoder(x * torch.bernoulli(0.5 * torch.ones_like(x)))", ""),
    "a distribution": ("PG501", 8, "dist.Normal(encoder(x), 1.0).rsample()", ""),
    "gumbel": ("PG501", 4, "nn.functional.gumbel_softmax(decoder(z))", ""),
    "in place": ("PG501", 8, "encoder(x + x.new_empty(3).normal_())", ""),
    "of a called function": ("PG501", 11, "noisy(encoder(x))", "def noisy(h):\n    return h + torch.rand(2)\n\n"),
    "python": ("PG502", 8, "encoder(x) + random.random()", "import random\n"),
    "python's choice": ("PG502", 8, "encoder(x * random.choice([1.0, 2.0]))", "import random\n"),
    "numpy": ("PG502", 8, "encoder(x) + numpy.random.randn()", "import numpy\n"),
    "python below": (
        "PG502",
        12,
        "noisy(encoder(x))",
        "import random\ndef noisy(h):\n    return h * random.gauss(1.0, 0.1)\n\n",
    ),
    "dropout": ("PG503", 8, "nn.functional.dropout(encoder(x), 0.5)", ""),
    "dropout of channels": ("PG503", 8, "nn.functional.feature_alpha_dropout(encoder(x), 0.5, training=True)", ""),
    "attention": (
        "PG503",
        8,
        "nn.functional.scaled_dot_product_attention(*3 * [encoder(x).unsqueeze(-2)], dropout_p=0.5).squeeze(-2)",
        "",
    ),
    "batch norm": ("PG504", 8, "nn.functional.batch_norm(encoder(x), None, None, training=True)", ""),
    "a generator": ("PG505", 8, "encoder(x) + torch.rand(2, generator=held)", "held = torch.Generator()\n"),
    "numpy's generator": ("PG505", 8, "encoder(x) + held.normal()", "import numpy\nheld = numpy.random.default_rng(0)\n"),
    "a clock": ("PG505", 8, "encoder(x) + time.perf_counter_ns() % 1000", "import time\n"),
    "a counter": ("PG505", 8, "encoder(x) * next(held)", "import itertools\nheld = itertools.count(1)\n"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_has_its_code_and_its_line(name):
    code, line, passage, before = FAULTS[name]
    what = ENCODED if "encoder" in passage or "rsample" in passage else DECODED
    seen = found(changed(RIGHT, (what, passage), (HELD, before + HELD)))
    severity = next(rule.fault.severity for rule in RANDOMNESS if rule.code == code)
    assert (code, severity, f"<example>:{line}") in seen


@pytest.mark.parametrize(
    "replacements",
    [
        [(HELD, "noise = nn.Dropout(0.5)\n" + HELD), (ENCODED, "noise(encoder(x))")],
        [(ENCODED, "nn.functional.dropout(encoder(x), 0.5, training=encoder.training)")],
        [
            ("dist.Normal(encoder(x), 0.5)", "dist.LogNormal(encoder(x), 0.5)"),
            ("dist.Normal(x.new_zeros", "dist.LogNormal(x.new_zeros"),
        ],
        [(ENCODED, "nn.functional.scaled_dot_product_attention(*3 * [encoder(x)[:, None, None]])[:, 0, 0]")],
        [(ENCODED, "nn.functional.rrelu(encoder(x))")],
        [(ENCODED, "pyro.param('shift', lambda: torch.randn(2)) + encoder(x)")],
        [
            (
                "    with pyro.plate",
                "    pyro.sample('w', dist.Gamma(x.new_ones(()), 1.0), infer={'is_auxiliary': True})\n    with pyro.plate",
            )
        ],
    ],
    ids=[
        "dropout module",
        "dropout by mode",
        "a transformed site",
        "attention",
        "rrelu",
        "an initial value",
        "an auxiliary site",
    ],
)
def test_declared_randomness_is_left_alone(replacements):
    text = RIGHT
    for old, new in replacements:
        head, _, tail = text.rpartition(old)  # the guide's, where both have it
        text = head + new + tail
    assert not found(text)


def test_draws_that_are_thrown_away_are_a_note():
    text = changed(RIGHT, (ENCODED, "pyro.param('shift', torch.randn(2)) + encoder(x)"))
    assert found(text) == {("PG501", "note", "<example>:8")}


def test_batch_norm_in_training_alone_is_a_note():
    text = changed(RIGHT, (ENCODED, "norm(encoder(x))"), (HELD, "norm = nn.BatchNorm1d(2)\n" + HELD))
    assert {(code, severity) for code, severity, _ in found(text)} == {("PG504", "note")}


def test_seeding_is_found_where_it_is_done():
    text = changed(RIGHT, ("def guide(x):", "def guide(x):\n    torch.manual_seed(int(x.sum().item() > 1e6))"))
    assert ("PG506", "error", "<example>:7") in found(text)


def test_a_draw_by_python_is_found_at_its_own_line():
    text = changed(
        RIGHT,
        ("def guide(x):", "def guide(x):\n    scale = random.random()\n    x = scale * x"),
        (HELD, "import random\n" + HELD),
    )
    assert found(text) == {("PG502", "warning", "<example>:7")}


def test_all_generators_are_left_as_they_were():
    torch.manual_seed(1)
    states = random.getstate(), numpy_state(), torch.get_rng_state()
    rules = {rule.code: rule for rule in RANDOMNESS}
    for code in ("PG501", "PG502", "PG506"):
        check(*load_example(rules[code].bad), select=["PG5"])
    assert random.getstate() == states[0]
    assert numpy_state() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])
