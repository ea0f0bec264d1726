"""What belongs to an earlier fit is not read beside a later one, whoever fits again and however."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from pyrogen.cli import main
from pyrogen.errors import DataError
from pyrogen.inference import (
    ELBO,
    Calibration,
    Comparison,
    Gaps,
    Posteriors,
    calibration,
    compare,
    fit,
    gaps,
    joint_evidence,
    load_checkpoint,
    posterior,
    restore,
    sandwich,
)
from pyrogen.models import GlobalGaussian, LinearGaussianVAE
from pyrogen.pair import Pair
from pyrogen.report import render
from pyrogen.report.runs import RESULTS, RunFiles
from pyrogen.run_directory import CHECKPOINT, checkpoint_fingerprint, fingerprint
from pyrogen.run_directory import RESULTS as PATTERNS

DATA = ["--data", "synthetic:linear-gaussian?n=200", "--device", "cpu", "--no-progress"]
FIT = ["fit", "linear-gaussian", *DATA, "--steps", "2"]
PAGE = ("report.html", "pictures/overview.png", "pictures/samples.png")


def results(directory: Path) -> set[str]:
    return {name for name in (*RESULTS, "comparison.nc", "posterior-0.nc", *PAGE) if (directory / name).exists()}


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run with all results, by the command line."""
    directory = tmp_path_factory.mktemp("runs") / "run"
    assert main([*FIT, "--directory", str(directory)]) == 0
    assert main(["compare", str(directory), "--rows", "5", "--estimators", "elbo:draws=8", "is:50:draws=20"]) == 0
    words = ["--rows", "3", "--simulations", "50", "--temperatures", "4", "--methods", "is:400:draws=100"]
    assert main(["examine", str(directory), *words, "--no-progress", "--device", "cpu"]) == 0
    assert results(directory) == {*RESULTS, "comparison.nc", "posterior-0.nc", *PAGE}
    return directory


@pytest.fixture
def run(complete: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return shutil.copytree(complete, tmp_path / "run")


@pytest.fixture
def other(run: Path) -> Path:
    """A copy whose checkpoint was replaced, by other parameters, past everything that looks after results."""
    state = load_checkpoint(run)
    for value in state["pair"].values():
        value.mul_(1.25)
    torch.save(state, run / CHECKPOINT)
    return run


def test_results_that_match_are_shown_without_a_word(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run)]) == 0
    assert "left out" not in capsys.readouterr().out
    found = RunFiles.read(run)
    assert found.notes == []
    assert found.record is not None
    assert set(found.looks) == {"sandwich", "gaps", "posteriors", "calibration"}
    assert found.usage
    assert found.arrays
    assert "Results and checkpoint" not in (run / "report.html").read_text()


def test_a_result_of_other_parameters_is_left_out_and_the_page_and_the_command_say_so(
    other: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(other)]) == 0
    said, page = capsys.readouterr().out, (other / "report.html").read_text()
    for name in RESULTS:
        sentence = f"{name} is left out: it was computed with other parameters than checkpoint.pt holds."
        assert sentence in said
        assert sentence in page
    found = RunFiles.read(other)
    assert (found.record, found.arrays, found.usage, found.looks) == (None, {}, [], {})
    assert {path.name for path in (other / "pictures").iterdir()} == {"training.png"}
    (other / "history.csv").unlink()
    with pytest.raises(DataError, match=r"comparison\.json is left out.*holds neither"):
        render(other)


