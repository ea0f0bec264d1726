"""What a run's pair makes of data, as commands, and runs that a script wrote."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from pyrogen.cli import main
from pyrogen.data import load
from pyrogen.inference import Run, fit
from pyrogen.models import VAE, LinearGaussianVAE


@pytest.mark.parametrize(
    ("words", "shape"),
    [
        (["reconstruct", "--rows", "5"], (5, 1, 8, 8)),
        (["interpolate", "--rows", "4", "--steps", "3", "--path", "spherical"], (3, 3, 1, 8, 8)),
        (["sample", "--count", "6"], (6, 1, 8, 8)),
    ],
)
def test_arrays_and_pictures(words: list[str], shape: tuple[int, ...], fitted: Path) -> None:
    command, *options = words
    assert main([command, str(fitted), *options, "--out", "new/a.npy", "--seed", "1"]) == 0
    values = np.load("new/a.npy")
    assert values.shape == shape
    assert main([command, str(fitted), *options, "--out", "b.npy", "--seed", "1"]) == 0
    np.testing.assert_array_equal(values, np.load("b.npy"))
    assert main([command, str(fitted), *options, "--out", "c.png"]) == 0
    assert np.asarray(Image.open("c.png")).std() > 0


def test_codes_and_log_prob_are_those_of_the_library(fitted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, test = Run.load(fitted), load("digits", binarize="dynamic").test
    assert main(["encode", str(fitted)]) == 0
    assert "z of shape (180, 3): codes.npz" in capsys.readouterr().out
    np.testing.assert_allclose(np.load("codes.npz")["z"], run.encode(test)["z"].numpy(), rtol=1e-6)
    assert main(["encode", str(fitted), "--draws", "2", "--rows", "4"]) == 0
    assert np.load("codes.npz")["z"].shape == (2, 4, 3)
    assert main(["log-prob", str(fitted), "--rows", "5", "--estimator", "is:50", "--seed", "2"]) == 0
    assert "IS(50), -" in capsys.readouterr().out
    with Path("log_prob.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["datum", "log_prob", "standard_error", "khat", "ess"]
    assert [row["datum"] for row in rows] == list("01234")
    from pyrogen.inference import ImportanceSampling

    found = run.log_prob(test[[0, 36, 72, 108, 144]], ImportanceSampling(50), seed=2)
    np.testing.assert_allclose([float(row["log_prob"]) for row in rows], found.log_prob.numpy(), rtol=1e-6)


def test_labels_stand_beside_log_prob(own: Path) -> None:
    words = [
        "--data",
        "digits",
        "--binarize",
        "threshold",
        "--labels",
        "--steps",
        "2",
        "--no-progress",
        "--directory",
        "run",
    ]
    assert main(["fit", f"{own}:labelled", *words]) == 0
    assert main(["log-prob", "run", "--rows", "3", "--estimator", "exact"]) == 2
    assert main(["log-prob", "run", "--rows", "3"]) == 0
    labels = load("digits", labels=True).test[[0, 60, 120]].labels
    assert labels is not None
    with Path("log_prob.csv").open() as file:
        assert [int(row["label"]) for row in csv.DictReader(file)] == labels.tolist()


def test_a_run_of_a_script_is_compared_from_the_shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32))
    data = load("x.npy", validation=0.0, test=0.25, seed=3)
    pair = LinearGaussianVAE(data.shape, latent=2)
    fit(pair, data.train, steps=3, directory="script", device="cpu", progress=False, config={"note": {"of": "mine"}})
    config = yaml.safe_load(Path("script/config.yaml").read_text())
    assert config["data"] == str(tmp_path / "x.npy")
    assert (config["data_seed"], config["test"], config["note"]) == (3, 0.25, {"of": "mine"})
    (tmp_path / "elsewhere").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path / "elsewhere")
        assert main(["compare", "../script", "--estimators", "exact", "--no-progress"]) == 0
        assert "x/test: 15 data" in capsys.readouterr().out
        assert main(["log-prob", "../script"]) == 0
    with (tmp_path / "elsewhere" / "log_prob.csv").open() as file:
        rows = [float(row["log_prob"]) for row in csv.DictReader(file)]
    expected = pair.log_evidence(data.test.fixed()).detach()
    torch.testing.assert_close(torch.tensor(rows), expected, rtol=1e-6, atol=0.0)


def test_a_pair_that_cannot_be_built_again_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    data = load("digits", binarize="threshold")
    pair = VAE(data.shape, latent=2, hidden=(4,), activation=lambda: torch.nn.ELU())
    fit(pair, data.train, steps=1, directory="script", device="cpu", progress=False)
    assert main(["sample", "script"]) == 2
    error = capsys.readouterr().err
    assert "activation is <lambda>, which no module holds under its name" in error
    assert "Run.load('script', pair=VAE(...))" in error


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["encode", "{run}", "--out", "a.npy"], "name a file that ends in .npz"),
        (["interpolate", "{run}", "--rows", "1"], "--rows 2 or more"),
        (["interpolate", "{run}", "--steps", "1"], "there are 1 steps"),
        (["log-prob", "{run}", "--out", "a.txt"], "ends in .csv"),
    ],
)
def test_bad_words(words: list[str], said: str, fitted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word.format(run=fitted) for word in words]) == 2
    assert said in capsys.readouterr().err
