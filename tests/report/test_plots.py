"""Every picture draws what it was given, on images and on vectors, for one estimate and for many."""

import copy

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

from pyrogen.errors import DataError
from pyrogen.report import load_history, plots
from pyrogen.report.style import png

GENERATOR = np.random.default_rng(0)
SHAPES = {
    "grey": (1, 8, 8),
    "wide": (1, 4, 12),
    "colour": (3, 16, 16),
    "vector": (9,),
    "square": (16,),
    "point": (2,),
    "number": (1,),
}
NAMES = ["_hidden", "$\\frac{$", "日本語", "<script>alert(1)</script>", "[red]", "long " * 30, "a\nb\x1b[2J", ""]


def drawn(figure):
    """Draws the figure for real, and checks that something other than white came out."""
    assert png(figure).startswith(b"\x89PNG")
    pixels = np.asarray(figure.canvas.buffer_rgba())
    assert pixels.std() > 0
    return figure


def texts(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def many(record, number):
    """A record of that many estimates, each with a curve and k-hats, some of them hostile or broken."""
    rows, estimates = [], []
    for place in range(number):
        row, estimate = copy.deepcopy(record["rows"][place % 5]), copy.deepcopy(record["estimates"][1])
        row["name"] = estimate["name"] = NAMES[place % len(NAMES)]
        row["nats"] = [-30.0, None, float("nan"), float("-inf")][place % 4]
        row["error"] = [0.1, None, float("nan"), float("inf")][place // 2 % 4]
        estimate["khat"] = GENERATOR.normal(0.5, 0.3, 20).tolist()
        rows.append(row)
        estimates.append(estimate)
    return {**record, "rows": rows, "estimates": estimates}


@pytest.mark.parametrize("name", ["overview", "bounds", "khat"])
@pytest.mark.parametrize("number", [1, 2, 30])
def test_estimates_are_drawn_whatever_their_number_and_names(record, name, number):
    drawn(getattr(plots, name)(many(record, number)))


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("number", [1, 3, 25])
def test_data_of_every_shape_are_drawn(name, number):
    data = GENERATOR.normal(0.5, 0.5, (number, *SHAPES[name]))
    data.flat[0] = np.nan
    drawn(plots.samples(data))
    drawn(plots.reconstructions(data, data))
    drawn(plots.traversal(data[:, None].repeat(4, axis=1)))


def test_inputs_stand_above_their_reconstructions():
    figure = drawn(plots.reconstructions(np.ones((3, 1, 8, 8)), np.zeros((3, 1, 8, 8))))
    (axes,) = figure.axes
    picture = axes.images[0].get_array()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["input", "reconstruction"]
    above, below = axes.get_yticks()
    assert picture[int(above), 5].tolist() == [1, 1, 1]
    assert picture[int(below), 5].tolist() == [0, 0, 0]
    # Pixel rows are counted downwards.
    assert above < below


def test_each_sample_has_its_own_place():
    values = np.array([0.1, 0.3, np.nan, 0.7, 1.9])
    (axes,) = plots.samples(values[:, None, None, None] * np.ones((5, 1, 48, 48))).axes
    picture = np.asarray(axes.images[0].get_array())[..., 0]
    centres = picture[24::53, 24::53]
    # What is not a number is grey, what is too bright is white, and so is the empty last place.
    np.testing.assert_allclose(centres, [[0.1, 0.3, 0.5], [0.7, 1.0, 1.0]])
    assert (picture[24, 48:53] == 1).all()
    assert (picture[48:53, 24] == 1).all()


def test_colours_keep_their_channels():
    red = np.zeros((1, 3, 4, 4))
    red[:, 0] = 1
    (axes,) = plots.samples(red).axes
    assert axes.images[0].get_array()[0, 0].tolist() == [1, 0, 0]


def test_vectors_are_not_taken_for_images():
    strips = plots.samples(np.linspace(0, 1, 32).reshape(2, 16)).axes[0].images[0].get_array()
    assert strips[0].tolist() == pytest.approx(np.linspace(0, 1, 32)[:16].tolist())


def test_training_draws_loss_and_negative_validation(run_directory):
    figure = drawn(plots.training(load_history(run_directory)))
    curve, annealing = figure.axes
    loss, validation, best = curve.lines
    assert loss.get_xydata().tolist() == [[100, 50], [200, 40], [300, 35]]
    assert validation.get_xydata().tolist() == [[200, 42], [300, 43.5]]
    assert best.get_xydata().tolist() == [[200, 42]]
    assert "nats per datum" in curve.get_ylabel()
    assert annealing.lines[0].get_ydata().tolist() == [0.5, 1, 1]
    assert "best: 42.00 at step 200" in texts(figure)


def test_training_bears_what_is_not_there_or_not_finite(run_directory):
    history = load_history(run_directory)
    history["validation"][:] = np.nan
    history["beta"][:] = 1.0
    history["loss"][1] = np.inf
    figure = drawn(plots.training(history))
    assert len(figure.axes) == 1
    assert texts(figure) == ["training loss", "loss not finite (1)"]
    drawn(plots.training({name: values[:1] for name, values in history.items()}))


def test_the_first_fall_of_the_loss_does_not_flatten_the_rest():
    steps = np.arange(50.0)
    history = {"step": steps, "loss": 30 + 900 * np.exp(-2 * steps), "validation": steps * np.nan, "beta": steps * np.nan}
    figure = drawn(plots.training(history))
    assert figure.axes[0].get_ylim()[1] < 100
    assert "up to 930" in figure.axes[0].texts[0].get_text()


def test_bounds_are_drawn_with_their_errors(record):
    figure = drawn(plots.bounds(record))
    (axes,) = figure.axes
    (bars,) = axes.containers
    line, _, (segments,) = bars
    curve = record["estimates"][1]["curve"]
    assert line.get_xdata().tolist() == curve["particles"]
    assert line.get_ydata().tolist() == curve["bound"]
    lengths = [segment[1][1] - segment[0][1] for segment in segments.get_segments()]
    assert lengths == pytest.approx([2 * error for error in curve["error"]])
    assert axes.get_xscale() == "log"
    assert "nats per datum" in axes.get_ylabel()
    assert "EUBO (upper): −29.00 ± 0.40" in texts(figure)
    assert "PSIS (consistent) !: −30.1000 ± 0.0020" in texts(figure)


def test_a_bound_far_away_is_named_and_not_drawn(record):
    record["rows"][3]["nats"] = 500.0
    figure = drawn(plots.bounds(record))
    assert figure.axes[0].get_ylim()[1] < 0
    assert "EUBO (upper): 500.00 ± 0.40, above the picture" in texts(figure)


def test_k_hats_are_sorted_and_counted(record):
    figure = drawn(plots.khat(record))
    (axes,) = figure.axes
    assert axes.lines[0].get_ydata().tolist() == [0.2, 0.6, 0.71, 0.93]
    assert [line.get_ydata()[0] for line in axes.lines[-2:]] == [0.5, 0.7]
    assert texts(figure) == ["PSIS: 2 of 6 above 0.7, 2 not computable"]


def test_an_infinite_k_hat_is_drawn_at_the_edge(record):
    record["estimates"][2]["khat"] = [0.2, float("inf"), 7.0, 0.3, 0.3, 0.3]
    figure = drawn(plots.khat(record))
    assert figure.axes[0].lines[1].get_ydata().tolist() == [1.5, 1.5]
    assert figure.axes[0].get_ylim()[1] < 2
    assert texts(figure) == ["PSIS: 2 of 6 above 0.7"]


def test_the_overview_shows_place_direction_and_distrust(record):
    figure = drawn(plots.overview(record))
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["ELBO", "IWAE", "PSIS !", "EUBO", "quadrature"]
    markers = [container[0] for container in axes.containers]
    assert [marker.get_xdata()[0] for marker in markers] == [row["nats"] for row in record["rows"]]
    assert [marker.get_marker() for marker in markers] == [">", ">", "o", "<", "D"]
    assert [marker.get_markerfacecolor() == "white" for marker in markers] == [False, False, True, False, False]
    arrows = [text for text in axes.texts if hasattr(text, "xyann")]
    assert [np.sign(arrow.xyann[0]) for arrow in arrows] == [1, 1, -1]
    assert "−31.234 ± 0.021" in [text.get_text() for text in axes.texts]
    assert "nats per datum" in axes.get_xlabel()


def test_one_estimate_is_not_blown_up_to_its_error(record):
    record.update(rows=record["rows"][:1], estimates=record["estimates"][:1])
    low, high = plots.overview(record).axes[0].get_xlim()
    assert high - low >= 10 * 0.021


def test_an_estimator_keeps_its_colour(record):
    record["estimates"][2]["curve"] = record["estimates"][1]["curve"]
    overview, bounds, khat = plots.overview(record), plots.bounds(record), plots.khat(record)
    marks = [overview.axes[0].containers[2][0], bounds.axes[0].containers[1][0], khat.axes[0].lines[0]]
    seen = {mark.get_color() for mark in marks}
    assert len(seen) == 1


def test_drawing_leaves_no_trace(record):
    with matplotlib.rc_context({"axes.facecolor": "black", "lines.linewidth": 9}):
        before = dict(matplotlib.rcParams)
        pixels = png(plots.overview(record))
        assert dict(matplotlib.rcParams) == before
    assert pixels == png(plots.overview(record))
    assert plt.get_fignums() == []


EMPTY = {name: np.empty(0) for name in ("step", "loss", "validation", "beta")}


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda record: plots.training(EMPTY), "no rows"),
        (lambda record: plots.overview({**record, "rows": [], "estimates": []}), "no estimates"),
        (lambda record: plots.bounds({**record, "estimates": []}), "no estimate has a curve"),
        (lambda record: plots.khat({**record, "estimates": []}), "no estimate has a k-hat"),
        (lambda record: plots.samples(np.zeros((0, 1, 8, 8))), "nothing to draw"),
        (lambda record: plots.samples(np.zeros((2, 8, 8))), "C = 1 or 3"),
        (lambda record: plots.samples(np.zeros((2, 4, 8, 8))), "C = 1 or 3"),
        (lambda record: plots.samples([["a"]]), "not an array of numbers"),
        (lambda record: plots.traversal(np.zeros((2, 8))), "C = 1 or 3"),
        (lambda record: plots.reconstructions(np.zeros((2, 9)), np.zeros((2, 8))), "must be alike"),
    ],
)
def test_nothing_to_draw_is_refused(record, draw, message):
    with pytest.raises(DataError, match=message):
        draw(record)
