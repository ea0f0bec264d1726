"""Picture of bidirectional Monte Carlo: bounds from either side that close as temperatures grow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pyrogen.errors import DataError

from .style import BLACK, BLUE, GREY, VERMILION, canvas, caption, legend, logarithmic, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["bracket"]


@styled
def bracket(record: Mapping[str, Any]) -> Figure:
    """Draw the mean bounds against the number of temperatures, and the distance of the bounds for each simulated datum.

    The band is the bracket that holds the mean of log p(x) over the data with 95% probability.

    Args:
        record: what ``Sandwich.record()`` returns.

    Raises:
        DataError: the record holds no bracket.
    """
    brackets = record.get("brackets")
    if not brackets:
        raise DataError("there is no bracket to draw: ask for at least one number of temperatures")
    figure = canvas(7.5, 3.8)
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": [3, 2]})
    place = np.array([found["temperatures"] for found in brackets], dtype=float)
    low, high = (np.array([found["interval"][side] for found in brackets]) for side in (0, 1))
    means = {side: np.array([np.mean(found[side]) for found in brackets]) for side in ("lower", "upper")}
    if len(place) > 1:
        left.fill_between(place, low, high, color=GREY, alpha=0.25, lw=0, label="95% bracket of the mean")
    else:
        left.vlines(place, low, high, color=GREY, alpha=0.5, lw=8, label="95% bracket of the mean")
    left.plot(place, means["upper"], "v-", color=VERMILION, ms=6, label="backwards from the posterior: upper")
    left.plot(place, means["lower"], "^-", color=BLUE, ms=6, label="forwards: lower")
    if record.get("exact") is not None:
        left.axhline(float(np.mean(record["exact"])), color=BLACK, lw=1, ls="--", label="exact")
    left.set_xscale("log")
    left.margins(x=0.15)
    logarithmic(left, place.tolist())
    left.set_xlabel("temperatures")
    left.set_ylabel("log p(x), nats per datum")
    left.grid(visible=True)
    caption(left, "Bounds on simulated data")
    gaps = [np.sort(np.array(found["upper"]) - np.array(found["lower"])) for found in brackets]
    shades = np.linspace(0.35, 1.0, len(gaps))
    room = 0.07 * (max(gap[-1] for gap in gaps) - min(0.0, *(gap[0] for gap in gaps)))  # of a line's name
    named: list[float] = []
    for gap, shade, found in zip(gaps, shades, brackets, strict=True):
        share = 100 * (np.arange(len(gap)) + 0.5) / len(gap)
        right.plot(share, gap, color=BLUE, alpha=float(shade), lw=1.6)
        if all(abs(gap[-1] - end) > room for end in named):  # the others lie between those that are named
            named.append(gap[-1])
            right.annotate(
                f"{found['temperatures']:,}", (share[-1], gap[-1]), (4, 0), textcoords="offset points", fontsize=8.5
            )
    right.axhline(0, color=GREY, lw=1)
    right.set_xlabel("data, sorted (percent)")
    right.set_ylabel("upper minus lower, nats")
    right.set_xlim(0, 112)
    right.grid(visible=True)
    caption(right, "Distance for each datum")
    legend(figure, left.get_legend_handles_labels()[0], columns=2)
    return figure
