"""Running the rules on a pair: all of them in `check`, the cheap ones in `preflight`, before `fit` and `compare` begin."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import torch

from pyrogen.batch import Batch, device_of, index, signature
from pyrogen.errors import ConfigurationError, PairError
from pyrogen.pair import Pair
from pyrogen.programs.faults import ENUMERATED_ONLY, PROGRAM_FAILS
from pyrogen.programs.source_lines import line_of_error

from .findings import Finding, Report
from .rule import GROUPS, Rule, Seen
from .rules import RULES
from .silencing import Silencer
from .snapshot import Snapshot, preserved, preserved_generators
from .subject import Subject

__all__ = ["PairWarning", "check", "chosen_rules", "preflight"]

_SEED = 0
_PREFLIGHT_ROWS = 64
_DEVICES = "PG6"
_NAMES = re.compile(r"'[^']*'")
_ORDER = {"error": 0, "warning": 1, "note": 2}
_CODES = frozenset(rule.code for rule in RULES)
_checked: WeakKeyDictionary[Any, set[Any]] = WeakKeyDictionary()
"""The kinds of batch for which a pair has been checked."""


class PairWarning(UserWarning):
    """A pair that runs, and in which a cheap rule of `pyrogen.checks` has found something."""


def check(
    pair: Pair,
    batch: Batch,
    *,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    trained: bool = False,
    device: str | torch.device | None = None,
) -> Report:
    """Look for faults of a pair, without changing it.

    Args:
        pair: the pair.
        batch: data as the programs take them: a tensor, or a tuple or dict of tensors; a hundred rows are enough.
        select: codes, or beginnings of codes, of the rules to run; all if empty.
        ignore: codes, or beginnings of codes, of rules to leave out.
        trained: whether the pair has been fitted; the quality of its guide is then checked, too.
        device: where it is meant to run; where the batch lies if not given. What would fail on a GPU is a fault where one is
            meant, and elsewhere one note of each kind.

    Returns:
        A report of the findings, errors first.

    Raises:
        ConfigurationError: no rule has such a code, or there is no such device.
        DataError: `batch` is no batch.

    Example:
        >>> import pyro, torch
        >>> import pyro.distributions as dist
        >>> from pyrogen.pair import Pair
        >>> def model(x):
        ...     with pyro.plate("data", len(x)):
        ...         z = pyro.sample("z", dist.HalfNormal(x.new_ones(())))
        ...         pyro.sample("x", dist.Normal(z, 1.0), obs=x)
        >>> def guide(x):
        ...     with pyro.plate("data", len(x)):
        ...         pyro.sample("z", dist.Normal(x, 1.0))
        >>> sorted(check(Pair.of(model, guide), torch.randn(8)).codes())
        ['PG201']
    """
    start = time.perf_counter()
    try:
        meant = None if device is None else torch.device(device)
    except RuntimeError as error:
        raise ConfigurationError(f"unknown device {device!r}: use 'cpu' or 'cuda'") from error
    rules = chosen_rules(select, ignore)
    found: list[Finding] = []
    ran: list[str] = []
    skipped: dict[str, str] = {}
    with preserved(pair, seed=_SEED), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the programs warn again when they are used
        subject = Subject(pair, batch, trained=trained)
        _ = subject.refusal
        snapshot = Snapshot(pair)  # taken after the first run, which makes parameters
        for rule in rules:
            reason = _reason_to_skip(rule, subject)
            if reason is not None:
                skipped[rule.code] = reason
                continue
            try:
                with preserved_generators(seed=_SEED):
                    findings = list(_findings_of(rule, subject))
            except Exception as error:  # whatever the program raises when a rule runs it
                text = (str(error).splitlines() or [""])[0]
                place = line_of_error(error)
                skipped[rule.code] = f"could not run: {type(error).__name__}: {text}" + (f" ({place})" if place else "")
                continue
            finally:
                snapshot.restore(thorough=False)
            ran.append(rule.code)
            found += findings
        silencer = Silencer(pair)
    found = list(dict.fromkeys(found))
    silenced = [finding for finding in found if silencer.silences(finding)]
    found = [finding for finding in found if finding not in silenced]
    if (meant or device_of(batch)).type != "cuda":
        found = [replace(each, severity="note") if each.code.startswith(_DEVICES) else each for each in found]
    found = _one_of_each(found)
    return Report(
        type(pair).__name__ if type(pair).__name__ != "_FunctionPair" else "Pair.of(...)",
        tuple(sorted(found, key=_severest_first)),
        tuple(sorted(silenced, key=_severest_first)),
        tuple(ran),
        skipped,
        time.perf_counter() - start,
    )


def preflight(pair: Pair, batch: Batch) -> None:
    """Run the cheap rules on a pair, once for each kind of batch.

    Args:
        pair: the pair.
        batch: the first batch that it will run on.

    Raises:
        PairError: the pair is refused by `Pair.structure`, or a rule finds an error; its ``code`` says which.

    Warns:
        PairWarning: for each warning of a rule; `pyrogen.check` says more.
    """
    structure = pair.structure(batch)
    kind, known = signature(batch), _checked.setdefault(pair, set())
    if kind in known:
        return
    # What is true of any number of data is seen on a few.
    subject = Subject(pair, batch if structure.rows is not None else index(batch, slice(_PREFLIGHT_ROWS)))
    found: list[Finding] = []
    for rule in RULES:
        with suppress(Exception):  # a rule that cannot look at this pair keeps nobody from training it; `check` says why
            found += list(_findings_of(rule, subject)) if rule.cheap else []
    found = [finding for finding in found if finding.severity != "note"]
    silencer = Silencer(pair) if found else None
    for finding in _one_of_each([each for each in found if silencer is None or not silencer.silences(each)]):
        if finding.severity == "error":
            raise PairError(
                finding.seen,
                remedy=finding.remedy,
                code=finding.code,
                site=finding.site,
                shape=finding.shape,
                line=finding.line,
            )
        place = f" ({finding.line})" if finding.line else ""
        warnings.warn(f"{finding.code}{place} {finding.seen}: {finding.remedy}", PairWarning, stacklevel=3)
    known.add(kind)  # an error is raised each time


def chosen_rules(select: Sequence[str] = (), ignore: Sequence[str] = ()) -> list[Rule]:
    """List the rules whose codes begin with one of `select`, if there are any, and with none of `ignore`.

    Raises:
        ConfigurationError: no rule has such a code.
    """
    for prefix in (*select, *ignore):
        if not prefix or not any(code.startswith(prefix) for code in _CODES):
            groups = ", ".join(f"PG{number}.. ({group})" for number, group in enumerate(GROUPS, 1))
            raise ConfigurationError(
                f"no rule has a code that begins with {prefix!r}: the groups are {groups}, and docs/generated/checks.md "
                "lists all rules"
            )
    return [
        rule
        for rule in RULES
        if (not select or rule.code.startswith(tuple(select))) and not (ignore and rule.code.startswith(tuple(ignore)))
    ]


def _severest_first(finding: Finding) -> tuple[int, str]:
    return _ORDER[finding.severity], finding.code


def _one_of_each(found: Sequence[Finding]) -> list[Finding]:
    """Of findings that differ in names alone the first, with the number of all; of device rules one of each code."""
    alike: dict[Any, list[Finding]] = {}
    for finding in found:
        words = "" if finding.severity == "note" and finding.code.startswith(_DEVICES) else _NAMES.sub("", finding.seen)
        alike.setdefault((finding.code, finding.severity, words), []).append(finding)
    return [
        replace(first, seen=f"{first.seen}; {len(rest)} more like it") if rest else first for first, *rest in alike.values()
    ]


def _findings_of(rule: Rule, subject: Subject) -> Iterator[Finding]:
    """Yield what `Pair.structure` says under a rule's code and what the rule itself finds, each with its line."""
    refusal = subject.refusal
    if refusal is not None:
        if _refused_by(subject) == rule.code:
            seen = Seen(_without_tensors(refusal.seen), refusal.site, refusal.shape, refusal.line, "error", refusal.remedy)
            yield rule.finding(seen, subject)
        return
    for objection in subject.structure.objections:
        if objection.code == rule.code:
            seen = Seen(objection.seen, objection.site, remedy=objection.remedy)
            yield _placed(rule.finding(seen, subject), subject)
    for finding in rule.look(subject):
        yield _placed(finding, subject)