def test_the_commands_that_compute_a_result_anew_say_which_others_are_left_out(
    other: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(other), "--rows", "5", "--estimators", "elbo:draws=8"]) == 0
    said = capsys.readouterr().out
    assert "gaps.json is left out" in said
    assert "comparison.json is left out" not in said
    assert (
        main(["examine", str(other), "--what", "sandwich", "--simulations", "3", "--temperatures", "4", "--no-progress"])
        == 0
    )
    said = capsys.readouterr().out
    assert "gaps.json is left out" in said
    assert "sandwich.json is left out" not in said
    assert set(RunFiles.read(other).looks) == {"sandwich"}


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_of_an_older_version_is_shown_with_a_word(run: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / name
    if path.suffix == ".npz":
        with np.load(path) as archive:
            arrays = {key: archive[key] for key in archive.files if key != "parameters"}
        np.savez(path, **arrays)
    else:
        found = json.loads(path.read_text())
        for record in found if isinstance(found, list) else [found]:
            del record["parameters"]
        path.write_text(json.dumps(found))
    before = RunFiles.read(run)
    assert main(["report", str(run)]) == 0
    assert f"{name}: nothing says with which parameters" in capsys.readouterr().out
    assert f"{name}: nothing says with which parameters" in (run / "report.html").read_text()
    assert len(before.looks) == 4
    assert before.record
    assert before.usage
    assert before.arrays


def test_results_without_a_checkpoint_that_could_be_read(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / CHECKPOINT).write_bytes(b"damaged")
    assert main(["report", str(run)]) == 0
    assert "checkpoint.pt cannot be read, so that nothing tells whether comparison.json" in capsys.readouterr().out
    (run / CHECKPOINT).unlink()
    assert main(["report", str(run)]) == 0
    assert "checkpoint.pt" not in capsys.readouterr().out


def test_a_run_that_is_overwritten_takes_its_results_along(run: Path) -> None:
    assert main([*FIT, "--seed", "1", "--directory", str(run), "--overwrite"]) == 0
    assert results(run) == {"pictures.npz"}  # the new run's
    assert RunFiles.read(run).notes == []


def test_a_run_resumed_by_the_command_line_forgets_what_was_said_of_it_before(run: Path) -> None:
    again = ["fit", "--config", str(run / "config.yaml"), "--directory", str(run), "--resume", "--no-progress"]
    assert main(again) == 0  # which has nothing left to do
    assert results(run) == {*RESULTS, "comparison.nc", "posterior-0.nc", *PAGE}
    assert main([*again, "--steps", "4"]) == 0
    assert results(run) == {"pictures.npz"}


def pair() -> LinearGaussianVAE:
    torch.manual_seed(0)
    return LinearGaussianVAE((3,), latent=1)


def all_results(fitted: Pair, x: torch.Tensor, directory: Path) -> None:
    compare(fitted, x, [ELBO(draws=4)], device="cpu").save(directory)
    sandwich(fitted, x, 5, temperatures=(2, 4), chains=2, device="cpu").save(directory)
    gaps(fitted, x, refine_steps=2, draws=10).save(directory)
    posterior(fitted, x, ["guide", "exact"], draws=20, permutations=9).save(directory)
    calibration(fitted, x, simulations=50, draws=9).save(directory)


SAVED = {
    "comparison.json",
    "comparison.nc",
    "sandwich.json",
    "gaps.json",
    "posteriors.json",
    "posterior-0.nc",
    "calibration.json",
}


@pytest.mark.parametrize("resume", [False, True])
def test_a_fit_from_python_leaves_no_earlier_result(tmp_path: Path, resume: bool) -> None:
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    options = {"batch_size": 10, "directory": tmp_path, "device": "cpu", "progress": False}
    run = fit(pair(), x, steps=2, **options)
    assert fingerprint(run.pair.state_dict()) == checkpoint_fingerprint(tmp_path)
    all_results(run.pair, x, tmp_path)
    render(tmp_path)
    assert results(tmp_path) == {*SAVED, "report.html", "pictures/overview.png"}
    assert RunFiles.read(tmp_path).notes == []
    loaded = [kind.load(tmp_path).parameters for kind in (Comparison, Gaps, Posteriors, Calibration)]
    assert loaded == [checkpoint_fingerprint(tmp_path)] * 4
    if resume:
        fit(pair(), x, steps=2, **options, resume=True)
        assert results(tmp_path) == {*SAVED, "report.html", "pictures/overview.png"}
    fit(pair(), x, steps=4, **options, resume=resume)
    assert results(tmp_path) == set()


def test_a_fit_that_begins_anew_and_fails_leaves_no_checkpoint_beside_its_configuration(tmp_path: Path) -> None:
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    options = {"batch_size": 10, "directory": tmp_path, "device": "cpu", "progress": False}
    run = fit(pair(), x, steps=2, **options)
    all_results(run.pair, x, tmp_path)

    def broken(step: int) -> float:
        raise RuntimeError("no such step")

    with pytest.raises(RuntimeError, match="no such step"):
        fit(pair(), x, steps=4, **options, beta=broken)
    assert not (tmp_path / CHECKPOINT).exists()
    assert results(tmp_path) == set()


def test_results_belong_to_the_best_parameters_where_a_run_has_such(tmp_path: Path) -> None:
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    options = {
        "batch_size": 10,
        "directory": tmp_path,
        "device": "cpu",
        "progress": False,
        "lr": 0.5,
        "validation": x,
        "patience": 3,
    }
    run = fit(pair(), x, epochs=30, **options)
    state = load_checkpoint(tmp_path)
    assert run.stopped_early
    assert fingerprint(state["pair"]) != fingerprint(state["best"]["pair"])
    assert fingerprint(run.pair.state_dict()) == checkpoint_fingerprint(tmp_path)
    all_results(restore(pair(), tmp_path, x), x, tmp_path)
    render(tmp_path)
    assert RunFiles.read(tmp_path).notes == []
    # More epochs that find nothing better: the results stay, and the page, which shows the history, goes.
    fit(pair(), x, epochs=30, **{**options, "patience": 4}, resume=True)
    assert load_checkpoint(tmp_path)["step"] > state["step"]
    assert results(tmp_path) == SAVED


def test_what_the_report_reads_and_what_is_saved_is_known_as_a_result(tmp_path: Path) -> None:
    assert set(RESULTS) <= set(PATTERNS)
    torch.manual_seed(0)
    found = joint_evidence(GlobalGaussian((1,)), torch.zeros(3, 1), draws=20, warmup=20, chains=2)
    found.save(tmp_path)
    assert found.load(tmp_path).parameters == found.parameters is not None
    assert {path.name for path in tmp_path.iterdir()} <= set(PATTERNS)
