"""The commands do what they say, one after another on one run directory."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from pyrogen.checks import PairWarning
from pyrogen.cli import main
from pyrogen.inference import Comparison, load_checkpoint
from pyrogen.report import load_history, load_pictures

FIT = ["--data", "digits", "--binarize", "dynamic", "--device", "cpu", "--no-progress"]
TINY = [*FIT, "--args.latent", "2", "--args.hidden=[8]"]
ESTIMATORS = ["elbo:draws=8", "iwae:5:draws=8", "is:50"]


def parameters(directory: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(directory)["pair"]


def test_fit_writes_a_run_that_says_how_it_was_made(fitted: Path) -> None:
    config = yaml.safe_load((fitted / "config.yaml").read_text())
    assert config["pair"] == "vae"
    assert config["args"] == {"latent": 3, "hidden": [16]}
    assert (config["data"], config["binarize"]) == ("digits", "dynamic")
    assert config["fit"]["steps"] == 24
    assert load_history(fitted)["step"][-1] == 24
    assert np.isfinite(load_history(fitted)["validation"]).sum() == 2
    assert {name: array.shape for name, array in load_pictures(fitted).items()} == {
        "inputs": (20, 1, 8, 8),
        "reconstructions": (20, 1, 8, 8),
        "samples": (64, 1, 8, 8),
        "traversal": (3, 9, 1, 8, 8),
    }


def test_fit_obeys_its_options(tmp_path: Path) -> None:
    options = {
        "steps": 3,
        "batch_size": 100,
        "lr": 0.5,
        "optimizer": "SGD:momentum=0.5",
        "scheduler": "StepLR:step_size=2:gamma=0.1",
        "clip": 2.0,
        "beta": 0.5,
        "warmup": 2,
        "objective": "elbo:3",
        "gradient": "sticking-the-landing",
        "log_every": 1,
        "validation": 0.0,
        "tensorboard": "true",
    }
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if name != "tensorboard"]
    assert main(["fit", "vae", *TINY, *words, "--tensorboard", "--directory", "run"]) == 0
    saved = yaml.safe_load(Path("run/config.yaml").read_text())["fit"]
    assert saved["rows"] == 1617
    assert (saved["optimizer"], saved["lr"], saved["scheduler"]) == ("SGD", 0.5, "StepLR")
    assert (saved["objective"], saved["gradient"], saved["clip"]) == ("ELBO(3)", "sticking-the-landing", 2.0)
    assert load_checkpoint("run")["phases"]["loss"]["optimizer"]["param_groups"][0]["momentum"] == 0.5
    assert load_checkpoint("run")["phases"]["loss"]["optimizer"]["param_groups"][0]["lr"] == pytest.approx(0.05)
    assert load_history("run")["beta"].tolist() == [0.0, 0.25, 0.5]
    assert list(Path("run/tensorboard").iterdir())


def test_patience_goes_back_to_the_best_parameters_and_says_their_validation(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--optimizer", "Adam:lr=0.2", "--epochs", "50", "--patience", "1", "--directory", "run"]
    assert main(["fit", "vae", *TINY, *words]) == 0
    out = capsys.readouterr().out
    best = load_history("run")["validation"]
    assert "stopped early" in out
    assert f"validation ELBO {np.nanmax(best):.2f} nats" in out
    assert np.nanmax(best) > best[np.isfinite(best)][-1]


def test_seeds_decide_on_everything() -> None:
    for directory, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert main(["fit", "vae", *TINY, "--steps", "2", "--seed", str(seed), "--directory", directory]) == 0
    a, b, c = (parameters(Path(directory)) for directory in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not any(torch.equal(a[name], c[name]) for name in a if name.endswith("weight"))


def test_a_run_without_a_directory_is_named_for_its_pair_and_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "vae", *TINY, "--steps", "1"]) == 0
    assert Path("runs/vae-digits/checkpoint.pt").is_file()
    assert "runs/vae-digits" in capsys.readouterr().out


def test_training_has_a_length_and_grey_pixels_are_said(monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("pyrogen.inference.training.fitting.DEFAULT_STEPS", 5)
    with pytest.warns(PairWarning, match="PG205 .* compare refuses"):
        assert main(["fit", "vae", "--data", "digits", "--device", "cpu", "--no-progress", "--args.hidden=[8]"]) == 0
    printed = capsys.readouterr().out
    assert "training for 5 steps, as neither --epochs nor --steps says how long" in printed
    assert "fitted in 5 steps" in printed
    assert main(["compare", "runs/vae-digits", "--estimators", "elbo"]) == 2
    assert "Binarize the data" in capsys.readouterr().err


def test_compare_prints_saves_and_reports(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(run), "--rows", "9", "--estimators", *ESTIMATORS, "--no-progress"]) == 0
    out = capsys.readouterr().out
    assert "digits/test: 9 data of 64 dimensions, binarization: dynamic" in out
    assert "nats below the evidence that IS(" in out
    assert str(run / "report.html") in out
    assert [estimate.name for estimate in Comparison.load(run).estimates] == ["ELBO", "IWAE(5)", "IS(50)"]
    assert "ELBO" in (run / "report.html").read_text()
    assert (run / "pictures" / "samples.png").is_file()


def test_compare_estimates_with_the_fitted_parameters(run: Path) -> None:
    words = ["compare", str(run), "--rows", "50", "--estimators", "elbo:draws=8"]
    assert main(words) == 0
    fitted = Comparison.load(run)["ELBO"].log_prob
    checkpoint = torch.load(run / "checkpoint.pt", weights_only=True)
    for value in checkpoint["pair"].values():
        value.mul_(3.0)
    torch.save(checkpoint, run / "checkpoint.pt")
    assert main(words) == 0
    assert fitted.mean() > Comparison.load(run)["ELBO"].log_prob.mean() + 1.0


def test_compare_draws_by_its_seed(run: Path) -> None:
    found = []
    for seed in ("0", "0", "1"):
        assert main(["compare", str(run), "--rows", "3", "--estimators", "iwae:2:draws=2", "--seed", seed]) == 0
        found.append(Comparison.load(run)["IWAE(2)"].log_prob)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_compare_adds_the_closed_form_where_there_is_one(tmp_path: Path) -> None:
    words = ["--data", "synthetic:linear-gaussian?n=200", "--no-progress", "--device", "cpu"]
    assert main(["fit", "linear-gaussian", *words, "--steps", "2", "--directory", "run"]) == 0
    assert main(["compare", "run", "--rows", "3", "--split", "validation"]) == 0
    comparison = Comparison.load("run")
    assert [estimate.name for estimate in comparison.estimates] == ["ELBO", "IWAE(50)", "IS(5000)", "Exact"]
    assert comparison.data["name"].endswith("/validation")


def test_compare_takes_an_estimator_from_a_file(run: Path, own: Path) -> None:
    assert main(["compare", str(run), "--rows", "3", "--estimators", f"{own}:Twice:5", "elbo:draws=2"]) == 0
    assert [estimate.name for estimate in Comparison.load(run).estimates] == ["Twice(5)", "ELBO"]
    assert Comparison.load(run)["Twice(5)"].evaluations == 30


def test_sample_writes_pictures_and_arrays(run: Path) -> None:
    assert main(["sample", str(run), "--count", "5", "--out", "some/samples.npy"]) == 0
    means = np.load("some/samples.npy")
    assert means.shape == (5, 1, 8, 8)
    assert ((means > 0) & (means < 1)).all()
    assert main(["sample", str(run), "--count", "5", "--out", "draws.npy", "--no-mean"]) == 0
    assert set(np.unique(np.load("draws.npy"))) == {0.0, 1.0}
    assert main(["sample", str(run), "--count", "5", "--out", "again.npy"]) == 0
    assert (np.load("again.npy") == means).all()
    assert main(["sample", str(run), "--count", "5", "--out", "other.npy", "--seed", "1"]) == 0
    assert (np.load("other.npy") != means).any()
    assert main(["sample", str(run), "--count", "121", "--out", "samples.png"]) == 0
    with Image.open("samples.png") as image:
        assert min(image.size) > 11 * 8


def test_report_needs_no_pair(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "checkpoint.pt").unlink()
    assert main(["report", str(run)]) == 0
    assert (run / "report.html").is_file()
    assert str(run / "report.html") in capsys.readouterr().out


def test_resume_goes_on_as_if_the_run_had_not_stopped() -> None:
    whole = ["fit", "vae", *TINY, "--epochs", "3", "--directory", "whole"]
    assert main(whole) == 0
    assert main(["fit", "vae", *TINY, "--epochs", "1", "--directory", "parts"]) == 0
    assert main(["fit", "--config", "parts/config.yaml", "--resume", "--epochs", "3"]) == 0
    assert load_checkpoint("parts")["step"] == 36
    assert main(["fit", "--config", "parts/config.yaml"]) == 2  # what was asked for once is not asked for again
    a, b = parameters(Path("whole")), parameters(Path("parts"))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_is_not_overwritten_unasked(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["fit", "vae", *TINY, "--steps", "1", "--directory", str(run)]
    before = parameters(run)
    assert main(words) == 2
    assert "--resume" in capsys.readouterr().err
    assert before.keys() == parameters(run).keys()
    assert main([*words, "--overwrite"]) == 0
    assert load_checkpoint(run)["step"] == 1
    # A run that fails before its first checkpoint leaves none of the run before, which its config.yaml would not fit.
    assert main([*words, "--overwrite", "--objective", "iwae:5", "--warmup", "3"]) == 2
    assert not (run / "checkpoint.pt").exists()


def test_results_of_parameters_that_are_no_more_are_removed(run: Path) -> None:
    assert main(["compare", str(run), "--rows", "3", "--estimators", "elbo:draws=2"]) == 0
    again = ["fit", "--config", str(run / "config.yaml"), "--directory", str(run), "--resume", "--no-progress"]
    assert main(again) == 0  # which has nothing left to do
    assert (run / "comparison.json").is_file()
    assert main([*again, "--epochs", "3"]) == 0
    assert not (run / "comparison.json").exists()
    assert not (run / "report.html").exists()
    assert (run / "pictures.npz").is_file()


def test_ctrl_c_says_how_to_go_on(tmp_path: Path, own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "stops.py"
    path.write_text(
        "import signal, pathlib\n"
        f"{own.read_text()}\n"
        "class Stops(Own):\n"
        "    runs = 0\n"
        "    def guide(self, x):\n"
        "        Stops.runs += self.training\n"
        "        if Stops.runs == 10 and not pathlib.Path('run/checkpoint.pt').exists():\n"
        "            signal.raise_signal(signal.SIGINT)\n"
        "        super().guide(x)\n"
    )
    handler = signal.getsignal(signal.SIGINT)
    assert main(["fit", f"{path}:Stops", *FIT, "--epochs", "2", "--directory", "run"]) == 130
    said = capsys.readouterr().err
    assert "pyrogen fit --config run/config.yaml --resume" in said
    step = load_checkpoint("run")["step"]
    assert f"stopped after step {step}; the checkpoint is written" in said
    assert 0 < step < 24
    assert signal.getsignal(signal.SIGINT) is handler
    assert main(["fit", "--config", "run/config.yaml", "--resume"]) == 0
    assert load_checkpoint("run")["step"] == 24


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (["digits"], ["(1, 8, 8), 64 values", "1,455 train, 162 validation, 180 test", "none", "0 to 1", "not known"]),
        (["digits", "--labels", "--validation=0"], ["10 classes, 0 to 9", "1,617 train, 0 validation"]),
        (["digits", "--binarize", "static"], ["static", "100.0% of them 0 or 1"]),
        (["digits", "--scale", "8"], ["0 to 2"]),
        (["synthetic:rings?n=100", "--test", "0.5"], ["known: Rings", "50 test"]),
    ],
)
def test_data_describes(words: list[str], fragments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", *words]) == 0
    out = capsys.readouterr().out
    assert [fragment for fragment in fragments if fragment not in out] == []


def test_data_are_split_by_their_seed(capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for seed in ("0", "0", "1"):
        assert main(["data", "digits", "--data-seed", seed]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] != said[2]


def test_models_lists_the_zoo_and_describes_a_pair(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pyrogen.models import ENCODERS, LIKELIHOODS, PRIORS, ZOO

    assert main(["models"]) == 0
    out = capsys.readouterr().out
    assert [name for name in ZOO if f"{name} " not in out] == []
    assert "--args.latent: int = 20" in out
    parts = {"prior": PRIORS, "encoder": ENCODERS, "likelihood": LIKELIHOODS}
    rows = [line.split()[:2] for line in out.splitlines()]
    assert [(what, name) for what, names in parts.items() for name in names if [what, name] not in rows] == []
    assert "components: int = 10" in out
    assert main(["models", "vae"]) == 0
    assert "number of latent dimensions" in capsys.readouterr().out
    assert main(["models", f"{own}:Own"]) == 0
    assert capsys.readouterr().out == "Own(shape: tuple[int, ...], latent: int = 2)\n\nIt has no documentation.\n"
