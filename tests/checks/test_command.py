"""``pyrogen check``."""

from __future__ import annotations

import json
import shutil

import pytest
import right_pairs as right

from pyrogen.checks.examples import PRELUDE
from pyrogen.cli import main

OWN = PRELUDE + right.VAE.replace("6", "64").partition("pair, batch")[0].replace("class VAE", "class Own")


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "wrong.py").write_text(OWN.replace("x.new_zeros(2)", "torch.zeros(2)"))


DIGITS = ["--data", "digits", "--binarize", "dynamic"]


@pytest.mark.parametrize("pair", ["own.py:Own", "vae --args.latent 2 --args.hidden=[8]"])
def test_a_right_pair(pair, capsys):
    assert main(["check", *pair.split(), *DIGITS]) == 0
    assert ": nothing to say, by" in capsys.readouterr().out


def test_a_wrong_pair_has_status_1_and_names_the_line(capsys):
    assert main(["check", "wrong.py:Own", *DIGITS]) == 0  # on a CPU it is right
    assert main(["check", "wrong.py:Own", *DIGITS, "--device", "cuda"]) == 1
    said = capsys.readouterr().out
    number = next(i for i, line in enumerate(OWN.splitlines(), 1) if "new_zeros" in line)
    assert f"wrong.py:{number}  PG601 error" in said


def test_options(capsys):
    assert main(["check", "wrong.py:Own", *DIGITS, "--ignore", "PG601", "PG5"]) == 0
    assert main(["check", "wrong.py:Own", *DIGITS, "--select", "PG6", "--json", "--rows", "5"]) == 0
    values = json.loads(capsys.readouterr().out.partition("\n{")[2].join(("{", "")))
    assert [finding["code"] for finding in values["findings"]] == ["PG601"]
    assert all(code.startswith("PG6") for code in values["ran"])


def test_a_run_directory_is_checked_as_fitted(capsys, tmp_path):
    assert (
        main(["fit", "own.py:Own", *DIGITS, "--steps", "2", "--directory", "run", "--no-progress", "--device", "cpu"]) == 0
    )
    capsys.readouterr()
    main(["check", "run", "--json"])
    values = json.loads(capsys.readouterr().out)
    assert "PG701" in values["ran"]
    shutil.rmtree("run")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["own.py:Own"], "name the data"),
        (["own.py:Own", *DIGITS, "--select", "PG9"], "no rule has a code that begins with 'PG9'"),
        (["own.py:Own", *DIGITS, "--rows", "0"], "--rows must be at least 1"),
        (["own.py:Own", "--data", "digits", "--binarise", "dynamic"], "binarise"),
        (["folder", *DIGITS], "no pair is called 'folder'"),
        (["run", *DIGITS], "leave --data out"),
        (["own.py:Other", *DIGITS], "has no 'Other'"),
    ],
)
def test_bad_inputs(words, error, capsys, tmp_path):
    (tmp_path / "run").mkdir()
    assert main(["check", *words]) == 2
    assert error in capsys.readouterr().err


def test_grey_digits_are_a_warning_about_the_data(capsys):
    assert main(["check", "own.py:Own", "--data", "digits"]) == 0
    assert "PG205 warning" in capsys.readouterr().out
