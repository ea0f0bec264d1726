"""The examples run as they stand, with small flags."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from wrong_guides import KINDS

from pyrogen.cli import main
from pyrogen.inference import Comparison

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(monkeypatch: pytest.MonkeyPatch, name: str, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", [name, *words])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def test_demo(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run(monkeypatch, "demo.py", "--epochs", "1", "--rows", "5", "--particles", "20", "--directory", "demo")
    assert "IS(20)" in capsys.readouterr().out
    assert Path("demo/report.html").is_file()
    drawn = {path.stem for path in Path("demo/pictures").iterdir()}
    assert drawn == {"bounds", "cost", "khat", "overview", "reconstructions", "samples", "training", "traversal"}
    before = Comparison.load("demo")["ELBO"]
    # The command line takes over: the same pair on the same data.
    assert main(["compare", "demo", "--estimators", "elbo"]) == 0
    after = Comparison.load("demo")["ELBO"]
    assert (len(before.log_prob), len(after.log_prob)) == (5, 180)
    error = (before.standard_error.square() + after.standard_error[:5].square()).sqrt()
    assert ((before.log_prob - after.log_prob[:5]).abs() < 5 * error).all()


def test_own_pair(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run(monkeypatch, "own_pair.py", "--epochs", "1", "--rows", "5", "--particles", "20")
    assert "IS(20)" in capsys.readouterr().out
    words = ["--data", "digits", "--binarize", "dynamic", "--epochs", "1", "--args.latent", "4"]
    assert main(["fit", f"{EXAMPLES / 'own_pair.py'}:MyVAE", *words]) == 0


@pytest.mark.parametrize("path", sorted((EXAMPLES / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_configurations(path: Path) -> None:
    assert main(["fit", "--config", str(path), "--epochs", "1", "--directory", "run"]) == 0
    assert main(["compare", "run", "--rows", "3", "--estimators", "elbo:draws=2"]) == 0


def test_mnist_vae(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--data", "digits", "--epochs", "1", "--rows", "5", "--particles", "20", "--directory", "mnist"]
    run(monkeypatch, "mnist_vae.py", *words)
    assert "plain IS(20)" in capsys.readouterr().out
    run(monkeypatch, "mnist_vae.py", *words, "--resume")
    small = ["--rows", "3", "--temperatures", "10", "--particles", "20", "--simulations", "2"]
    run(monkeypatch, "../benchmarks/mnist_evidence.py", "mnist", "--data", "digits", *small)
    out = capsys.readouterr().out
    assert "AIS(10) minus plain IS(20)" in out
    assert "bidirectional Monte Carlo: 2 simulated data" in out
    assert "approximation gap" in out
    assert Path("mnist/cost.png").is_file()


@pytest.mark.parametrize(
    ("script", "words", "said"),
    [
        (
            "ais.py",
            ["--data", "2", "--temperatures", "2", "--rounds", "1", "--modes", "the pair", "recorded graph"],
            "recorded graph",
        ),
        ("memory.py", ["--data", "2", "--particles", "2000"], "AIS(20) of 2 data"),
        ("check.py", ["--rounds", "1"], "findings: none"),
    ],
)
def test_small_benchmarks(
    script: str, words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES.parent / "benchmarks"))
    run(monkeypatch, f"../benchmarks/{script}", *words)
    assert said in capsys.readouterr().out


def test_pixelcnn(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--epochs", "1", "--rows", "5", "--features", "4", "--layers", "2", "--directory", "pixelcnn"]
    run(monkeypatch, "pixelcnn.py", *words)
    assert "exact" in capsys.readouterr().out
    drawn = {path.name for path in Path("pixelcnn/pictures").iterdir()}
    assert {"blind_spot.png", "completions.png", "generation.gif", "receptive.png", "samples.png"} <= drawn
    assert main(["compare", "pixelcnn"]) == 0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("own_loop.py", ["--steps", "3", "--particles", "20", "--compile", "graph"]),
        ("lightning_loop.py", ["--epochs", "1", "--rows", "5"]),
        ("accelerate_loop.py", ["--epochs", "1", "--rows", "5"]),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")  # of the loops
def test_loops_of_others(
    name: str, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, name, *words)
    assert "nats per datum" in capsys.readouterr().out


def test_pixelvae(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run(monkeypatch, "pixelvae.py", "--steps", "4", "--layers", "1", "--features", "4", "--latent", "3")
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [row.endswith("of 3") for row in rows] == [True, True, True]
    rates = [float(row.split(" ± ")[1].split()[1]) for row in rows]
    assert min(rates) >= 0


def test_coverage_benchmark(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run(
        monkeypatch,
        "../benchmarks/coverage.py",
        "--models",
        "4",
        "--wrong",
        "1",
        "--particles",
        "100",
        "--temperatures",
        "8",
    )
    out = capsys.readouterr().out
    assert "| ELBO, good " in out
    assert out.count("guide alone") == len(KINDS)


def test_transformer_sampling_benchmark() -> None:
    # In a process of its own, for it sets the number of threads.
    words = [sys.executable, str(EXAMPLES.parent / "benchmarks" / "sampling_transformer.py"), "--quick"]
    done = subprocess.run(words, env={**os.environ, "PYROGEN_BENCHMARK_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "0 of 72 pixels differ" in done.stdout
    assert "x computing the prefix anew" in done.stdout
