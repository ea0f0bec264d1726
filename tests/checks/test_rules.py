"""Every rule on its own examples: the bad pair brings its code out, the mended one is clean."""

from __future__ import annotations

import pytest

from pyrogen.checks import RULES, check
from pyrogen.checks.examples import load_example

IDS = [rule.code for rule in RULES]


@pytest.mark.parametrize("rule", RULES, ids=IDS)
def test_the_bad_pair_is_caught(rule):
    pair, batch = load_example(rule.bad, f"{rule.code} bad")
    report = check(pair, batch, trained=rule.trained)
    found = report.by_code(rule.code)
    assert found, f"{report}\n{report.skipped}"
    severities = ["note", "warning", "error"]
    assert severities.index(found[0].severity) >= severities.index(rule.severity)
    assert all(finding.line is None or finding.line.startswith(f"<{rule.code} bad>:") for finding in report.findings)


@pytest.mark.parametrize("rule", RULES, ids=IDS)
def test_the_mended_pair_is_clean(rule):
    pair, batch = load_example(rule.mended, f"{rule.code} mended")
    report = check(pair, batch, trained=rule.trained)
    assert report.ok, str(report)
    assert rule.code not in report.codes(), str(report)
    assert rule.code in report.ran, report.skipped
    assert not any(reason.startswith("could not") for reason in report.skipped.values()), report.skipped


def test_codes_are_unique_and_in_order():
    assert sorted(set(IDS)) == IDS
    groups = ["structure", "support", "vectorisation", "numbers", "randomness", "devices", "quality"]
    assert all(rule.code.startswith(f"PG{groups.index(rule.group) + 1}") for rule in RULES)


@pytest.mark.parametrize("rule", RULES, ids=IDS)
def test_rules_say_all(rule):
    assert rule.bad != rule.mended
    assert not rule.remedy.endswith(".")
    assert rule.why.endswith(".")
    assert not rule.title.endswith(".")
