"""`pyrogen examine`: brackets, gaps, posteriors and calibration of a run, in words, in files and on its page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pyrogen.cli import main

SMALL = ["--rows", "3", "--simulations", "50", "--temperatures", "3", "6", "--methods", "is:100:draws=50", "--no-progress"]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("examined") / "run"
    words = ["--data", "digits", "--steps", "2", "--directory", str(path), "--no-progress", "--args.latent", "2"]
    assert main(["fit", "linear-gaussian", *words]) == 0
    return path


def test_all_looks_are_printed_saved_and_on_the_page(fitted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["examine", str(fitted), *SMALL]) == 0
    out = capsys.readouterr().out
    assert "bidirectional Monte Carlo: 50 simulated data" in out
    assert "amortization gap" in out
    assert "Posteriors of 3 data against exact" in out
    assert "Calibration of guide: 50 simulated data" in out
    page = (fitted / "report.html").read_text()
    for name, heading in (
        ("sandwich", "How exact is annealing"),
        ("gaps", "Whose fault is the gap?"),
        ("posteriors", "Do the methods find the same posterior?"),
        ("calibration", "Is the guide calibrated?"),
    ):
        assert json.loads((fitted / f"{name}.json").read_text())["version"] == 1
        assert heading in page
        assert (fitted / "pictures" / f"{name}.png").stat().st_size > 1000
    assert len(json.loads((fitted / "sandwich.json").read_text())["brackets"]) == 2


def test_one_look_alone(fitted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["examine", str(fitted), "--what", "gaps", "--evidence", "ais:5:chains=4", *SMALL]) == 0
    out = capsys.readouterr().out
    assert "Evidence: AIS(5) (consistent)" in out
    assert "bidirectional" not in out


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--rows", "0"], "--rows must be at least 1"),
        (["--what", "everything"], "everything"),
        (["--what", "posterior", "--methods", "elbo"], "ELBO"),
        (["--what", "gaps", "--evidence", "ais:0"], "temperatures must be at least 1"),
    ],
)
def test_bad_inputs(fitted: Path, words: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["examine", str(fitted), *words]) == 2
    error = capsys.readouterr().err
    assert problem in error
    assert error.count("\n") == 1


def test_a_damaged_look_is_named(fitted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = fitted / "sandwich.json"
    before = path.read_text() if path.exists() else None
    path.write_text("{")
    assert main(["report", str(fitted)]) == 2
    assert "sandwich.json is not valid JSON" in capsys.readouterr().err
    path.write_text(before) if before else path.unlink()


def test_new_estimators_by_name(fitted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    specs = [
        "elbo:draws=5",
        "ais:5:chains=4:initial=guide:schedule=adaptive",
        "smc:8:islands=2",
        "cubo:2:50",
        "eubo:20",
        "exact",
    ]
    assert main(["compare", str(fitted), "--rows", "2", "--no-progress", "--estimators", *specs]) == 0
    out = capsys.readouterr().out
    assert "AIS(5) from the guide" in out
    assert "∇: evaluations with the gradient of each" in out
    assert 'href="#cost"' in (fitted / "report.html").read_text()
