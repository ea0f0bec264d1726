"""Pictures of how far each estimate can be trusted: its place, its direction, its weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pyrogen.errors import DataError

from .records import KINDS, check_record, column
from .style import BLACK, GREY, VERMILION, canvas, caption, label, legend, looks, minus, styled
from .wording import KHAT_LIMIT, bar, failings, finite, khat_counts, measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["khat", "overview"]

_MARKERS = {"lower": ">", "upper": "<", "consistent": "o", "exact": "D"}
_MEANING = {
    "lower": "lower bound: the truth lies to the right",
    "upper": "upper bound: the truth lies to the left",
    "consistent": "consistent: may miss on either side",
    "exact": "exact",
}
_ARROWS = {"lower": 26, "upper": -26}  # points
_KHAT_RANGE = (-0.5, 1.5)  # always shown at most so far; what lies beyond is drawn at the edge


@styled
def overview(record: Mapping[str, Any]) -> Figure:
    """Draw the mean of each estimate with its error, and the side on which the truth lies.

    Bars reach one Monte Carlo standard error to either side. Hollow markers and an exclamation mark stand for estimates with
    a failing diagnostic.

    Args:
        record: what `load_record` returns.

    Raises:
        DataError: there is no estimate to draw, or the record is damaged.
    """
    from matplotlib.lines import Line2D

    check_record(record)
    rows = record["rows"]
    if not rows:
        raise DataError("the comparison has no estimates to draw: compare at least one estimator")

    figure = canvas(7.5, 1.0 + 0.36 * len(rows))
    axes = figure.subplots()
    names, numbers, longest = [], [], 0.0
    for place, (row, look) in enumerate(zip(rows, looks(rows), strict=True)):
        failing = bool(failings(row))
        names.append(label(row["name"]) + (" !" if failing else ""))
        numbers.append(minus(measured(row["nats"], row.get("error"))))
        if not finite(row["nats"]):
            continue
        error = bar(row)
        longest = max(longest, error)
        colour = look.color
        if row["kind"] == "exact":
            axes.axvline(row["nats"], color=BLACK, lw=1, ls="--", zorder=1)
        if row["kind"] in _ARROWS:
            axes.annotate(
                "",
                (row["nats"] + math.copysign(error, _ARROWS[row["kind"]]), place),
                (_ARROWS[row["kind"]], 0),
                textcoords="offset points",
                arrowprops={"arrowstyle": "<-", "color": colour, "lw": 1.2, "shrinkA": 0, "shrinkB": 6},
            )
        fill = "white" if failing else colour
        face: dict[str, Any] = {"color": colour, "mfc": fill, "mew": 1.4, "marker": _MARKERS[row["kind"]], "ms": 7}
        axes.errorbar(row["nats"], place, xerr=error, elinewidth=2, capsize=0, zorder=3, **face)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), labels=names)
    for place, (row, number) in enumerate(zip(rows, numbers, strict=True)):
        colour = VERMILION if failings(row) else BLACK
        axes.text(1.03, place, number, transform=axes.get_yaxis_transform(), va="center", color=colour)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(visible=True, axis="both")
    axes.margins(x=0.12)
    low, high = axes.get_xlim()
    # Estimates that agree, or a single one, are not blown up until their errors fill the picture.
    missing = max(10 * longest, 0.1) - (high - low)
    if missing > 0:
        axes.set_xlim(low - missing / 2, high + missing / 2)
    axes.set_xlabel("log p(x), nats per datum (higher is more probable)")
    caption(axes, "Estimates of the log evidence ± Monte Carlo standard error")
    used = {row["kind"] for row in rows}
    point: dict[str, Any] = {"color": GREY, "ls": "", "ms": 7}
    handles = [Line2D([], [], **point, marker=_MARKERS[kind], label=_MEANING[kind]) for kind in KINDS if kind in used]
    if any(failings(row) for row in rows):
        handles.append(Line2D([], [], **point, marker="o", mfc="white", label="hollow, with !: a diagnostic fails"))
    legend(figure, handles, columns=2)
    return figure


@styled
def khat(record: Mapping[str, Any]) -> Figure:
    """Draw the Pareto k-hat of every datum, sorted, for each estimator that has one.

    There are lines at 0.5 and 0.7; the legend counts the data above 0.7 and those without a k-hat.

    Args:
        record: what `load_record` returns.

    Raises:
        DataError: no estimate has a k-hat, or the record is damaged.
    """
    from matplotlib.lines import Line2D

    check_record(record)
    figure = canvas(7.5, 3.8)
    axes = figure.subplots()
    handles: list[Any] = []
    shown = [0.0, 1.0]
    # A record without estimates has no data to look at, and the loop nothing to do.
    estimates = record.get("estimates", [])
    for row, estimate, look in zip(record["rows"], estimates, looks(record["rows"]), strict=False):
        values = column(estimate.get("khat"))
        if not len(values):
            continue
        known = np.sort(values[~np.isnan(values)])
        drawn = np.clip(known, *_KHAT_RANGE)
        shown += [float(drawn.min()), float(drawn.max())] if len(drawn) else []
        place = 100 * (np.arange(len(known)) + 0.5) / max(len(known), 1)
        few = {"marker": look.point, "ms": 3, "ls": ""}
        axes.plot(place, drawn, color=look.color, **(few if len(known) <= 500 else {"ls": look.dash}))
        beyond = known > drawn
        if beyond.any():  # an empty unclipped line would stretch the layout to the figure's corner
            axes.plot(place[beyond], drawn[beyond], "^", color=look.color, ms=6, clip_on=False)
        handles.append(
            Line2D([], [], color=look.color, marker=look.point, ms=4, label=khat_counts(label(row["name"]), values))
        )
    if not handles:
        raise DataError("no estimate has a k-hat: compare one that weights its particles, such as PSIS")
    for limit, meaning in ((0.5, "0.5: slow above"), (KHAT_LIMIT, f"{KHAT_LIMIT}: not to be\ntrusted above")):
        axes.axhline(limit, color=VERMILION if limit == KHAT_LIMIT else GREY, lw=1, ls="--")
        axes.text(1.015, limit, meaning, transform=axes.get_yaxis_transform(), fontsize=8.5, va="center")
    axes.set_xlim(0, 100)
    axes.set_ylim(min(shown) - 0.06, max(shown) + 0.06)
    axes.axhspan(KHAT_LIMIT, max(shown) + 0.06, color=VERMILION, alpha=0.08, lw=0)
    axes.set_xlabel("data, sorted by their k-hat (percent)")
    axes.set_ylabel("k-hat (tail of the importance weights)")
    caption(axes, "How far the importance weights can be trusted")
    legend(figure, handles, columns=2)
    return figure
