"""The pictures of the page, each with the words that stand for it where it cannot be seen.

A section is made only from files that are there: a run without a comparison has no section on estimates, and
one without pictures has none on samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

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
    made = {}
    for name, section in _SECTIONS.items():
        given = section.given(run)
        if given:
            drawn, alt = section.draw(*given), section.say(*given)
            made[name] = Picture(drawn, alt, "gif") if isinstance(drawn, bytes) else Picture(png(drawn), alt)
    return made


class _Section(NamedTuple):
    given: Callable[[RunFiles], tuple[Any, ...]]  # what the picture is drawn from; empty where the run has not got it
    draw: Callable[..., Figure | bytes]
    say: Callable[..., str]


def _of_estimates(draw: Callable[..., Figure], heading: str, say: Callable[[Any, Any], str], least: int = 0) -> _Section:
    """A picture of the estimates of which there is something to say, if at least so many are finite."""

    def parts(record: Mapping[str, Any]) -> list[str]:
        estimates = record.get("estimates") or [{}] * len(record["rows"])
        return [words for row, one in zip(record["rows"], estimates, strict=True) if (words := say(row, one))]

    def given(run: RunFiles) -> tuple[Any, ...]:
        if run.record is None or not parts(run.record) or sum(finite(row["nats"]) for row in run.record["rows"]) < least:
            return ()
        return (run.record,)

    return _Section(given, draw, lambda record: f"{heading}. {'; '.join(parts(record))}.")


def _of_look(name: str, draw: Callable[..., Figure], say: Callable[..., str]) -> _Section:
    """A picture of a closer look."""
    return _Section(lambda run: (run.looks[name],) if name in run.looks else (), draw, say)


def _of_arrays(names: tuple[str, ...], draw: Callable[..., Figure | bytes], words: str) -> _Section:
    """A picture of arrays, none of them empty, and what it shows, in words, with the number of the first array's data."""

    def given(run: RunFiles) -> tuple[Array, ...]:
        found = [run.arrays[name] for name in names if name in run.arrays and run.arrays[name].size]
        return tuple(found) if len(found) == len(names) else ()

    return _Section(given, draw, lambda first, *_: words.format(len(first)))


def _place(row: Mapping[str, Any], _: object) -> str:
    doubt = ", not to be trusted as it stands" if failings(row) else ""
    return f"{plain(row['name'])} ({row['kind']}{doubt}): {measured(row['nats'], row.get('error'))}"


def _curve(row: Mapping[str, Any], estimate: Mapping[str, Any]) -> str:
    curve = estimate.get("curve")
    if not curve or not len(curve["particles"]):
        return ""
    bound, error = column(curve["bound"]), column(curve["error"])
    ends = [f"{measured(bound[end], error[end])} with {curve['particles'][end]:,}" for end in (0, -1)]
    return f"{plain(row['name'])} goes from {' to '.join(ends)}"


def _khat(row: Mapping[str, Any], estimate: Mapping[str, Any]) -> str:
    values = column(estimate.get("khat"))
    return khat_counts(plain(row["name"]), values) if len(values) else ""


def _cost(row: Mapping[str, Any], _: object) -> str:
    gradients = " with gradients" if row.get("gradients") else ""
    work = f"{count(row.get('evaluations'))} evaluations{gradients} and {duration(row.get('seconds'))} seconds"
    return f"{plain(row['name'])} took {work}"


def _sandwich(record: Mapping[str, Any]) -> str:
    said = [
        f"with {found['temperatures']:,} temperatures the mean lies between {found['interval'][0]:.2f} and "
        f"{found['interval'][1]:.2f}"
        for found in record["brackets"]
    ]
    return f"Bounds on log p(x) of simulated data from either side, in nats per datum: {'; '.join(said)}."


def _training(history: Mapping[str, Array]) -> str:
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


def _growing(run: RunFiles) -> tuple[Array, ...]:
    """Images, and the order in which their pixels are drawn."""
    found = _of_arrays(("samples", "order"), generation, "").given(run)
    return found if found and found[0].ndim == 4 else ()


_SECTIONS = {
    "overview": _of_estimates(plots.overview, "Estimates of the log evidence in nats per datum", _place),
    "bounds": _of_estimates(plots.bounds, "Bounds in nats per datum against the number of particles", _curve),
    "khat": _of_estimates(plots.khat, "k-hat of every datum, sorted", _khat),
    "cost": _of_estimates(plots.cost, "Nats per datum against cost", _cost, least=2),
    "sandwich": _of_look("sandwich", plots.bracket, _sandwich),
    "gaps": _of_look("gaps", plots.gap_picture, format_gaps),
    "posteriors": _of_look("posteriors", plots.agreement_picture, format_posteriors),
    "calibration": _of_look("calibration", plots.calibration_picture, format_calibration),
    "latents": _Section(lambda run: (run.usage,) if run.usage else (), plots.latents, latents_in_words),
    "training": _Section(
        lambda run: (run.history,) if run.history is not None and len(run.history["step"]) else (), plots.training, _training
    ),
    "reconstructions": _of_arrays(
        ("inputs", "reconstructions"), plots.reconstructions, "{} data, each with its reconstruction below it."
    ),
    "samples": _of_arrays(("samples",), plots.samples, "{} samples from the model."),
    "completions": _of_arrays(
        ("completed", "known", "completions"),
        plots.completions,
        "{} data of which a part was given, each with the model's completions beside it.",
    ),
    "generation": _Section(
        _growing,
        generation,
        lambda _, order: f"Samples that grow in the order in which their pixels are drawn, {order.max() + 1:,.0f} steps.",
    ),
    "receptive": _of_arrays(
        ("receptive", "order", "receptive_at"),
        plots.receptive_field,
        "How much the prediction of each of {} pixels depends on all others.",
    ),
    "traversal": _of_arrays(("traversal",), plots.traversal, "The model's mean along each of {} latent coordinates."),
}

PICTURE_NAMES = tuple(_SECTIONS)
