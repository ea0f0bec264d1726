"""Pictures of autoregressive models and of the use of latents: they show what they are given, and refuse the rest."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from pyrogen.errors import DataError
from pyrogen.report import generation, load_usage, plots
from pyrogen.report.style import png
from pyrogen.report.units import latents_in_words

GENERATOR = np.random.default_rng(0)
RASTER = np.arange(20).reshape(4, 5)
USED = {"site": "z", "rates": [0.0, 2.5, 0.3], "error": 0.1, "variances": [0.001, 0.8, 0.2]}


@pytest.mark.parametrize("shape", [(1, 4, 5), (3, 4, 5), (9,)])
@pytest.mark.parametrize("count", [1, 3])
def test_completions_are_drawn_for_images_and_vectors(shape, count):
    data, known = GENERATOR.random((2, *shape)), GENERATOR.random(shape).round()
    figure = plots.completions(data, known, GENERATOR.random((2, count, *shape)))
    assert png(figure).startswith(b"\x89PNG")


def test_what_was_not_given_is_grey_and_the_datum_comes_last():
    data, known = np.ones((1, 1, 4, 4)), np.zeros((1, 4, 4))
    known[:, :2] = 1
    figure = plots.completions(data, known, np.zeros((1, 2, 1, 4, 4)))
    picture = figure.axes[0].images[0].get_array()
    height, width = picture.shape[:2]
    side = height  # one row of square images
    assert picture[height // 4, side // 2].tolist() == [1, 1, 1]  # given
    assert picture[3 * height // 4, side // 2].tolist() == [0.5, 0.5, 0.5]  # not given
    assert picture[height // 2, width // 2 - side // 2].tolist() == [0, 0, 0]  # completed
    assert picture[3 * height // 4, -1].tolist() == [1, 1, 1]  # the datum


def test_a_receptive_field_names_what_it_is_blind_to():
    field = (RASTER < 12).astype(float)
    legend = plots.receptive_field([field], RASTER, [(2, 2)]).legends[0]
    assert not any("blind" in text.get_text() for text in legend.get_texts())
    field[0, 4] = 0
    figure = plots.receptive_field([field, field], RASTER, [(2, 2), (2, 2)], ["one", "other"])
    assert any("blind" in text.get_text() for text in figure.legends[0].get_texts())
    assert [axes.get_title("left") for axes in figure.axes[:2]] == ["one", "other"]
    blind = figure.axes[0].images[1].get_array()
    assert np.argwhere(~np.ma.getmaskarray(blind)).tolist() == [[0, 4]]
    assert png(figure)


def test_pixels_appear_in_their_order():
    samples = np.zeros((2, 1, 4, 5))
    samples[:, :, 1, 2] = 1
    film = Image.open(io.BytesIO(generation(samples, RASTER)))
    assert film.n_frames == 21  # each step, and the finished images
    assert film.info["loop"] == 0

    def pixel(frame, row, column):
        film.seek(frame)
        zoom = (film.size[1] - 12) // 4
        place = (6 + column * zoom + zoom // 2, 6 + row * zoom + zoom // 2)
        return np.array(film.convert("RGB").getpixel(place), float) / 255

    for row, column in [(0, 0), (1, 2), (3, 4)]:
        step = RASTER[row, column]
        value = samples[0, 0, row, column]
        if step:
            assert np.abs(pixel(step - 1, row, column) - [0.80, 0.84, 0.90]).max() < 0.05  # to come
        assert np.abs(pixel(step, row, column) - (0.5 * value + 0.5 * np.array([0.84, 0.37, 0]))).max() < 0.05  # new
        assert np.abs(pixel(min(step + 1, 20), row, column) - value).max() < 0.05


def test_a_film_has_no_more_frames_than_asked_for_and_ends_finished():
    samples = GENERATOR.random((30, 3, 28, 28)).round()
    film = Image.open(io.BytesIO(generation(samples, np.arange(784).reshape(28, 28), limit=4, frames=10)))
    assert film.n_frames == 11
    diagonal = np.add.outer(np.arange(4), np.arange(5))
    assert Image.open(io.BytesIO(generation(np.zeros((1, 1, 4, 5)), diagonal))).n_frames == 9


def test_units_are_sorted_and_the_inactive_ones_grey():
    figure = plots.latents([USED, {**USED, "site": "w", "variances": None}])
    first, second = figure.axes
    assert [bar.get_height() for bar in first.patches] == [2.5, 0.3, 0.0]
    colours = [bar.get_facecolor() for bar in first.patches]
    assert colours[0] == colours[1] != colours[2]
    assert {bar.get_facecolor() for bar in second.patches} == {colours[2]}
    assert first.get_title("left") == "z: rate 2.80 ± 0.10 nats, 2 of 3 units active"
    assert latents_in_words([USED]).endswith("2 of 3 units active.")


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda: plots.completions(np.zeros((2, 9)), np.zeros(8), np.zeros((2, 3, 9))), "don't fit"),
        (lambda: plots.completions(np.zeros((2, 9)), np.zeros(9), np.zeros((1, 3, 9))), "don't fit"),
        (lambda: plots.receptive_field(np.zeros((4, 5)), RASTER, [(0, 0)]), r"\(m, H, W\)"),
        (lambda: plots.receptive_field(np.zeros((2, 4, 5)), RASTER, [(0, 0)]), r"\(m, 2\)"),
        (lambda: plots.receptive_field(np.zeros((1, 4, 5)), RASTER.T, [(0, 0)]), "order"),
        (lambda: plots.receptive_field(np.zeros((1, 4, 5)), RASTER, [(9, 0)]), "outside"),
        (lambda: generation(np.zeros((2, 9)), RASTER), r"\(m, C, H, W\)"),
        (lambda: generation(np.zeros((2, 1, 5, 4)), RASTER), r"\(H, W\)"),
        (lambda: plots.latents([]), "no latents"),
    ],
)
def test_what_does_not_fit_is_refused(draw, said):
    with pytest.raises(DataError, match=said):
        draw()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "7",
        "[7]",
        "[{}]",
        '[{"site": "z", "rates": ["a"], "error": 0, "variances": null}]',
        "[" * 5000,
        json.dumps([{**USED, "rates": []}]),
    ],
)
def test_a_damaged_usage_is_refused(text, tmp_path):
    (tmp_path / "usage.json").write_text(text)
    with pytest.raises(DataError, match=r"usage\.json"):
        load_usage(tmp_path)


def test_usage_comes_back(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        load_usage(tmp_path)
    (tmp_path / "usage.json").write_text(json.dumps([{**USED, "site": "a\nb"}]))
    assert load_usage(tmp_path) == [{**USED, "site": "a b"}]
