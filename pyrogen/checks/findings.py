"""What `check` returns: the findings, those that were silenced, which rules ran, and how long it took."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pyrogen.programs.faults import Severity

__all__ = ["Finding", "Report"]

_WIDTH = 110


@dataclass(frozen=True)
class Finding:
    """One fault of a pair: its code, what was seen and where, and what to do."""

    code: str
    severity: Severity
    seen: str
    remedy: str
    site: str | None = None
    shape: tuple[int, ...] | None = None
    line: str | None = None
    """Place in the user's own code, such as ``"my_file.py:12"``."""

    def as_dict(self) -> dict[str, Any]:
        """The finding as plain values, for JSON."""
        return {**asdict(self), "shape": None if self.shape is None else list(self.shape)}


@dataclass(frozen=True)
class Report:
    """Findings about a pair, errors first.

    Example:
        >>> finding = Finding("PG101", "error", "site 'z' has no guide", "give it one", site="z", line="mine.py:7")
        >>> print(Report("Mine", (finding,), ran=("PG101",), seconds=0.01))
        Mine: 1 error, by 1 rule in 0.0 s
        <BLANKLINE>
        mine.py:7  PG101 error
            site 'z' has no guide
            remedy: give it one
    """

    pair: str
    """Name of the pair's class."""
    findings: tuple[Finding, ...]
    silenced: tuple[Finding, ...] = ()
    """Findings that a comment in the user's code silences."""
    ran: tuple[str, ...] = ()
    """Codes of the rules that ran."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Codes of the rules that did not run, and why."""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not any(finding.severity == "error" for finding in self.findings)

    def codes(self) -> set[str]:
        """The codes of all findings."""
        return {finding.code for finding in self.findings}

    def by_code(self, code: str) -> list[Finding]:
        """The findings whose codes begin with `code`, such as ``"PG6"``."""
        return [finding for finding in self.findings if finding.code.startswith(code)]

    def to_json(self) -> str:
        """The report as a JSON object: ``pair``, ``ok``, ``findings``, ``silenced``, ``ran``, ``skipped``, ``seconds``."""
        values: dict[str, Any] = {
            "pair": self.pair,
            "ok": self.ok,
            "findings": [finding.as_dict() for finding in self.findings],
            "silenced": [finding.as_dict() for finding in self.silenced],
            "ran": list(self.ran),
            "skipped": dict(self.skipped),
            "seconds": self.seconds,
        }
        return json.dumps(values, indent=2)

    def __str__(self) -> str:
        blocks = (line for finding in self.findings for line in _block(finding))
        return "\n".join([self._heading(), *blocks, *self._left_out()])

    def _heading(self) -> str:
        severities = [finding.severity for finding in self.findings]
        counts = {severity: severities.count(severity) for severity in dict.fromkeys(severities)}
        said = [f"{count} {severity}{'s' * (count != 1)}" for severity, count in counts.items()]
        if self.silenced:
            said.append(f"{len(self.silenced)} silenced")
        found = ", ".join(said) or "nothing to say"
        return f"{self.pair}: {found}, by {len(self.ran)} rule{'s' * (len(self.ran) != 1)} in {self.seconds:.1f} s"

    def _left_out(self) -> Iterator[str]:
        """The rules that did not run, by reason, without those for fitted pairs."""
        reasons: dict[str, list[str]] = {}
        for code, reason in self.skipped.items():
            if reason != "looks at fitted pairs only":
                reasons.setdefault(reason, []).append(code)
        if reasons:
            yield ""
        for reason, codes in reasons.items():
            names = ", ".join(codes) if len(codes) < 4 else f"{codes[0]} to {codes[-1]}, {len(codes)} rules,"
            yield from textwrap.wrap(f"{names} did not look: {reason}", _WIDTH, subsequent_indent="    ")


def _block(finding: Finding) -> Iterator[str]:
    place = f"{finding.line}  " if finding.line else ""
    shape = f", shape {finding.shape}" if finding.shape is not None else ""
    site = f"  site '{finding.site}'{shape}" if finding.site is not None and f"'{finding.site}'" not in finding.seen else ""
    yield ""
    yield f"{place}{finding.code} {finding.severity}{site}"
    indent = " " * 4
    for paragraph in finding.seen.splitlines():
        yield from textwrap.wrap(paragraph, _WIDTH, initial_indent=indent, subsequent_indent=indent)
    yield from textwrap.wrap(f"remedy: {finding.remedy}", _WIDTH, initial_indent=indent, subsequent_indent=indent)
