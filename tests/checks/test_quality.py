"""The rules of guide quality, on pairs whose posterior is known."""

from __future__ import annotations

import pytest
import torch

from pyrogen.checks import RULES, check
from pyrogen.checks.examples import changed, load_example
from pyrogen.checks.fitted_guide import FITTED, khats, latent_units
from pyrogen.checks.subject import Subject
from pyrogen.models import DiscreteVAE, LinearGaussianVAE

QUALITY = [rule for rule in RULES if rule.code.startswith("PG7")]


def found(text):
    report = check(*load_example(text), select=["PG7"], trained=True)
    assert not report.skipped
    return {(finding.code, finding.severity) for finding in report.findings}


@pytest.mark.parametrize("rule", QUALITY, ids=lambda rule: rule.code)
def test_the_bad_pair_has_the_fault_and_the_fixed_one_has_nothing(rule):
    assert rule.code in {code for code, _ in found(rule.bad)}
    assert not found(rule.fixed)


def test_they_look_at_fitted_pairs_only():
    for rule in QUALITY:
        report = check(*load_example(rule.bad))
        assert rule.code in report.skipped
        assert rule.code not in report.codes()


def test_an_exact_guide_has_no_tail():
    torch.manual_seed(0)
    pair, x = LinearGaussianVAE((5,), latent=2, guide="full"), torch.randn(32, 5)
    with torch.no_grad():
        spread = khats(Subject(pair, x))
    assert spread is not None
    assert spread.shape == (16,)
    exact = changed(FITTED, ("x / 2, 0.7", "x / 2, 0.5 ** 0.5"))
    assert (khats(Subject(*load_example(exact))) == -torch.inf).all()


@pytest.mark.parametrize(("scale", "severity"), [(0.1, "warning"), (0.7, None), (2.0, None)])
def test_a_guide_narrower_than_the_posterior_has_a_heavy_tail(scale, severity):
    """Normal weights p/q of scales s and q have tail index 1 - q²/s², above 0.7 where q is below 0.55 s; none above s."""
    seen = found(changed(FITTED, ("x / 2, 0.7", f"x / 2, {scale}")))
    assert {level for code, level in seen if code == "PG701"} == (set() if severity is None else {severity})


def test_activity_is_the_variance_of_the_means_over_that_of_the_prior():
    pair, x = load_example(
        changed(FITTED, ("x / 2, 0.7", "x * x.new_tensor([0.3, 0.0]), 0.7"), ("x.new_zeros(2), 1.0", "x.new_zeros(2), 2.0"))
    )
    (units,) = latent_units(Subject(pair, x))
    assert units.site == "z"
    expected = (x * torch.tensor([0.3, 0.0])).var(0) / 4.0
    torch.testing.assert_close(units.variance / units.prior_variance, expected)
    torch.testing.assert_close(units.scale, torch.full((64, 2), 0.35))


def test_a_discrete_latent_has_no_floor():
    torch.manual_seed(0)
    x = torch.rand(32, 5).round()
    pair = DiscreteVAE((5,), latent=3, hidden=(4,))
    with torch.no_grad():
        pair.encoder[-1].weight.mul_(1e3)
    (units,) = latent_units(Subject(pair, x))
    assert units.active.any()
    assert units.scale.min() < 1e-3
    report = check(pair, x, select=["PG703", "PG704"], trained=True)
    assert not report.findings
    assert not report.skipped


def test_a_global_latent_has_no_weights_of_each_datum():
    shift = "    shift = pyro.sample('shift', dist.Normal(x.new_zeros(()), 1.0))\n"
    text = changed(
        FITTED,
        ("def model(x):\n", "def model(x):\n" + shift),
        ("def guide(x):\n", "def guide(x):\n" + shift),
        ("dist.Normal(z, 1.0)", "dist.Normal(z + shift, 1.0)"),
    )
    assert khats(Subject(*load_example(text))) is None
