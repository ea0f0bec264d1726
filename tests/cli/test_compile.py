"""``--compile`` in its forms: the same run, recorded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from pyrogen.cli import main
from pyrogen.inference import Comparison, load_checkpoint

TINY = ["--data", "digits", "--binarize", "dynamic", "--device", "cpu", "--no-progress", "--args.latent", "2"]
FIT = ["fit", "vae", *TINY, "--args.hidden=[8]", "--steps", "6", "--batch-size", "100", "--directory"]


def parameters(directory: str) -> torch.Tensor:
    return torch.cat([value.flatten() for value in load_checkpoint(directory)["pair"].values()])


def test_a_recorded_run_is_the_same_run() -> None:
    assert main([*FIT, "eager"]) == 0
    assert main([*FIT, "graph", "--compile", "graph"]) == 0
    assert main([*FIT, "auto", "--compile=auto", "--keep", "host"]) == 0
    for name in ("graph", "auto"):
        torch.testing.assert_close(parameters(name), parameters("eager"), rtol=1e-4, atol=1e-5)
    config = yaml.safe_load((Path("graph") / "config.yaml").read_text())
    assert config["compile"] == config["fit"]["compile"] == "graph"


def test_compile_alone_means_yes_and_no_is_its_opposite() -> None:
    from jsonargparse import ArgumentParser

    from pyrogen.cli.options import add_compile_option

    parser = ArgumentParser()
    add_compile_option(parser)
    said = [parser.parse_args(words).compile for words in ([], ["--compile"], ["--compile=true"], ["--compile", "false"])]
    assert said == [False, True, True, False]


def test_the_comparison_is_the_same() -> None:
    assert main([*FIT, "run"]) == 0
    tables = []
    for words in ([], ["--compile", "graph"]):
        assert main(["compare", "run", "--estimators", "elbo:draws=8", "is:50", "--rows", "20", *words]) == 0
        tables.append([estimate.log_prob for estimate in Comparison.load("run").estimates])
    for plain, recorded in zip(*tables, strict=True):
        torch.testing.assert_close(recorded, plain, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--compile", "fast"], "compile: Expected"),
        (["--steps-per-call", "3"], "needs compile"),
        (["--precision", "fp8"], "precision"),
    ],
)
def test_bad_words(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*FIT, "run", *words]) == 2
    assert said in capsys.readouterr().err
