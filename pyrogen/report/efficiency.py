"""Picture of what each estimate costs: nats against the work that they took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pyrogen.errors import DataError

from .records import KINDS, check_record
from .style import BLACK, GREY, MARKERS, canvas, caption, label, legend, logarithmic, looks, styled
from .wording import bar, failings, finite

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["cost"]

_GRADIENT = 2  # the work of a gradient, in evaluations, beside the evaluation that it contains


@styled
def cost(record: Mapping[str, Any]) -> Figure:
    """Draw every estimate against its work and against its wall time.

    The work of an estimate is counted in evaluations of the model for one particle of one datum; a gradient counts as two
    beside the evaluation that it contains.

    Bars reach one Monte Carlo standard error to either side. Hollow markers stand for estimates with a failing diagnostic.

    Args:
        record: what `load_record` returns.

    Raises:
        DataError: there is no finite estimate to draw, or the record is damaged.
    """
    from matplotlib.lines import Line2D

    check_record(record)
    rows = record.get("data", {}).get("rows")
    data = rows if isinstance(rows, int) and rows > 0 else 1
    figure = canvas(7.5, 4.2)
    panels = figure.subplots(1, 2, sharey=True)
    handles: list[Any] = []
    used = set()
    shown = looks(record["rows"])
    for row, look in zip(record["rows"], shown, strict=True):
        if not finite(row["nats"]):
            continue
        kind = row["kind"]
        again = kind != "exact" and look.point != shown[0].point  # a colour that has been used before
        used.add(kind)
        face: dict[str, Any] = {
            "color": look.color,
            "mfc": "white" if failings(row) else look.color,
            "mec": BLACK if again else look.color,
        }
        work = ((row.get("evaluations") or 0) + _GRADIENT * (row.get("gradients") or 0)) / data
        for axes, place in zip(panels, (work, row.get("seconds")), strict=True):
            if kind == "exact":
                axes.axhline(row["nats"], color=BLACK, lw=1, ls="--", zorder=1)
            elif place:
                axes.errorbar(place, row["nats"], yerr=bar(row), marker=MARKERS[kind], ms=7, mew=1.4, ls="", **face)
        line: dict[str, Any] = {"marker": "", "ls": "--"} if kind == "exact" else {"marker": MARKERS[kind], "ls": ""}
        handles.append(Line2D([], [], ms=6, label=label(row["name"]), **face, **line))
    if not handles:
        raise DataError("the comparison has no finite estimates to draw: compare at least one estimator")
    for axes, words in zip(
        panels, ("work for each datum, in evaluations of the model", "seconds for all data"), strict=True
    ):
        axes.set_xscale("log")
        axes.margins(x=0.12, y=0.12)
        logarithmic(axes)
        axes.set_xlabel(words)
        axes.grid(visible=True)
    panels[0].set_ylabel("log p(x), nats per datum")
    caption(panels[0], "Nats against cost")
    point: dict[str, Any] = {"color": GREY, "ls": "", "ms": 6}
    meaning = {"lower": "lower bound", "upper": "upper bound", "consistent": "consistent"}
    handles += [
        Line2D([], [], **point, marker=MARKERS[kind], label=meaning[kind]) for kind in KINDS if kind in used - {"exact"}
    ]
    legend(figure, handles, columns=3)
    return figure
