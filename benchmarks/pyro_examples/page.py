"""The page of what was tried, in Markdown."""

from __future__ import annotations

import textwrap

import pyro
import torch

from .attempt import Example
from .trial import FIT_STEPS, STAGES, Result

__all__ = ["page"]

_HEAD = """\
# Pyro's own examples under pyrogen

<!-- Printed by benchmarks/compatibility.py; do not edit. -->

What `check`, `fit` and `compare` do with pairs that nobody here wrote: the examples of
[the Pyro repository](https://github.com/pyro-ppl/pyro/tree/dev/examples), read from a checkout outside this one:

```sh
PYROGEN_PYRO=/path/to/pyro python benchmarks/compatibility.py > docs/generated/compatibility.md
```

Each model and guide is imported as it is, given a small batch of made-up data of the right shape and type, and wrapped by
`Pair.of`. *Same loss* is one evaluation of the loss and its gradient, from the same random draws, here and by the example's
own objective in Pyro. `fit` takes {steps} optimizer steps, with Pyro's own objective (`PyroLoss`) where the example uses
another one than `Trace_ELBO`, and again with `compile="graph"` (the column *graph*). `compare` estimates log p(x) by ELBO,
IWAE and importance sampling; its ELBO has to be within five standard errors of the mean of Pyro's.

The script fails where a loss, a gradient or an estimate is not Pyro's, and where something is refused, or told by `check` as
an error or a warning, that is not explained below. What `check` says of devices (PG6xx) holds on a GPU only: on a CPU those
examples run. Made with Pyro {pyro} and torch {torch}; the examples are those of Pyro {version}.
"""


def page(found: list[tuple[Example, list[Result]]], version: str) -> str:
    """The table of all examples, and a section for each."""
    rows = ["| example | structure seen | check | fit | graph | compare | verdict |", "|---|---|---|---|---|---|---|"]
    for example, results in found:
        rows += [_row(example, result, results if place == 0 else None) for place, result in enumerate(results)]
    head = _HEAD.format(steps=FIT_STEPS, pyro=pyro.__version__, torch=torch.__version__.partition("+")[0], version=version)
    return "\n".join([head, *rows, "", *(line for example, results in found for line in _section(example, results))])


def _row(example: Example, result: Result, results: list[Result] | None) -> str:
    def cell(stage: str) -> str:
        step = result.steps.get(stage)
        if step is None:
            return "–"
        if stage in ("structure", "check") and not (stage == "structure" and step.refused):
            return step.said
        if stage == "fit" and not step.refused and not result.steps["same loss"].wrong:
            return "runs, Pyro's loss"
        return "refused" if step.refused else "runs"

    name = f"[{example.path}](#{_anchor(example)})" if results is not None else ""
    verdict = verdict_of(results) if results is not None else ""
    cells = [
        f"{name} *{result.attempt.title}*".strip(),
        *(cell(s) for s in ("structure", "check", "fit", "graph", "compare")),
        verdict,
    ]
    return f"| {' | '.join(cells)} |"


def verdict_of(results: list[Result]) -> str:
    """The verdict on an example, from what came of each attempt."""
    if any(result.wrong for result in results):
        return "**not as it should be**"
    whole = ("structure", "fit", "compare")
    for result in results:
        if result.runs(*whole):
            return f"runs with a named change: {result.attempt.change}" if result.attempt.change else "runs as it stands"
    for result in results:
        if result.runs("structure", "fit"):
            change = f" with a named change ({result.attempt.change})" if result.attempt.change else " as it stands"
            return f"`fit` runs{change}; `compare` is refused with a right reason"
    return "refused with a right reason"


def _anchor(example: Example) -> str:
    return "".join(c for c in example.path.lower() if c.isalnum() or c in "_-")


def _section(example: Example, results: list[Result]) -> list[str]:
    lines = [f"## {example.path}", ""]
    if example.note:
        lines += [*textwrap.wrap(example.note, 120), ""]
    if example.stand_ins:
        names = ", ".join(f"`{name}`" for name in sorted({name.partition(".")[0] for name in example.stand_ins}))
        lines += [f"Imported with empty stand-ins for {names}, which its model and guide do not use.", ""]
    for result in results:
        attempt = result.attempt
        lines += [f"**{attempt.title[0].upper() + attempt.title[1:]}.**", ""]
        if attempt.code:
            lines += ["```python", textwrap.dedent(attempt.code).strip(), "```", ""]
        for stage in STAGES:
            step = result.steps.get(stage)
            if step is None:
                continue
            lines.append(f"- {stage}: " + (f"refused: “{step.said}”" if step.refused and stage != "check" else step.said))
            if step.refused and stage in attempt.refusals:
                lines.append(f"  *Right, because* {attempt.refusals[stage].why}")
            if stage == "check":
                lines += [
                    f"  *{code} is right, because* {why}"
                    for code, why in sorted(attempt.findings.items())
                    if code in step.codes
                ]
            if step.wrong:
                lines.append(f"  **Not as it should be:** {step.wrong}")
        lines.append("")
    return lines
