"""The page of all rules, docs/generated/checks.md: ``python -m pyrogen.checks.catalogue > docs/generated/checks.md``."""

from __future__ import annotations

import difflib
import sys

from .examples import PRELUDE
from .rule import GROUPS, Rule
from .rules import RULES

__all__ = ["catalogue"]

_HEAD = """\
# What `check` looks for

```python
from pyrogen import check

report = check(pair, batch)  # the pair is left as it was
print(report)
report.ok, report.codes(), report.to_json()
```

```sh
pyrogen check my_file.py:MyVAE --data digits
pyrogen check vae --data digits --binarize dynamic --ignore PG6 --json
pyrogen check runs/mnist
```

The exit status is 1 if there is an error. A run directory is checked with its fitted parameters, and the quality of its
guide (PG7) is looked at, too. `fit` and `compare` run the rules marked *first* before they begin: an error stops them as a
`PairError` with its `code`, a warning is a `PairWarning`.

An **error** makes results wrong or the run die, a **warning** often does, a **note** is worth knowing. Each finding names
the line of your own code. To silence one, write a comment on that line, or on the `def` or `class` line of the program:

```python
pyro.sample("z", dist.Normal(loc, scale).to_event(1))  # pyrogen: ignore[PG204]
```

without brackets it silences all. `select` and `ignore` take codes or their beginnings.

This page is generated from the rules (`python -m pyrogen.checks.catalogue > docs/generated/checks.md`), and the tests
run its examples, each after these imports:

"""


def catalogue() -> str:
    """The page, as Markdown."""
    parts = [_HEAD + f"```python\n{PRELUDE}```\n", _contents()]
    group = None
    for rule in RULES:
        if rule.group != group:
            group = rule.group
            parts.append(f"## {GROUPS[group]}\n")
        parts.append(_entry(rule))
    return "\n".join(parts)


def _contents() -> str:
    rows = ["| code | | what is wrong |", "|---|---|---|"]
    for rule in RULES:
        severity = f"{rule.fault.severity}, first" if rule.cheap else rule.fault.severity
        rows.append(f"| [{rule.code}](#{rule.code.lower()}) | {severity} | {rule.fault.title} |")
    return "\n".join(rows) + "\n"


def _entry(rule: Rule) -> str:
    title, remedy = _capitalized(rule.fault.title), _capitalized(rule.fault.advice())
    return (
        f'<a id="{rule.code.lower()}"></a>\n\n### {rule.code}: {title}\n\n*{rule.fault.severity}.* {rule.fault.why}\n\n'
        f"**Remedy.** {remedy}.\n\n```diff\n{_difference(rule)}```\n"
    )


def _capitalized(text: str) -> str:
    return text[0].upper() + text[1:]


def _difference(rule: Rule) -> str:
    """The lines that turn the bad pair into the fixed one, as a diff."""
    lines = difflib.ndiff(rule.bad.splitlines(keepends=True), rule.fixed.splitlines(keepends=True))
    return "".join(f"{line.rstrip()}\n" for line in lines if not line.startswith("?"))


if __name__ == "__main__":
    sys.stdout.write(catalogue())
