"""How the posteriors of several methods agree with a reference: in words, and as pictures.

A record is what `pyrogen.inference.Posteriors.record` returns; one that lacks something is a `DataError`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pyrogen.errors import DataError

from .records import Array, column
from .style import BLACK, GREY, canvas, caption, entry, legend, looks, styled
from .wording import label, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["agreement_picture", "agreement_rows", "format_posteriors"]

_LEVEL = 0.05
_MOST_SCATTERED = 3  # data whose draws are shown


def agreement_rows(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """How each method agrees with the reference, in single numbers.

    Returns:
        One row a method: `name`; `mean_error`, root mean square over data and dimensions, in standard deviations of the
        reference, and `mean_z`, in Monte Carlo errors; `scale_ratio` of standard deviations, geometric mean, and `scale_z`;
        `accuracy` of classifiers, mean over the data, with its `accuracy_error`, and `accuracy_p`, `pooled_p` (one
        classifier for all data) and `energy_p`, or None; `share_told_apart`, the share of the data tested whose own
        classifier test has a p-value of 0.05 at most, and `tested`, their number.
    """
    rows = []
    for found in _agreements(record):
        known = column(found["draws"], "draws") > 0
        p_values = column(found["accuracy_p"], "accuracy_p")[known]
        each, pooled, energy = (found.get(key) or {} for key in ("each", "pooled", "energy_all"))
        rows.append(
            {
                "name": found["name"],
                "mean_error": _root_mean_square(_flat(found["mean_error"])),
                "mean_z": _root_mean_square(_flat(found["mean_z"])),
                "scale_ratio": math.exp(_mean(_flat(found["scale_error"]))),
                "scale_z": _root_mean_square(_flat(found["scale_z"])),
                "accuracy": each.get("statistic"),
                "accuracy_error": each.get("error"),
                "accuracy_p": each.get("p_value"),
                "pooled_p": pooled.get("p_value"),
                "energy_p": energy.get("p_value"),
                "share_told_apart": float((p_values <= _LEVEL).mean()) if len(p_values) else None,
                "tested": int(known.sum()),
            }
        )
    return rows


def format_posteriors(record: Mapping[str, Any]) -> str:
    """What a record of posteriors says, as text: a table of how they agree, and what its columns mean."""
    rows = agreement_rows(record)
    total = len(_agreements(record)[0]["draws"]) if rows else 0
    lines = [
        f"Posteriors of {total} data against {plain(record.get('reference', '?'))}",
        f"  {'method':<18} {'mean off by':>12} {'(MC errors)':>12} {'sd ratio':>9} {'(MC errors)':>12}"
        f" {'accuracy':>15} {'p':>7} {'pooled p':>9} {'energy p':>9} {'data told apart':>17}",
    ]
    for row in rows:
        told = "–" if row["share_told_apart"] is None else f"{100 * row['share_told_apart']:.0f} % of {row['tested']}"
        accuracy = "–" if row["accuracy"] is None else f"{row['accuracy']:.3f} ± {row['accuracy_error']:.3f}"
        lines.append(
            f"  {label(row['name']):<18} {row['mean_error']:>9.2g} sd {row['mean_z']:>12.2f} {row['scale_ratio']:>9.2f}"
            f" {row['scale_z']:>12.2f} {accuracy:>15} {_p(row['accuracy_p']):>7} {_p(row['pooled_p']):>9}"
            f" {_p(row['energy_p']):>9} {told:>17}"
        )
    lines += [
        "Root mean squares over data and dimensions; equal posteriors give about 1 Monte Carlo error.",
        f"P-values: of a classifier for each datum, of one for all data, of the energy distance. {100 * _LEVEL:.0f} % of "
        "equal posteriors are told apart by chance.",
    ]
    lines += [
        f"! {plain(row['name'])}: {total - row['tested']} data were not tested, for there or in the reference too few draws "
        "are independent of each other: take more particles, or longer chains"
        for row in rows
        if row["tested"] < total
    ]
    return "\n".join(lines)


@styled
def agreement_picture(record: Mapping[str, Any]) -> Figure:
    """Draw how each method of a record of posteriors agrees with the reference, and the draws of a few data.

    Above: errors of the means, ratios of standard deviations and accuracies of the classifiers, each point a dimension of a
    datum, or a datum. Below: draws of the first data in their two widest dimensions (one: their distribution).

    Raises:
        DataError: there is nothing to draw, or the record lacks something.
    """
    agreements, methods = _agreements(record), record.get("methods", [])
    if not agreements or not methods:
        raise DataError("the record has no posteriors to compare: draw them by two methods at least")
    names = [method["name"] for method in methods]
    kinds = [{"kind": "exact" if name == record.get("reference") else "lower"} for name in names]
    look = dict(zip(names, looks(kinds), strict=True))
    shown = min(_MOST_SCATTERED, len(methods[0]["shown"]))
    figure = canvas(9.5, 2.2 + 0.28 * len(agreements) + (2.9 if shown else 0))
    heights = [1.6 + 0.28 * len(agreements), 2.9][: 1 + bool(shown)]
    parts = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)
    panels = parts[0, 0].subplots(1, 3, sharey=True)
    for place, found in enumerate(agreements):
        color = look[found["name"]].color
        known = column(found["draws"], "draws") > 0
        _strip(panels[0], place, np.clip(_flat(found["mean_z"]), -12, 12), color)
        _strip(panels[1], place, np.exp(np.clip(_flat(found["scale_error"]), -2, 2)), color)
        _strip(panels[2], place, column(found["accuracy"], "accuracy")[known], color)
    for axes, center, title, words in (
        (panels[0], 0.0, f"Agreement with {label(record.get('reference', '?'))}", "error of the mean, Monte Carlo errors"),
        (panels[1], 1.0, "", "ratio of standard deviations"),
        (panels[2], 0.5, "", "accuracy of a classifier, by datum"),
    ):
        axes.axvline(center, color=BLACK, lw=1, ls="--", zorder=1)
        caption(axes, title, x=words, grid="x")
    panels[0].axvspan(-2, 2, color=GREY, alpha=0.15, lw=0)
    panels[0].set_xlim(-12.5, 12.5)
    panels[0].set_yticks(range(len(agreements)), labels=[label(found["name"]) for found in agreements])
    panels[0].set_ylim(len(agreements) - 0.5, -0.5)
    for place, axes in enumerate(parts[1, 0].subplots(1, shown, squeeze=False)[0] if shown else ()):
        caption(axes, f"Posterior draws of datum {place}")
        _draws(axes, [np.asarray(m["shown"][place], float) for m in methods], [look[n].color for n in names], record)
    legend(figure, [entry(label(name), ls="", marker="o", color=look[name].color) for name in names])
    return figure


def _strip(axes: Axes, place: int, values: Array, color: str) -> None:
    """All values as points along a row, and their middle half as a bar."""
    values = values[np.isfinite(values)]
    if not len(values):
        return
    jitter = 0.6 * (np.arange(len(values)) * 0.6180339887 % 1 - 0.5)  # even, and the same in every drawing
    axes.plot(values, place + jitter, ".", color=color, ms=2.5, alpha=min(0.6, 8 / len(values) ** 0.5), zorder=2)
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    axes.plot([low, high], [place, place], color=color, lw=4, alpha=0.9, solid_capstyle="butt", zorder=3)
    axes.plot(middle, place, "o", color="white", mec=color, mew=1.5, ms=6, zorder=4)


def _draws(axes: Axes, samples: Sequence[Array], colors: Sequence[str], record: Mapping[str, Any]) -> None:
    """Draw (draws, dims) of one datum by every method, in the two dimensions that vary most."""
    names = record["dimensions"]
    spread = np.nan_to_num(np.mean([sample.var(0) for sample in samples], 0))
    chosen = np.sort(np.argsort(-spread, kind="stable")[:2])
    for sample, color in zip(samples, colors, strict=True):
        finite = sample[np.isfinite(sample).all(1)][:200]
        if len(chosen) == 2:
            axes.plot(finite[:, chosen[0]], finite[:, chosen[1]], ".", color=color, ms=3, alpha=0.45)
        elif len(finite):
            axes.hist(finite[:, 0], bins=20, density=True, histtype="step", color=color)
    axes.set_xlabel(label(names[chosen[0]]))
    if len(chosen) == 2:
        axes.set_ylabel(label(names[chosen[1]]))
        axes.grid(visible=True, axis="both")


def _agreements(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = record.get("agreements")
    needed = ("name", "mean_error", "mean_z", "scale_error", "scale_z", "draws", "accuracy", "accuracy_p")
    if not isinstance(found, list) or any(key not in agreement for agreement in found for key in needed):
        raise DataError("the record of the posteriors is damaged: save them again")
    return found


def _flat(rows: Sequence[Sequence[float]]) -> Array:
    return np.asarray(rows, np.float64).ravel()


def _mean(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan


def _root_mean_square(values: Array) -> float:
    return math.sqrt(_mean(values**2))


def _p(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
