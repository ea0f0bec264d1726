"""Every rule on its own examples: the bad pair brings its code out, the fixed one is clean."""

from __future__ import annotations

import pytest

from pyrogen.checks import RULES, check
from pyrogen.checks.examples import load_example
from pyrogen.checks.rule import GROUPS
from pyrogen.programs import faults
from pyrogen.programs.faults import Fault

IDS = [rule.code for rule in RULES]


@pytest.mark.parametrize("rule", RULES, ids=IDS)
def test_the_bad_pair_is_caught(rule):
    pair, batch = load_example(rule.bad, f"{rule.code} bad")
    report = check(pair, batch, trained=rule.trained, device="cuda")
    found = report.by_code(rule.code)
    assert found, f"{report}\n{report.skipped}"
    severities = ["note", "warning", "error"]
    assert severities.index(found[0].severity) >= severities.index(rule.fault.severity)
    assert all(finding.line is None or finding.line.startswith(f"<{rule.code} bad>:") for finding in report.findings)


@pytest.mark.parametrize("rule", RULES, ids=IDS)
def test_the_fixed_pair_is_clean(rule):
    pair, batch = load_example(rule.fixed, f"{rule.code} fixed")
    report = check(pair, batch, trained=rule.trained, device="cuda")
    assert report.ok, str(report)
    assert rule.code not in report.codes(), str(report)
    assert rule.code in report.ran, report.skipped
    assert not any(reason.startswith("could not") for reason in report.skipped.values()), report.skipped


def test_codes_are_unique_and_in_order():
    assert sorted(set(IDS)) == IDS
    assert {(rule.code[:3], rule.group) for rule in RULES} == {
        (f"PG{place}", group) for place, group in enumerate(GROUPS, 1)
    }
    assert len(RULES) == 67


def test_every_fault_of_the_core_has_a_rule_with_its_words():
    """`Pair.structure` and the rules say the same of a fault, since they have it from one place."""
    known = {fault.code: fault for fault in vars(faults).values() if isinstance(fault, Fault)}
    assert len(known) == sum(isinstance(fault, Fault) for fault in vars(faults).values())
    assert {rule.code for rule in RULES if rule.detector is None} <= set(known)
    for code, fault in known.items():
        assert next(rule for rule in RULES if rule.code == code).fault is fault


@pytest.mark.parametrize("rule", RULES, ids=IDS)
def test_rules_say_all(rule):
    assert rule.bad != rule.fixed
    assert not rule.fault.remedy.endswith(".")
    assert rule.fault.why.endswith(".")
    assert not rule.fault.title.endswith(".")
    assert "{" not in rule.fault.advice(site="z").replace("{'is_auxiliary': True}", "")
