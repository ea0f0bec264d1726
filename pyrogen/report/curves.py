"""Pictures of estimates that move: during training, and with the number of particles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pyrogen.errors import DataError

from .records import Array, check_record, column
from .runs import further_columns, losses, not_finite
from .style import GREY, MARKERS, PALETTE, VERMILION, Look, canvas, caption, label, legend, logarithmic, looks, minus, styled
from .wording import bar, failings, finite, measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["bounds", "training"]

_FEW = 40  # so many points are told apart as markers


@styled
def training(history: Mapping[str, Array]) -> Figure:
    """Draw the training losses and the negative validation bound against the step: both fall as the model gets better.

    What the objective has measured beside its losses is drawn below, and so is `beta`, the weight of the Kullback-Leibler
    term, where it changed during training: the loss of an early step is then not yet the negative bound.

    Args:
        history: what `load_history` returns: columns of shape `(rows,)`; losses and validation in nats per datum.

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

    figure = canvas(7.5, 3.6 + 0.8 * len(below))
    heights = {"height_ratios": [4, *[1] * len(below)]}
    panels = figure.subplots(1 + len(below), 1, sharex=True, squeeze=False, gridspec_kw=heights)[:, 0]
    axes = panels[0]
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
        line = axes.plot(step[seen], -validation[seen], color=VERMILION, marker="s", ms=3.5)
        line[0].set_label("validation (negative bound)")
        best = int(np.argmax(np.where(seen, validation, -np.inf)))
        ring = axes.plot(step[best], -validation[best], "o", mfc="none", mec=VERMILION, ms=11)
        ring[0].set_label(f"best: {-validation[best]:.2f} at step {step[best]:,.0f}")
        handles += line + ring
    bad = step[not_finite(history)]
    if len(bad):
        crosses = axes.plot(bad, np.zeros(len(bad)), "x", color=GREY, transform=axes.get_xaxis_transform(), clip_on=False)
        crosses[0].set_label(f"loss not finite ({len(bad)})")
        handles += crosses
    _hide_the_first_fall(axes, *(np.asarray(history[name]) for name in names), -validation)
    axes.set_ylabel("nats per datum (lower is better)")
    for panel, (name, values) in zip(panels[1:], below.items(), strict=True):
        panel.plot(step, values, color=GREY)
        panel.set_ylabel(label(name), rotation=0, ha="right", va="center")
        panel.margins(y=0.15)
    panels[-1].set_xlabel("training step")
    panels[-1].xaxis.set_major_locator(MaxNLocator(7, integer=True))
    panels[-1].xaxis.set_major_formatter("{x:,.0f}")
    caption(axes, "Training")
    legend(figure, handles)
    return figure


@styled
def bounds(record: Mapping[str, Any]) -> Figure:
    """Draw each bound against its number of particles, and the other estimates as horizontal bands.

    Bars and bands reach one Monte Carlo standard error to either side.

    Args:
        record: what `load_record` returns; the `curve` of an estimate holds `particles`, `bound` and `error`, the last two
            in nats per datum.

    Raises:
        DataError: no estimate has a curve, or the record is damaged.
    """
    from matplotlib.lines import Line2D

    check_record(record)
    curves: list[tuple[Mapping[str, Any], Look, Array, Array, Array]] = []
    bands: list[tuple[Mapping[str, Any], Look]] = []
    estimates = record.get("estimates") or [{}] * len(record["rows"])
    for row, estimate, look in zip(record["rows"], estimates, looks(record["rows"]), strict=True):
        curve = estimate.get("curve")
        if curve is not None and len(curve["particles"]):
            particles, bound, error = (column(curve[key]) for key in ("particles", "bound", "error"))
            curves.append((row, look, particles, bound, np.abs(error)))
        elif finite(row["nats"]):
            bands.append((row, look))
    if not curves:
        raise DataError("no estimate has a curve over the number of particles: evaluate one at several numbers")

    figure = canvas(7.5, 3.8)
    axes = figure.subplots()
    handles: list[Any] = []
    for row, look, particles, bound, error in curves:
        line: dict[str, Any] = {"color": look.color, "ls": look.dash, "marker": MARKERS[row["kind"]]}
        axes.errorbar(particles, bound, yerr=error, elinewidth=1.2, **line)
        handles.append(Line2D([], [], label=f"bound from the weights of {label(row['name'])}", **line))
        # A bound is the end of its own curve; an estimate that is none (smoothed weights) is drawn beside it.
        if row["kind"] != "lower" and finite(row["nats"]):
            bands.append((row, look))
    low, high = axes.get_ylim()
    room = max(high - low, 1e-9)
    for row, look in bands:
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
        handles.append(Line2D([], [], label=words, **line))
    axes.set_xscale("log")
    logarithmic(axes, {float(count) for _, _, particles, _, _ in curves for count in particles})
    axes.set_xlabel("number of particles (logarithmic)")
    axes.set_ylabel("nats per datum (higher is better)")
    caption(axes, "Bounds against the number of particles")
    legend(figure, handles, columns=2)
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
        axes.annotate(
            f"first steps above, up to {everything.max():,.0f}",
            (0.99, 0.97),
            xycoords="axes fraction",
            ha="right",
            va="top",
            color=GREY,
            fontsize=9,
        )
