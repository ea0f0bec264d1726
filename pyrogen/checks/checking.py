"""Running the rules on a pair."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pyrogen.batch import Batch
from pyrogen.errors import ConfigurationError, PairError
from pyrogen.lines import line_of_error

from .finding import Finding
from .preservation import Keeper, preserved, preserved_generators
from .report import Report
from .rule import Rule
from .rules import RULES
from .silencing import Silencer
from .subject import Subject

if TYPE_CHECKING:
    from pyrogen.pair import Pair

__all__ = ["check", "chosen_rules", "findings_of"]

_SEED = 0
_ORDER = {"error": 0, "warning": 1, "note": 2}


def check(
    pair: Pair,
    batch: Batch,
    *,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    trained: bool = False,
) -> Report:
    """Look for faults of a pair, without changing it.

    Args:
        pair: the pair.
        batch: data as the programs take them: a tensor, or a tuple or dict of tensors; a hundred rows say enough.
        select: codes, or beginnings of codes, of the rules to run; all if empty.
        ignore: codes, or beginnings of codes, of rules to leave out.
        trained: whether the pair has been fitted, so that the quality of its guide is looked at, too.

    Returns:
        A report of the findings, errors first.

    Raises:
        ConfigurationError: no rule has such a code.
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
    rules = chosen_rules(select, ignore)
    found: list[Finding] = []
    ran: list[str] = []
    skipped: dict[str, str] = {}
    with preserved(pair, seed=_SEED), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the programs warn of, they warn of again when they are used
        subject = Subject(pair, batch, trained=trained)
        _ = subject.refusal
        keeper = Keeper(pair)  # as it is after its first run, which makes parameters
        for rule in rules:
            reason = _reason_to_skip(rule, subject)
            if reason is not None:
                skipped[rule.code] = reason
                continue
            try:
                with preserved_generators(seed=_SEED):
                    seen = list(findings_of(rule, subject))
            except Exception as error:  # whatever the program raises when a rule runs it
                text = (str(error).splitlines() or [""])[0]
                place = line_of_error(error)
                skipped[rule.code] = f"could not run: {type(error).__name__}: {text}" + (f" ({place})" if place else "")
                continue
            finally:
                keeper.restore(thorough=False)
            ran.append(rule.code)
            found += seen
        silencer = Silencer(pair)
    found = sorted(dict.fromkeys(found), key=lambda finding: (_ORDER[finding.severity], finding.code))
    return Report(
        type(pair).__name__ if type(pair).__name__ != "_FunctionPair" else "Pair.of(...)",
        tuple(finding for finding in found if not silencer.silences(finding)),
        tuple(finding for finding in found if silencer.silences(finding)),
        tuple(ran),
        skipped,
        time.perf_counter() - start,
    )


def chosen_rules(select: Sequence[str] = (), ignore: Sequence[str] = ()) -> list[Rule]:
    """The rules whose codes begin with one of `select`, if there are any, and with none of `ignore`.

    Raises:
        ConfigurationError: no rule has such a code.
    """
    for prefix in (*select, *ignore):
        if not prefix or not any(rule.code.startswith(prefix) for rule in RULES):
            groups = {rule.code[:3]: rule.group for rule in RULES}
            raise ConfigurationError(
                f"no rule has a code that begins with {prefix!r}: the groups are "
                + ", ".join(f"{code}.. ({group})" for code, group in groups.items())
                + ", and docs/checks.md lists all rules"
            )
    return [
        rule
        for rule in RULES
        if (not select or rule.code.startswith(tuple(select))) and not (ignore and rule.code.startswith(tuple(ignore)))
    ]


def findings_of(rule: Rule, subject: Subject) -> Iterator[Finding]:
    """What the probe says under a rule's code, and what the rule itself sees; with the sites' lines filled in."""
    refusal = subject.refusal
    if refusal is not None:
        if _code(refusal) == rule.code:
            yield Finding(
                rule.code,
                "error",
                _brief(refusal.seen),
                refusal.remedy or rule.remedy,
                refusal.site,
                refusal.shape,
                refusal.line,
            )
        if not rule.always:
            return
    else:
        for objection in subject.structure.objections:
            if objection.code == rule.code:
                yield _placed(rule.found(objection.seen, site=objection.site, remedy=objection.remedy), subject)
    for finding in rule.look(subject):
        yield _placed(finding, subject)


def _reason_to_skip(rule: Rule, subject: Subject) -> str | None:
    if rule.trained and not subject.trained:
        return "looks at fitted pairs only"
    if subject.refusal is not None and not rule.always and _code(subject.refusal) != rule.code:
        return f"the pair is refused ({_code(subject.refusal)}), and cannot be run"
    return None


def _code(refusal: PairError) -> str:
    """The code of the rule that a refusal is about; that of programs that fail, where it is about none."""
    code = refusal.code or ""
    return code if any(rule.code == code for rule in RULES) else "PG100"


def _brief(text: str) -> str:
    """A message without the numbers of the tensors that torch prints in it."""
    lines = text.splitlines()
    shown = [place for place, line in enumerate(lines) if line.startswith(("tensor(", "Parameter containing"))]
    end = min([len(lines), *shown])
    return "\n".join(lines[:end]).rstrip(": ")


def _placed(finding: Finding, subject: Subject) -> Finding:
    if finding.site is None or subject.refusal is not None:
        return finding
    site = subject.model.get(finding.site) or subject.guide.get(finding.site)
    if site is None:
        return finding
    shape = tuple(site["fn"].batch_shape + site["fn"].event_shape) if finding.shape is None else finding.shape
    return replace(finding, line=finding.line or subject.line_of(finding.site), shape=shape)
