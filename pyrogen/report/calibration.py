"""Simulation-based calibration in words and as a picture: ranks of known latents among posterior draws.

A record that is damaged is a `DataError`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pyrogen.errors import DataError

from .records import Array
from .style import BLUE, GREY, VERMILION, caption, entry, legend, panels, styled
from .wording import label, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["calibration_picture", "format_calibration"]

_BARS = 20
_LISTED = 30  # dimensions in the table; the worst come first
_NAMED = 6  # lines of one picture that are told apart
_NOTHING = "nothing found"
_DAMAGED = "the record of the calibration is damaged: save it again"


def format_calibration(record: Mapping[str, Any]) -> str:
    """What a calibration's record says, as text: how many dimensions are off, and a table of them, the worst first."""
    lines = []
    for method in _methods(record):
        rows = _rows(record, method)
        wrong = [row for row in rows if row["verdict"]]
        lines.append(
            f"Calibration of {plain(method['name'])}: {len(method['ranks'])} simulated data, {method['draws']} draws of "
            "each posterior"
        )
        levels = [f"{100 * cover['nominal']:.3g} %" for cover in rows[0]["coverage"]] if rows else []
        lines.append(
            f"  {'dimension':<14} {'location':>9} {'spread':>9} {'p (ECDF)':>9} {'p (sym.)':>9} {'p adjusted':>11}"
            + "".join(f" {level:>8}" for level in levels)
            + "  verdict"
        )
        for row in rows[:_LISTED]:
            covers = "".join(f" {100 * cover['seen']:>6.1f} %" for cover in row["coverage"])
            lines.append(
                f"  {label(row['dimension']):<14} {row['location']:>9.2f} {row['spread']:>9.2f} {row['ecdf_p']:>9.4f}"
                f" {row['symmetry_p']:>9.4f} {row['p_adjusted']:>11.2g}{covers}  {row['verdict'] or _NOTHING}"
            )
        if len(rows) > _LISTED:
            lines.append(f"  and {len(rows) - _LISTED} more dimensions, with larger p-values")
        lines.append(
            f"  {len(wrong)} of {len(rows)} dimensions are off, at a chance of {100 * record['significance']:.3g} % of "
            "saying so of any where all are right."
        )
        lines += [f"! {plain(note)}" for note in method.get("notes", [])]
    lines.append(
        "Location and spread: of the ranks, in standard errors. Percentages: how often central intervals hold the truth."
    )
    lines.append("The data are the model's own: this is about the posteriors, and not about whether the model fits.")
    return "\n".join(lines)


@styled
def calibration_picture(record: Mapping[str, Any]) -> Figure:
    """Draw the ranks of a calibration's record, a row for each method.

    At the left the distribution function of the ranks of every dimension, less that of uniform ranks, with bands that
    uniform ranks stay in everywhere; dimensions that are off are coloured. At the right the histogram of the worst
    dimension, with the numbers that a single bar of uniform ranks has 99 times in 100.
    """
    from matplotlib.patches import Patch

    methods = _methods(record)
    figure, grid = panels(9.5, 3.1 * len(methods) + 0.3, len(methods), 2, squeeze=False, width_ratios=[3, 2])
    for (left, right), method in zip(grid, methods, strict=True):
        ranks, rows = np.asarray(method["ranks"], np.int64), _rows(record, method)
        share, lower, upper = (np.asarray(method["bands"][key], float) for key in ("share", "lower", "upper"))
        outcome = np.asarray(method["bands"]["outcome"], np.int64)
        left.fill_between(share, lower - share, upper - share, color=GREY, alpha=0.25, lw=0)
        left.axhline(0, color=GREY, lw=0.8)
        for place, row in reversed(list(enumerate(rows))):
            column = ranks[:, record["dimensions"].index(row["dimension"])]
            seen = np.searchsorted(np.sort(column), outcome, "right") / len(column)
            named = bool(row["verdict"]) and place < _NAMED
            color = VERMILION if row["verdict"] else BLUE
            left.plot(share, seen - share, color=color, lw=1.4 if named else 0.8, alpha=0.9 if named else 0.45)
        left.set_xlim(0, 1)
        wrong = sum(bool(row["verdict"]) for row in rows)
        found = f"{wrong} of {len(rows)} dimensions off" if wrong else _NOTHING
        y = "share of ranks up to there,\nless that of uniform ranks"
        caption(left, f"{label(method['name'])}: {found}", x="rank, as a share of the draws", y=y)
        _histogram(right, ranks, method["draws"], rows[0], record["dimensions"])
    chance = 100 * record["significance"]
    band = f"a dimension that is right leaves the band {chance:.3g} times in 100"
    handles = [Patch(color=GREY, alpha=0.25, label=band), entry("a dimension with nothing found", color=BLUE)]
    if any(row["verdict"] for row in record["rows"]):
        handles.append(entry("a dimension that is off", color=VERMILION))
    legend(figure, handles, columns=2)
    return figure


def _histogram(axes: Axes, ranks: Array | Any, draws: int, row: Mapping[str, Any], dimensions: list[str]) -> None:
    """Numbers of ranks in bars of as equal width as there can be."""
    from scipy.special import bdtr

    column = ranks[:, dimensions.index(row["dimension"])]
    edges = np.linspace(0, draws + 1, min(_BARS, draws + 1) + 1).round()
    counts, _ = np.histogram(column, edges)
    widths = np.diff(edges)
    chance = widths / (draws + 1)
    below = bdtr(np.arange(len(column) + 1), len(column), chance[:, None])  # (bars, counts)
    low, high = ((below < level).sum(1) for level in (0.005, 0.995))
    # Bars may differ in width by one: heights are numbers per rank.
    axes.bar(edges[:-1], counts / widths, widths, align="edge", color=VERMILION if row["verdict"] else BLUE, alpha=0.7)
    axes.stairs(high / widths, edges, baseline=low / widths, fill=True, color=GREY, alpha=0.35, lw=0)
    axes.axhline(len(column) / (draws + 1), color=GREY, lw=1)
    axes.set_xlim(0, draws + 1)
    title = f"{label(row['dimension'])}: {row['verdict'] or _NOTHING}"
    caption(axes, title, x="rank of the truth among the draws", y="data per rank")


def _methods(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    methods = record.get("methods")
    whole = isinstance(methods, list) and all(key in record for key in ("rows", "dimensions", "significance"))
    if not whole or not methods or any(key not in m for m in methods for key in ("name", "draws", "ranks", "bands")):
        raise DataError(_DAMAGED)
    return list(methods)


def _rows(record: Mapping[str, Any], method: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rows of a method, the worst first."""

    def severity(row: Mapping[str, Any]) -> tuple[float, float]:
        return row["p_adjusted"], -max(abs(row["location"]), abs(row["spread"]))

    rows = [row for row in record["rows"] if row["method"] == method["name"]]
    if not rows or not all(math.isfinite(row["p_adjusted"]) for row in rows):
        raise DataError(_DAMAGED)
    return sorted(rows, key=severity)
