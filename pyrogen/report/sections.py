"""The pictures of the page, each with the words that stand for it where it cannot be seen.

A section is made only from files that are there: a run without a comparison has no section on estimates, and
one without pictures has none on samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from . import plots
from .calibration import format_calibration
from .causal import generation
from .gaps import format_gaps
from .posteriors import format_posteriors
from .records import Array, column
from .runs import RunFiles, losses, not_finite
from .style import png
from .units import latents_in_words
from .wording import count, duration, failings, finite, khat_counts, measured, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PICTURE_NAMES", "Picture", "pictures"]

PICTURE_NAMES = (
    "overview",
    "bounds",
    "khat",
    "cost",
    "sandwich",
    "gaps",
    "posteriors",
    "calibration",
    "latents",
    "training",
    "reconstructions",
    "samples",
    "completions",
    "generation",
    "receptive",
    "traversal",
)


@dataclass(frozen=True)
class Picture:
    """One picture of the page.

    Attributes:
        content: the file's bytes.
        alt: what it shows, in words, for readers who cannot see it.
        kind: ``"png"``, or ``"gif"`` if it moves.
    """

    content: bytes
    alt: str
    kind: str = "png"


def pictures(run: RunFiles) -> dict[str, Picture]:
    """Draw every picture that the files of a run allow: by name, in the order of `PICTURE_NAMES`.

    Raises:
        DataError: arrays are neither images nor vectors.
    """
    made: dict[str, Picture] = {}

    def add(name: str, figure: Figure, alt: str) -> None:
        made[name] = Picture(png(figure), alt)

    if run.record is not None and run.record["rows"]:
        record, estimates = run.record, run.record.get("estimates", [])
        add("overview", plots.overview(record), _overview_in_words(record))
        if any(estimate.get("curve") and len(estimate["curve"]["particles"]) for estimate in estimates):
            add("bounds", plots.bounds(record), _bounds_in_words(record))
        if any(len(column(estimate.get("khat"))) for estimate in estimates):
            add("khat", plots.khat(record), _khat_in_words(record))
        if sum(finite(row["nats"]) for row in record["rows"]) > 1:
            add("cost", plots.cost(record), _cost_in_words(record))
    for name, look in run.looks.items():
        draw, say = _LOOKS[name]
        add(name, draw(look), say(look))
    if run.usage:
        add("latents", plots.latents(run.usage), latents_in_words(run.usage))
    if run.history is not None and len(run.history["step"]):
        add("training", plots.training(run.history), _training_in_words(run.history))
    data = {name: values for name, values in run.arrays.items() if values.size}
    for name, (needed, draw_arrays, alt) in _ARRAYS.items():
        if all(key in data for key in needed):
            add(name, draw_arrays(*(data[key] for key in needed)), alt.format(len(data[needed[0]])))
    if "order" in data and data.get("samples", np.empty(0)).ndim == 4:
        alt = f"Samples that grow in the order in which their pixels are drawn, {data['order'].max() + 1:,.0f} steps."
        made["generation"] = Picture(generation(data["samples"], data["order"]), alt, "gif")
    return {name: made[name] for name in PICTURE_NAMES if name in made}


_ARRAYS: dict[str, tuple[tuple[str, ...], Callable[..., Figure], str]] = {
    "reconstructions": (
        ("inputs", "reconstructions"),
        plots.reconstructions,
        "{} data, each with its reconstruction below it.",
    ),
    "samples": (("samples",), plots.samples, "{} samples from the model."),
    "traversal": (("traversal",), plots.traversal, "The model's mean along each of {} latent coordinates."),
    "completions": (
        ("completed", "known", "completions"),
        plots.completions,
        "{} data of which a part was given, each with the model's completions beside it.",
    ),
    "receptive": (
        ("receptive", "order", "receptive_at"),
        plots.receptive_field,
        "How much the prediction of each of {} pixels depends on all others.",
    ),
}
"""By picture: the arrays that it is drawn from, how, and what it shows, in words, with the number of the first array."""


def _overview_in_words(record: Mapping[str, Any]) -> str:
    said = [
        f"{plain(row['name'])} ({row['kind']}{', not to be trusted as it stands' if failings(row) else ''}): "
        f"{measured(row['nats'], row.get('error'))}"
        for row in record["rows"]
    ]
    return f"Estimates of the log evidence in nats per datum. {'; '.join(said)}."


def _bounds_in_words(record: Mapping[str, Any]) -> str:
    said = []
    for row, estimate in zip(record["rows"], record["estimates"], strict=True):
        curve = estimate.get("curve")
        if curve and len(curve["particles"]):
            bound, error = column(curve["bound"]), column(curve["error"])
            ends = [f"{measured(bound[end], error[end])} with {curve['particles'][end]:,}" for end in (0, -1)]
            said.append(f"{plain(row['name'])} goes from {' to '.join(ends)}")
    return f"Bounds in nats per datum against the number of particles. {'; '.join(said)}."


def _khat_in_words(record: Mapping[str, Any]) -> str:
    said = []
    for row, estimate in zip(record["rows"], record["estimates"], strict=True):
        values = column(estimate.get("khat"))
        if len(values):
            said.append(khat_counts(plain(row["name"]), values))
    return f"k-hat of every datum, sorted. {'; '.join(said)}."


def _cost_in_words(record: Mapping[str, Any]) -> str:
    said = [
        f"{plain(row['name'])} took {count(row.get('evaluations'))} evaluations"
        f"{' with gradients' if row.get('gradients') else ''} and {duration(row.get('seconds'))} seconds"
        for row in record["rows"]
    ]
    return f"Nats per datum against cost. {'; '.join(said)}."


def _sandwich_in_words(record: Mapping[str, Any]) -> str:
    said = [
        f"with {found['temperatures']:,} temperatures the mean lies between {found['interval'][0]:.2f} and "
        f"{found['interval'][1]:.2f}"
        for found in record["brackets"]
    ]
    return f"Bounds on log p(x) of simulated data from either side, in nats per datum: {'; '.join(said)}."


_LOOKS: dict[str, tuple[Callable[[Mapping[str, Any]], Figure], Callable[[Mapping[str, Any]], str]]] = {
    "sandwich": (plots.bracket, _sandwich_in_words),
    "gaps": (plots.gap_picture, format_gaps),
    "posteriors": (plots.agreement_picture, format_posteriors),
    "calibration": (plots.calibration_picture, format_calibration),
}


def _training_in_words(history: Mapping[str, Array]) -> str:
    step, validation = history["step"], history["validation"]
    said = []
    for key, name in losses(history).items():
        known = np.flatnonzero(np.isfinite(history[key]))
        ends = [f"{history[key][place]:.2f}" for place in known[[0, -1]]] if len(known) else ["nothing finite"] * 2
        said.append(f"{name} from {ends[0]} to {ends[1]}")
    words = f"From step {step[0]:,.0f} to {step[-1]:,.0f}, in nats per datum: {', '.join(said)}."
    measured_at = np.isfinite(validation)
    if measured_at.any():
        best = int(np.argmax(np.where(measured_at, validation, -math.inf)))
        words += f" The best validation bound is {validation[best]:.2f} at step {step[best]:,.0f}."
    lost = int(not_finite(history).sum())
    return words + (f" In {lost} rows a loss is not finite." if lost else "")
