"""No two texts of a picture lie over each other, none leaves the picture, and none shows markup."""

import itertools

import numpy as np
import pytest

from pyrogen.report import load_history, plots, sections
from pyrogen.report.runs import RunFiles

SCALES = [1.02, 1.4, 2.5, 9.0, 40.0, 1e3, 1e7]
"""Largest value over the smallest."""


def visible_texts(figure):
    """The texts that are drawn, each with its box in pixels."""
    from matplotlib.axis import Axis
    from matplotlib.text import Text

    figure.canvas.draw()
    ticks = set()
    for axis in figure.findobj(Axis):
        ticks |= {text for tick in axis.get_major_ticks() + axis.get_minor_ticks() for text in (tick.label1, tick.label2)}
    shown = {text for axis in figure.findobj(Axis) for tick in axis._update_ticks() for text in (tick.label1, tick.label2)}
    return [
        (text.get_text(), text.get_window_extent())
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and (text not in ticks or text in shown)
    ]


def check(figure):
    found = visible_texts(figure)
    assert found
    whole = figure.bbox.padded(0.05 * figure.dpi)
    for words, box in found:
        assert "mathdefault" not in words
        inside = whole.x0 <= box.x0 and whole.y0 <= box.y0 and box.x1 <= whole.x1 and box.y1 <= whole.y1
        assert inside, f"{words!r} leaves the picture"
    for (one, first), (other, second) in itertools.combinations(found, 2):
        width = min(first.x1, second.x1) - max(first.x0, second.x0)
        height = min(first.y1, second.y1) - max(first.y0, second.y0)
        assert not (width > 1 and height > 1), f"{one!r} and {other!r} lie over each other"


def spread(scale, number, start=1.0):
    return np.geomspace(start, start * scale, number)


@pytest.mark.parametrize("start", [1e-3, 0.7, 180.0, 3e5])
@pytest.mark.parametrize("scale", SCALES)
def test_nats_against_cost(record, scale, start):
    for row, cost in zip(record["rows"], spread(scale, len(record["rows"]), start), strict=True):
        row["evaluations"], row["seconds"] = cost * record["data"]["rows"], cost
        row["nats"] = -30 - cost / start / 10
    check(plots.cost(record))


@pytest.mark.parametrize("number", [1, 2, 5, 12, 25])
@pytest.mark.parametrize("scale", [2, 40, 1e3, 1e7])
def test_bounds(record, scale, number):
    particles = sorted({round(count) for count in spread(scale, number)})
    for estimate in record["estimates"]:
        if estimate["curve"]:
            values = np.linspace(-31, -30, len(particles)).tolist()
            estimate["curve"] = {"particles": particles, "bound": values, "error": [0.1] * len(particles)}
    check(plots.bounds(record))


@pytest.mark.parametrize(
    "temperatures", [(100,), (100, 110), (10, 20, 30, 40, 50, 60), (100, 1000), (5, 50, 500, 5000, 50000)]
)
def test_brackets(temperatures):
    generator, brackets = np.random.default_rng(0), []
    for count in temperatures:
        lower = generator.normal(-30, 1, 20) - 3 / count
        upper = (lower + generator.exponential(6 / count, 20)).tolist()
        low, high = float(lower.mean()), float(np.mean(upper))
        brackets.append({"temperatures": count, "interval": [low, high], "lower": lower.tolist(), "upper": upper})
    check(plots.bracket({"brackets": brackets}))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", ["overview", "khat"])
def test_estimates(record, name, scale):
    for row, size in zip(record["rows"], spread(scale, len(record["rows"])), strict=True):
        row["nats"], row["error"] = -1e3 - size, size / 10
    check(getattr(plots, name)(record))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("steps", [3, 70, 12_345_678])
def test_training(run_directory, scale, steps):
    history = load_history(run_directory)
    count = len(history["step"])
    history = {**history, "step": np.linspace(1, steps, count), "loss": spread(scale, count)[::-1]}
    check(plots.training(history))


def test_the_pictures_of_a_whole_run(run_directory, monkeypatch):
    drawn = []
    monkeypatch.setattr(sections, "png", lambda figure: drawn.append(figure) or b"")
    made = sections.pictures(RunFiles.read(run_directory))
    assert len(drawn) == len(made) - 1 > 10  # all but the film
    for figure in drawn:
        check(figure)