def _reason_to_skip(rule: Rule, subject: Subject) -> str | None:
    if rule.trained and not subject.trained:
        return "looks at fitted pairs only"
    if (rule.density or rule.trained) and not subject.pair.has_density:
        return "looks at the density of the data, and a sampler has none"
    if subject.refusal is not None and rule.detector is not None and _refused_by(subject) != rule.code:
        return f"the pair is refused ({_refused_by(subject)}), and cannot be run"
    if rule.detector is not None and _runs_only_enumerated(subject):
        return "the programs run only where Pyro enumerates their discrete latents"
    return None


def _runs_only_enumerated(subject: Subject) -> bool:
    refused = subject.refusal is not None
    return not refused and any(each.code == ENUMERATED_ONLY.code for each in subject.structure.objections)


def _refused_by(subject: Subject) -> str:
    """The code of the rule that refuses a pair; that of programs that fail, where it has none that is known."""
    code = None if subject.refusal is None else subject.refusal.code
    return code if code in _CODES else PROGRAM_FAILS.code


def _without_tensors(text: str) -> str:
    """A message without the values of the tensors that torch prints in it."""
    lines = text.splitlines()
    printed = [number for number, line in enumerate(lines) if line.startswith(("tensor(", "Parameter containing"))]
    return "\n".join(lines[: min([len(lines), *printed])]).rstrip(": ")


def _placed(finding: Finding, subject: Subject) -> Finding:
    """A finding with the line and the shape of its site, where it has none of its own."""
    if finding.site is not None and _runs_only_enumerated(subject):
        return finding
    site = None if finding.site is None else subject.model.get(finding.site) or subject.guide.get(finding.site)
    if finding.site is None or site is None:
        return finding
    shape = tuple(site["fn"].batch_shape + site["fn"].event_shape) if finding.shape is None else finding.shape
    return replace(finding, line=finding.line or subject.line_of(finding.site), shape=shape)
