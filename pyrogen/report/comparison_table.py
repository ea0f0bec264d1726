"""The comparison as a table, for the terminal, Markdown and LaTeX: every estimate with its error, diagnostics and cost.

Where the full table does not fit, a compact one with two lines an estimate is printed instead. What must not be trusted is
marked by an exclamation mark where it stands, and explained below the table. A record is what `load_record` returns; a
damaged one is a `DataError`.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from .records import check_record
from .wording import cells, failings, heading, plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["COLUMNS", "format_table", "latex_table", "markdown_table", "print_table", "table"]

COLUMNS = {
    "name": "estimator",
    "kind": "kind",
    "nats": "nats per datum\n± Monte Carlo",
    "spread": "± over\ndata",
    "bits": "bits/\ndim",
    "khat": "worst\nk-hat",
    "share": "share\n> 0.7",
    "ess": "ESS median\n/ worst",
    "evaluations": "model\nevals",
    "seconds": "seconds",
}
"""The full table: the key of each column in `cells`, and its heading."""

_COMPACT = {
    ("name", "kind"): "estimator\nkind",
    ("nats", "bits"): "nats per datum\nbits/dim",
    ("spread",): "± over\ndata",
    ("khat", "share"): "worst k-hat\nshare > 0.7",
    ("ess",): "ESS median\n/ worst",
    ("evaluations", "seconds"): "model evals\nseconds",
}


def table(record: Mapping[str, Any], *, compact: bool = False) -> Table:
    """Lay out a comparison as a table that rich can print, without the reasons for its marks.

    A `compact` one has two lines an estimate, for a terminal of about 80 columns.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    check_record(record)
    layout = _COMPACT if compact else {(key,): title for key, title in COLUMNS.items()}
    result = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False, leading=int(compact))
    for keys, title in layout.items():
        named = keys[0] in ("name", "kind")
        side: Literal["left", "right"] = "left" if named else "right"
        result.add_column(Text(title), justify=side, overflow="fold", no_wrap=not named, vertical="top")
    for row in record["rows"]:
        # Text, not str: a name in square brackets would be taken for markup.
        cell = {key: Text(text, style=_style(key, text)) for key, text in cells(row).items()}
        result.add_row(*(Text("\n").join(cell[key] for key in keys) for keys in layout))
    return result


def print_table(record: Mapping[str, Any], console: Console | None = None) -> None:
    """Print a comparison: its data, its table, the reasons for its marks, and what it says in words."""
    from rich.console import Console
    from rich.measure import Measurement
    from rich.text import Text

    console = Console(highlight=False) if console is None else console
    full = table(record)
    # Wide enough to be asked what it would like rather than what it gets.
    natural = Measurement.get(console, console.options.update(width=1000), full).maximum
    console.print(Text(heading(record), style="bold"))
    console.print()
    console.print(full if natural <= console.width else table(record, compact=True))
    console.print()
    if any(row.get("gradients") for row in record["rows"]):
        console.print(Text("∇: evaluations with the gradient of each", style="dim"))
    for reason in _reasons(record, ""):
        console.print(Text(reason, style="yellow"))
    for sentence in record.get("sentences", []):
        console.print(Text(plain(sentence)))


def format_table(record: Mapping[str, Any], width: int = 110) -> str:
    """What `print_table` prints, as plain text of `width` columns without colours and trailing spaces.

    Example:
        >>> row = {"name": "ELBO", "kind": "lower", "nats": -30.1, "error": 0.02, "seconds": 0.4}
        >>> print(format_table({"data": {"name": "coins", "rows": 9, "dimensions": 2}, "rows": [row]}))
        coins: 9 data of 2 dimensions, binarization: none
        ...
        ELBO        lower    -30.100 ± 0.020 ...
    """
    from rich.console import Console

    text = io.StringIO()
    # Everything that rich would otherwise guess from the terminal or notebook around it is fixed.
    console = Console(file=text, width=width, color_system=None, force_terminal=False, force_jupyter=False, highlight=False)
    print_table(record, console)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def markdown_table(record: Mapping[str, Any]) -> str:
    """The table as one of Markdown, with the reasons for its marks below it.

    Example:
        >>> row = {"name": "ELBO", "kind": "lower", "nats": -30.1, "error": 0.02, "seconds": 0.4}
        >>> print(markdown_table({"data": {}, "rows": [row]}).splitlines()[2][:34])
        | ELBO | lower | -30.100 ± 0.020 |
    """
    check_record(record)
    lines = [[" ".join(title.split()) for title in COLUMNS.values()]]
    lines.append([":--" if key in ("name", "kind") else "--:" for key in COLUMNS])
    lines += [[text.replace("|", r"\|") for text in cells(row).values()] for row in record["rows"]]
    reasons = _reasons(record, "- ")
    return "\n".join(["| " + " | ".join(line) + " |" for line in lines] + [""] * bool(reasons) + reasons)


def latex_table(record: Mapping[str, Any]) -> str:
    """The table as a ``tabular`` of LaTeX with the rules of booktabs, the reasons for its marks in comments below it."""
    import pandas

    check_record(record)
    rows = [dict(zip(COLUMNS.values(), cells(row).values(), strict=True)) for row in record["rows"]]
    frame = pandas.DataFrame(rows).rename(columns=lambda title: " ".join(title.split()))
    text = frame.style.format(escape="latex").format_index(escape="latex", axis=1).hide(axis=0)
    made: str = text.to_latex(hrules=True, column_format="ll" + "r" * (len(COLUMNS) - 2))
    for letter, command in {"±": r"$\pm$", "∇": r"$\nabla$", "–": "--", "<": "$<$", ">": "$>$"}.items():
        made = made.replace(letter, command)
    return made + "".join(f"{reason}\n" for reason in _reasons(record, "% "))


def _reasons(record: Mapping[str, Any], before: str) -> list[str]:
    """Why the marked numbers of a table are marked, a line for each reason."""
    return [f"{before}! {plain(row['name'])}: {reason}" for row in record["rows"] for reason in failings(row)]


def _style(key: str, text: str) -> str:
    return "bold red" if text.endswith(" !") else "dim" if key == "kind" else ""
