"""Fully visible pairs and the PixelVAE in every command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pyrogen.cli import main
from pyrogen.inference import Comparison
from pyrogen.report import load_pictures

FIT = ["--data", "digits", "--binarize", "dynamic", "--device", "cpu", "--no-progress", "--steps", "2"]
SMALL = {
    "made": ["--args.hidden=[8]"],
    "pixelcnn": ["--args.features=4", "--args.layers=2"],
    "pixelrnn": ["--args.hidden=2", "--args.layers=1", "--args.recurrence=row"],
    "wavenet": ["--args.features=4", "--args.layers=2"],
    "transformer": ["--args.width=8", "--args.layers=1", "--args.heads=2"],
}


@pytest.mark.parametrize("name", SMALL)
def test_a_fully_visible_pair_in_every_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", name, *FIT, *SMALL[name], "--directory", "run"]) == 0
    assert "no " not in capsys.readouterr().out.replace("no validation data", "")  # no picture is missing
    arrays = load_pictures("run")
    assert {key: value.shape for key, value in arrays.items()} == {
        "samples": (64, 1, 8, 8),
        "completed": (6, 1, 8, 8),
        "known": (1, 8, 8),
        "completions": (6, 8, 1, 8, 8),
        "order": (8, 8),
        "receptive": (3, 8, 8),
        "receptive_at": (3, 2),
    }
    assert np.isin(arrays["samples"], (0, 1)).all()
    given = arrays["known"] > 0
    assert (arrays["completions"][:, :, given] == arrays["completed"][:, None, given]).all()
    assert arrays["completions"].std(1).max() > 0
    assert arrays["order"].flatten().tolist() == list(range(64))
    assert (arrays["receptive"][arrays["order"][None] >= [[[36.0]], [[39.0]], [[60.0]]]] == 0).all()

    assert main(["compare", "run", "--rows", "5", "--no-progress"]) == 0
    assert "exact" in capsys.readouterr().out
    [estimate] = Comparison.load("run").estimates
    assert (estimate.kind, len(estimate.log_prob)) == ("exact", 5)
    assert not Path("run/usage.json").exists()
    drawn = {path.name for path in Path("run/pictures").iterdir()}
    assert {"completions.png", "generation.gif", "receptive.png", "samples.png"} <= drawn
    assert main(["sample", "run", "--count", "3", "--out", "samples.npy"]) == 0
    assert np.isin(np.load("samples.npy"), (0, 1)).all()


def test_a_mean_is_asked_for_in_vain(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "made", *FIT, "--args.hidden=[8]", "--directory", "run"]) == 0
    assert main(["sample", "run", "--mean"]) == 2
    assert "has no mean" in capsys.readouterr().err


def test_a_pixelvae_reports_its_rate(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--args.latent=3", "--args.hidden=[8]", "--args.features=4", "--args.layers=2", "--warmup=2"]
    assert main(["fit", "pixelvae", *FIT, *words, "--objective", "elbo:free_bits=0.5", "--directory", "run"]) == 0
    assert load_pictures("run").keys() == {"inputs", "reconstructions", "samples"}
    assert main(["compare", "run", "--rows", "9", "--estimators", "elbo:draws=2"]) == 0
    out = capsys.readouterr().out
    assert "latent 'z': rate " in out
    assert "of 3 units active" in out
    [used] = json.loads(Path("run/usage.json").read_text())
    assert len(used["rates"]) == len(used["variances"]) == 3
    assert Path("run/pictures/latents.png").is_file()
    assert "Are the latents used?" in Path("run/report.html").read_text()
    assert main(["sample", "run", "--count", "2", "--out", "samples.npy"]) == 0
    # Other parameters, other usage: a run that is fitted anew has none until it is compared again.
    assert main(["fit", "pixelvae", *FIT, *words, "--overwrite", "--directory", "run"]) == 0
    assert not Path("run/usage.json").exists()


def test_an_image_model_refuses_vectors(capsys: pytest.CaptureFixture[str]) -> None:
    np.save("rows.npy", np.random.default_rng(0).random((50, 7)).round())
    assert main(["fit", "pixelcnn", "--data", "rows.npy", "--steps", "1"]) == 2
    assert "a PixelCNN needs the shape" in capsys.readouterr().err
    assert main(["fit", "wavenet", "--data", "rows.npy", "--steps", "1", *SMALL["wavenet"], "--directory", "run"]) == 0
    assert load_pictures("run").keys() == {"samples", "completed", "known", "completions"}
    assert main(["report", "run"]) == 0
