"""Pictures of how far each estimate can be trusted, and what it cost: its place, its direction, its weights, its work."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pyrogen.errors import DataError

from .records import KINDS, check_record, column
from .style import BLACK, GREY, MARKERS, VERMILION, caption, entry, legend, logarithmic, looks, panels, styled
from .wording import KHAT_LIMIT, bar, failings, finite, khat_counts, label, measured, minus

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["cost", "khat", "overview"]

_MARKERS = {"lower": ">", "upper": "<", "consistent": "o", "exact": "D"}  # towards the truth, on a horizontal axis
_MEANING = {
    "lower": "lower bound: the truth lies to the right",
    "upper": "upper bound: the truth lies to the left",
    "consistent": "consistent: may miss on either side",
    "exact": "exact",
}
_ARROWS = {"lower": 26, "upper": -26}  # points
_KHAT_RANGE = (-0.5, 1.5)  # always shown at most so far; what lies beyond is drawn at the edge
_GRADIENT = 2  # the work of a gradient, in evaluations, beside the evaluation that it contains


@styled
def overview(record: Mapping[str, Any]) -> Figure:
    """Draw the mean of each estimate of a record with its error, and the side on which the truth lies.

    Bars reach one Monte Carlo standard error to either side. Hollow markers and an exclamation mark stand for estimates with
    a failing diagnostic. `record` is what `load_record` returns.

    Raises:
        DataError: there is no estimate to draw, or the record is damaged.
    """
    check_record(record)
    rows = record["rows"]
    if not rows:
        raise DataError("the comparison has no estimates to draw: compare at least one estimator")

    figure, axes = panels(7.5, 1.0 + 0.36 * len(rows))
    names, longest = [], 0.0
    for place, (row, look) in enumerate(zip(rows, looks(rows), strict=True)):
        failing, kind, nats, error = bool(failings(row)), row["kind"], row["nats"], bar(row)
        names.append(label(row["name"]) + (" !" if failing else ""))
        colour, number = VERMILION if failing else BLACK, minus(measured(nats, row.get("error")))
        axes.text(1.03, place, number, transform=axes.get_yaxis_transform(), va="center", color=colour)
        if not finite(nats):
            continue
        longest = max(longest, error)
        if kind == "exact":
            axes.axvline(nats, color=BLACK, lw=1, ls="--", zorder=1)
        if kind in _ARROWS:
            arrow = {"arrowstyle": "<-", "color": look.color, "lw": 1.2, "shrinkA": 0, "shrinkB": 6}
            start = (nats + math.copysign(error, _ARROWS[kind]), place)
            axes.annotate("", start, (_ARROWS[kind], 0), textcoords="offset points", arrowprops=arrow)
        face = {"color": look.color, "mfc": "white" if failing else look.color, "marker": _MARKERS[kind]}
        axes.errorbar(nats, place, xerr=error, elinewidth=2, capsize=0, zorder=3, mew=1.4, ms=7, **face)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), labels=names)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.12)
    low, high = axes.get_xlim()
    # Estimates that agree, or a single one, are not blown up until their errors fill the picture.
    missing = max(10 * longest, 0.1) - (high - low)
    if missing > 0:
        axes.set_xlim(low - missing / 2, high + missing / 2)
    title = "Estimates of the log evidence ± Monte Carlo standard error"
    caption(axes, title, x="log p(x), nats per datum (higher is more probable)", grid="xy")
    used = {row["kind"] for row in rows}
    point: dict[str, Any] = {"color": GREY, "ls": "", "ms": 7}
    handles = [entry(_MEANING[kind], **point, marker=_MARKERS[kind]) for kind in KINDS if kind in used]
    if any(failings(row) for row in rows):
        handles.append(entry("hollow, with !: a diagnostic fails", **point, marker="o", mfc="white"))
    legend(figure, handles, columns=2)
    return figure


@styled
def khat(record: Mapping[str, Any]) -> Figure:
    """Draw the Pareto k-hat of every datum, sorted, for each estimator that has one.

    There are lines at 0.5 and 0.7; the legend counts the data above 0.7 and those without a k-hat. `record` is what
    `load_record` returns.

    Raises:
        DataError: no estimate has a k-hat, or the record is damaged.
    """
    check_record(record)
    figure, axes = panels(7.5, 3.8)
    handles, shown = [], [0.0, 1.0]
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
        handles.append(entry(khat_counts(label(row["name"]), values), color=look.color, marker=look.point, ms=4))
    if not handles:
        raise DataError("no estimate has a k-hat: compare one that weights its particles, such as PSIS")
    for limit, meaning in ((0.5, "0.5: slow above"), (KHAT_LIMIT, f"{KHAT_LIMIT}: not to be\ntrusted above")):
        axes.axhline(limit, color=VERMILION if limit == KHAT_LIMIT else GREY, lw=1, ls="--")
        axes.text(1.015, limit, meaning, transform=axes.get_yaxis_transform(), fontsize=8.5, va="center")
    axes.set_xlim(0, 100)
    axes.set_ylim(min(shown) - 0.06, max(shown) + 0.06)
    axes.axhspan(KHAT_LIMIT, max(shown) + 0.06, color=VERMILION, alpha=0.08, lw=0)
    title, x = "How far the importance weights can be trusted", "data, sorted by their k-hat (percent)"
    caption(axes, title, x=x, y="k-hat (tail of the importance weights)")
    legend(figure, handles, columns=2)
    return figure


@styled
def cost(record: Mapping[str, Any]) -> Figure:
    """Draw every estimate against its work and against its wall time.

    Work is counted in evaluations of the model for one particle of one datum; a gradient counts as two beside the evaluation
    that it contains. Bars reach one Monte Carlo standard error to either side; hollow markers stand for estimates with a
    failing diagnostic. `record` is what `load_record` returns.

    Raises:
        DataError: there is no finite estimate to draw, or the record is damaged.
    """
    check_record(record)
    rows = record.get("data", {}).get("rows")
    data = rows if isinstance(rows, int) and rows > 0 else 1
    figure, (left, right) = panels(7.5, 4.2, 1, 2, sharey=True)
    handles, used = [], set()
    shown = looks(record["rows"])
    for row, look in zip(record["rows"], shown, strict=True):
        if not finite(row["nats"]):
            continue
        kind = row["kind"]
        again = kind != "exact" and look.point != shown[0].point  # a colour that has been used before
        used.add(kind)
        fill, edge = "white" if failings(row) else look.color, BLACK if again else look.color
        face = {"color": look.color, "mfc": fill, "mec": edge}
        work = ((row.get("evaluations") or 0) + _GRADIENT * (row.get("gradients") or 0)) / data
        for axes, place in ((left, work), (right, row.get("seconds"))):
            if kind == "exact":
                axes.axhline(row["nats"], color=BLACK, lw=1, ls="--", zorder=1)
            elif place:
                axes.errorbar(place, row["nats"], yerr=bar(row), marker=MARKERS[kind], ms=7, mew=1.4, ls="", **face)
        line = {"marker": "", "ls": "--"} if kind == "exact" else {"marker": MARKERS[kind], "ls": ""}
        handles.append(entry(label(row["name"]), ms=6, **face, **line))
    if not handles:
        raise DataError("the comparison has no finite estimates to draw: compare at least one estimator")
    for axes in (left, right):
        axes.set_xscale("log")
        axes.margins(x=0.12, y=0.12)
        logarithmic(axes)
    caption(left, "Nats against cost", "work for each datum, in evaluations of the model", "log p(x), nats per datum", "xy")
    caption(right, "", "seconds for all data", grid="xy")
    meaning = {"lower": "lower bound", "upper": "upper bound", "consistent": "consistent"}
    handles += [entry(meaning[kind], color=GREY, ls="", ms=6, marker=MARKERS[kind]) for kind in meaning if kind in used]
    legend(figure, handles, columns=3)
    return figure
