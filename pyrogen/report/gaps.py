"""The gap between log p(x) and the ELBO, split in two: in words, and as a picture of every datum.

A record is what `pyrogen.inference.Gaps.record` returns; one that lacks a column is a `DataError`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pyrogen.errors import DataError

from .records import Array, column
from .style import BLACK, BLUE, GREY, VERMILION, caption, entry, legend, panels, styled
from .wording import duration, label, measured, minus, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["format_gaps", "gap_picture", "gap_rows"]

_NAMES = {
    "elbo": "ELBO",
    "amortization": "amortization gap",
    "refined": "refined ELBO",
    "approximation": "approximation gap",
    "evidence": "evidence",
}


def gap_rows(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The parts of the gap on average over the data.

    Returns:
        One row each for the ELBO, the amortization gap, the refined ELBO, the approximation gap and the evidence: `name`,
        `nats`, `error` (Monte Carlo), `spread` (standard error over the data), in nats, and `missing`, data left out.

    Example:
        >>> names = ("elbo", "refined", "evidence", "amortization", "approximation")
        >>> record = {n: [v, v] for n, v in zip(names, (-3.0, -2.5, -2.0, 0.5, 0.5))}
        >>> record |= {f"{n}_error": [0.1, 0.1] for n in names}
        >>> [(row["name"], row["nats"]) for row in gap_rows(record)][:2]
        [('ELBO', -3.0), ('amortization gap', 0.5)]
    """
    rows = []
    for key, name in _NAMES.items():
        values, errors = _columns(record, key)
        known = np.isfinite(values)
        count = int(known.sum())
        nats, error = _mean(values[known], errors[known]) if count else (None, None)
        spread = float(values[known].std(ddof=1) / math.sqrt(count)) if count > 1 else None
        rows.append({"name": name, "nats": nats, "error": error, "spread": spread, "missing": len(values) - count})
    return rows


def format_gaps(record: Mapping[str, Any]) -> str:
    """What a record of gaps says, as text: a table of means over the data with their errors, and sentences."""
    rows = gap_rows(record)
    total = len(_columns(record, "elbo")[0])
    lines = [f"The gap between log p(x) and the ELBO, mean over {total} data, nats per datum ± Monte Carlo error"]
    for row in rows:
        spread = "" if row["spread"] is None or "gap" not in row["name"] else f"   (± {row['spread']:.2g} over data)"
        lines.append(f"  {row['name']:<18} {measured(row['nats'], row['error']):>20}{spread}")
    by = {row["name"]: row["nats"] for row in rows}
    first, second = by["amortization gap"], by["approximation gap"]
    if first is not None and second is not None and min(first, second) >= 0 and first + second > 0:
        share = 100 * first / (first + second)
        lines.append(f"The encoder accounts for {share:.0f} % of the gap, the guide's family for the rest.")
    lines.append(
        f"Evidence: {plain(record.get('evidence_name', '?'))} ({record.get('evidence_kind', '?')}); refinement of "
        f"{record.get('steps', '?')} steps, {duration(record.get('seconds'))} s."
    )
    missing = max(row["missing"] for row in rows)
    if missing:
        lines.append(f"! {missing} data have no finite gap, and are left out of the means")
    lines += [f"! {plain(note)}" for note in record.get("notes", [])]
    return "\n".join(lines)


@styled
def gap_picture(record: Mapping[str, Any]) -> Figure:
    """Draw a record of gaps: those of each datum on top of each other, sorted, and one against the other with their errors.

    Raises:
        DataError: there is no datum with finite gaps, or the record lacks a column.
    """
    from matplotlib.patches import Patch

    first, first_error = _columns(record, "amortization")
    second, second_error = _columns(record, "approximation")
    known = np.isfinite(first) & np.isfinite(second)
    if not known.any():
        raise DataError("no datum has both gaps finite: there is nothing to draw")
    first, first_error, second, second_error = (v[known] for v in (first, first_error, second, second_error))
    order = np.argsort(first + second)
    place = np.arange(len(order))

    figure, (left, right) = panels(9.5, 3.9, 1, 2, width_ratios=[3, 2])
    left.fill_between(place, 0, second[order], step="mid", color=BLUE, alpha=0.75, lw=0)
    left.fill_between(place, second[order], (first + second)[order], step="mid", color=VERMILION, alpha=0.75, lw=0)
    if len(order) == 1:  # a band of one datum has no width
        left.bar([0], second, color=BLUE, alpha=0.75)
        left.bar([0], first, bottom=second, color=VERMILION, alpha=0.75)
    left.axhline(0, color=GREY, lw=0.8)
    caption(left, "The gap of each datum, in two parts", x="data, sorted by their gap", y="log p(x) − ELBO, nats")

    many = len(order) > 300
    errors: dict[str, Any] = {} if many else {"xerr": first_error, "yerr": second_error}
    right.errorbar(first, second, **errors, ls="", marker="o", ms=3, alpha=0.6, color=GREY, elinewidth=0.7, capsize=0)
    ends = [min(0.0, float(first.min()), float(second.min())), float(max(first.max(), second.max())) * 1.05]
    right.plot(ends, ends, color=GREY, lw=0.8, ls=":")
    right.plot(first.mean(), second.mean(), "D", color=BLACK, ms=7)
    caption(right, "One against the other", x="amortization gap, nats", y="approximation gap, nats", grid="xy")
    gains = (
        (VERMILION, "amortization gap: what a better encoder would gain", first, first_error),
        (BLUE, "approximation gap: what only a richer family would gain", second, second_error),
    )
    said = [(color, f"{words} ({minus(measured(*_mean(*values)))})") for color, words, *values in gains]
    handles = [Patch(color=color, alpha=0.75, label=words) for color, words in said]
    handles += [entry("mean", ls="", marker="D", color=BLACK), entry("equal gaps", ls=":", color=GREY)]
    legend(figure, handles, columns=1)
    evidence = f"evidence: {label(record.get('evidence_name', '?'))} ({record.get('evidence_kind', '?')})"
    figure.text(0.995, 0.01, evidence, ha="right", color=GREY, size=8.5)
    return figure


def _columns(record: Mapping[str, Any], key: str) -> tuple[Array, Array]:
    for name in (key, f"{key}_error"):
        if name not in record:
            raise DataError(f"the record of the gaps has no '{name}': save the gaps again")
    return column(record[key], key), column(record[f"{key}_error"], f"{key}_error")


def _mean(values: Array, errors: Array) -> tuple[float, float]:
    """The mean of values, and the standard error that theirs, independent of each other, give it."""
    return float(values.mean()), float(np.sqrt(np.square(errors).sum()) / len(values))
