"""Pictures of estimates that move: during training, and with the number of particles or temperatures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pyrogen.errors import DataError

from .records import Array, check_record, column
from .runs import further_columns, losses, not_finite
from .style import BLACK, BLUE, GREY, MARKERS, PALETTE, VERMILION, caption, entry, legend, logarithmic, looks, panels, styled
from .wording import bar, failings, finite, label, measured, minus

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["bounds", "bracket", "training"]

_FEW = 40  # so many points are told apart as markers


@styled
def training(history: Mapping[str, Array]) -> Figure:
    """Draw the training losses and the negative validation bound against the step: both fall as the model gets better.

    Below stand other measurements of the objective, and `beta`, the weight of the Kullback-Leibler term, where it changed:
    the loss of an early step is then not yet the negative bound. `history` is what `load_history` returns.

    Raises:
        DataError: there is no row to draw.
    """
    from matplotlib.ticker import MaxNLocator

    step, validation, beta = (np.asarray(history[key]) for key in ("step", "validation", "beta"))
    if not len(step):
        raise DataError("the history has no rows to draw: train for at least one logging interval")
    known = np.isfinite(beta)
    below = {"beta": beta} if known.any() and float(np.ptp(beta[known])) > 0 else {}
    below.update((name, np.asarray(history[name])) for name in further_columns(history))

    heights = [4, *[1] * len(below)]
    figure, grid = panels(7.5, 3.6 + 0.8 * len(below), len(heights), sharex=True, squeeze=False, height_ratios=heights)
    axes, *others = grid[:, 0]
    marker = "o" if len(step) <= _FEW else ""
    handles = []
    names = losses(history)
    colors = [color for color in PALETTE if color != VERMILION]
    for place, (key, name) in enumerate(names.items()):
        loss = np.asarray(history[key])
        there = ~np.isnan(loss) if len(names) > 1 else np.ones(len(loss), dtype=bool)  # a phase that was not taken has none
        values = np.where(np.isfinite(loss), loss, np.nan)[there]
        handles += axes.plot(step[there], values, color=colors[place % len(colors)], marker=marker, ms=3, label=name)
    seen = np.isfinite(validation)
    if seen.any():
        words = "validation (negative bound)"
        handles += axes.plot(step[seen], -validation[seen], color=VERMILION, marker="s", ms=3.5, label=words)
        best = int(np.argmax(np.where(seen, validation, -np.inf)))
        words = f"best: {-validation[best]:.2f} at step {step[best]:,.0f}"
        handles += axes.plot(step[best], -validation[best], "o", mfc="none", mec=VERMILION, ms=11, label=words)
    bad = step[not_finite(history)]
    if len(bad):
        look = {"color": GREY, "transform": axes.get_xaxis_transform(), "clip_on": False}
        handles += axes.plot(bad, np.zeros(len(bad)), "x", **look, label=f"loss not finite ({len(bad)})")
    _hide_the_first_fall(axes, *(np.asarray(history[name]) for name in names), -validation)
    caption(axes, "Training", y="nats per datum (lower is better)")
    for panel, (name, values) in zip(others, below.items(), strict=True):
        panel.plot(step, values, color=GREY)
        panel.set_ylabel(label(name), rotation=0, ha="right", va="center")
        panel.margins(y=0.15)
    last = grid[-1, 0]
    last.set_xlabel("training step")
    last.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    last.xaxis.set_major_formatter("{x:,.0f}")
    legend(figure, handles)
    return figure


@styled
def bounds(record: Mapping[str, Any]) -> Figure:
    """Draw each bound against its number of particles, and the other estimates as horizontal bands.

    Bars and bands reach one Monte Carlo standard error to either side. `record` is what `load_record` returns; the `curve`
    of an estimate holds `particles`, `bound` and `error`, the last two in nats per datum.

    Raises:
        DataError: no estimate has a curve, or the record is damaged.
    """
    check_record(record)
    figure, axes = panels(7.5, 3.8)
    handles, bands = [], []
    ticks: set[float] = set()
    estimates = record.get("estimates") or [{}] * len(record["rows"])
    for row, estimate, look in zip(record["rows"], estimates, looks(record["rows"]), strict=True):
        curve = estimate.get("curve")
        drawn = curve is not None and len(curve["particles"])
        if drawn:
            particles, bound, error = (column(curve[key]) for key in ("particles", "bound", "error"))
            line: dict[str, Any] = {"color": look.color, "ls": look.dash, "marker": MARKERS[row["kind"]]}
            axes.errorbar(particles, bound, yerr=np.abs(error), elinewidth=1.2, **line)
            handles.append(entry(f"bound from the weights of {label(row['name'])}", **line))
            ticks.update(particles.tolist())
        # A bound is the end of its own curve; an estimate that is none (smoothed weights) is drawn beside it.
        if finite(row["nats"]) and not (drawn and row["kind"] == "lower"):
            bands.append((bool(drawn), row, look))
    if not handles:
        raise DataError("no estimate has a curve over the number of particles: evaluate one at several numbers")

    low, high = axes.get_ylim()
    room = max(high - low, 1e-9)
    for _, row, look in sorted(bands, key=lambda band: band[0]):
        value, width = float(row["nats"]), bar(row)
        mark = " !" if failings(row) else ""
        words = f"{label(row['name'])} ({row['kind']}){mark}: {minus(measured(value, row.get('error')))}"
        line = {"color": look.color, "ls": look.dash, "lw": 1.2}
        # One loose bound far away would press all curves into a single line: it is named, not drawn.
        if low - 1.5 * room <= value <= high + 1.5 * room:
            axes.axhspan(value - width, value + width, color=look.color, alpha=0.22, lw=0)
            axes.axhline(value, **line)
        else:
            words += ", above the picture" if value > high else ", below the picture"
        handles.append(entry(words, **line))
    logarithmic(axes, ticks)
    caption(
        axes,
        "Bounds against the number of particles",
        x="number of particles (logarithmic)",
        y="nats per datum (higher is better)",
    )
    legend(figure, handles, columns=2)
    return figure


@styled
def bracket(record: Mapping[str, Any]) -> Figure:
    """Draw bidirectional Monte Carlo: mean bounds by the number of temperatures, and the bounds' distance for each datum.

    The band is the bracket that holds the mean of log p(x) over the simulated data with 95% probability. `record` is what
    ``Sandwich.record()`` returns.

    Raises:
        DataError: the record holds no bracket.
    """
    brackets = record.get("brackets")
    if not brackets:
        raise DataError("there is no bracket to draw: ask for at least one number of temperatures")
    figure, (left, right) = panels(7.5, 3.8, 1, 2, width_ratios=[3, 2])
    place = np.array([found["temperatures"] for found in brackets], dtype=float)
    low, high = np.array([found["interval"] for found in brackets]).T
    band: dict[str, Any] = {"color": GREY, "label": "95% bracket of the mean"}
    if len(place) > 1:
        left.fill_between(place, low, high, alpha=0.25, lw=0, **band)
    else:
        left.vlines(place, low, high, alpha=0.5, lw=8, **band)
    for side, look, color, words in (
        ("upper", "v-", VERMILION, "backwards from the posterior: upper"),
        ("lower", "^-", BLUE, "forwards: lower"),
    ):
        left.plot(place, [np.mean(found[side]) for found in brackets], look, color=color, ms=6, label=words)
    if record.get("exact") is not None:
        left.axhline(float(np.mean(record["exact"])), color=BLACK, lw=1, ls="--", label="exact")
    left.set_xscale("log")
    left.margins(x=0.15)
    logarithmic(left, place.tolist())
    caption(left, "Bounds on simulated data", x="temperatures", y="log p(x), nats per datum", grid="xy")
    gaps = [np.sort(np.array(found["upper"]) - np.array(found["lower"])) for found in brackets]
    shades = np.linspace(0.35, 1.0, len(gaps))
    room = 0.07 * (max(gap[-1] for gap in gaps) - min(0.0, *(gap[0] for gap in gaps)))  # of a line's name
    named: list[float] = []
    for gap, shade, found in zip(gaps, shades, brackets, strict=True):
        share = 100 * (np.arange(len(gap)) + 0.5) / len(gap)
        right.plot(share, gap, color=BLUE, alpha=float(shade), lw=1.6)
        if all(abs(gap[-1] - end) > room for end in named):  # the others lie between those that are named
            named.append(gap[-1])
            words, end = f"{found['temperatures']:,}", (share[-1], gap[-1])
            right.annotate(words, end, (4, 0), textcoords="offset points", fontsize=8.5)
    right.axhline(0, color=GREY, lw=1)
    right.set_xlim(0, 112)
    caption(right, "Distance for each datum", x="data, sorted (percent)", y="upper minus lower, nats", grid="xy")
    legend(figure, left.get_legend_handles_labels()[0], columns=2)
    return figure


def _hide_the_first_fall(axes: Axes, *series: Array) -> None:
    """Cut off the steep first fall of a loss, and say so, where it would flatten all that follows."""
    first = max(1, len(series[0]) // 10)
    later = np.concatenate([values[first:] for values in series])
    everything = np.concatenate(series)
    later, everything = later[np.isfinite(later)], everything[np.isfinite(everything)]
    if len(later) < 10:
        return
    low, high = float(everything.min()), float(later.max())
    room = high - low
    if room > 0 and everything.max() > high + room:
        axes.set_ylim(low - 0.08 * room, high + 0.12 * room)
        words, corner = f"first steps above, up to {everything.max():,.0f}", (0.99, 0.97)
        axes.annotate(words, corner, xycoords="axes fraction", ha="right", va="top", color=GREY, fontsize=9)
