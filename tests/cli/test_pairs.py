"""PAIR in all its forms, and arguments in all of theirs."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from pyrogen import Pair
from pyrogen.cli import main
from pyrogen.cli.pairs import build_pair, constructor_of
from pyrogen.cli.saved import open_run
from pyrogen.inference import Comparison
from pyrogen.models import VAE, ZOO, GaussianLikelihood
from pyrogen.report import load_pictures

FIT = ["--data", "digits", "--binarize", "threshold", "--device", "cpu", "--no-progress", "--steps", "2"]
SHAPE = (1, 8, 8)


def made(name: str, *tokens: str, **given: object) -> Pair:
    return build_pair(name, given, tokens, shape=SHAPE, seed=0)[0]


@pytest.mark.parametrize("name", ZOO)
def test_every_pair_of_the_zoo_is_made_by_its_name(name: str) -> None:
    assert type(made(name)) is ZOO[name]


@pytest.mark.parametrize("name", ["pyrogen.models:VAE", "pyrogen.models.VAE", "pyrogen.models.vae.VAE"])
def test_a_class_by_its_path(name: str) -> None:
    assert type(made(name, latent=3)) is VAE


@pytest.mark.parametrize(
    ("name", "pictures"),
    [
        ("Own", {"inputs", "reconstructions", "samples", "traversal"}),
        ("Plain", {"inputs", "reconstructions", "samples", "traversal"}),
        ("model,guide", {"inputs", "reconstructions", "samples"}),
        ("visible", {"samples"}),
        ("labelled", {"samples"}),
    ],
)
def test_a_users_file_works_in_every_command(
    name: str, pictures: set[str], own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(own.parent)
    run = str(tmp_path / "run")
    assert main(["models", f"own.py:{name}"]) == 0
    labels = ["--labels"] if name == "labelled" else []
    assert main(["fit", f"own.py:{name}", *FIT, *labels, "--directory", run]) == 0
    monkeypatch.chdir(tmp_path)  # the run directory remembers where the file is
    assert main(["compare", run, "--rows", "4", "--estimators", "elbo:draws=2"]) == 0
    assert main(["sample", run, "--count", "2", "--out", "samples.npy"]) == 0
    assert len(Comparison.load(run)["ELBO"].log_prob) == 4
    assert load_pictures(run).keys() == pictures


def test_a_sampler_is_fitted_checked_and_sampled_from(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", f"{own}:Generator", "--data", "digits"]) == 0
    assert "PG131 note" in capsys.readouterr().out
    assert main(["fit", f"{own}:Generator", *FIT, "--objective", f"{own}:Means", "--directory", "run"]) == 0
    out = capsys.readouterr().out
    assert "next: pyrogen sample run" in out
    assert "\nno " not in out  # no picture is missing
    assert load_pictures("run").keys() == {"samples"}
    assert main(["sample", "run", "--count", "3", "--out", "samples.npy"]) == 0
    assert np.load("samples.npy").shape == (3, 1, 8, 8)
    assert main(["check", "run"]) == 0
    assert main(["report", "run"]) == 0
    for words in (["compare", "run"], ["examine", "run"], ["fit", f"{own}:Generator", *FIT]):
        assert main(words) == 2
        assert "draws data and has no density of its own: give it an observation part" in capsys.readouterr().err


def test_a_picture_that_a_pair_cannot_make_is_left_out(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", f"{own}:half", *FIT, "--directory", "run"]) == 0
    assert "no samples: the observed site has 32 values where a datum has 64" in capsys.readouterr().out
    assert load_pictures("run") == {}
    assert main(["compare", "run", "--rows", "4", "--estimators", "elbo:draws=2"]) == 0
    assert main(["sample", "run"]) == 2


def test_a_file_is_a_module_of_one_name(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = constructor_of(f"{own}:Own").__module__
    monkeypatch.chdir(own.parent)
    assert constructor_of("own.py:Own").__module__ == constructor_of("./own.py:Own").__module__ == first


def test_a_file_imports_its_neighbours_and_the_working_folder(own: Path, tmp_path: Path) -> None:
    path = list(sys.path)
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    shutil.copy(own, folder / "neighbour_of_main.py")
    (folder / "main.py").write_text("from neighbour_of_main import Own\n")
    assert main(["models", f"{folder / 'main.py'}:Own"]) == 0
    shutil.copy(own, tmp_path / "module_in_working_folder.py")
    assert main(["models", "module_in_working_folder:Own"]) == 0
    assert sys.path == path


@pytest.mark.parametrize(
    ("tokens", "given"),
    [
        (["latent=3", "hidden=[4,5]"], {}),
        ([], {"latent": 3, "hidden": [4, 5]}),
        (["latent=3"], {"latent": 7, "hidden": [4, 5]}),
    ],
)
def test_arguments_from_the_command_line_win(tokens: list[str], given: dict[str, object]) -> None:
    pair, recorded = build_pair("vae", given, tokens, shape=SHAPE, seed=0)
    assert recorded == {"latent": 3, "hidden": [4, 5]}
    assert pair.latent == 3
    assert [layer.out_features for layer in pair.encoder.net if isinstance(layer, nn.Linear)] == [4, 5, 6]


def test_parts_are_swapped_by_class_path() -> None:
    net = {"class_path": "torch.nn.Linear", "init_args": {"in_features": 2, "out_features": 64}}
    part = {"class_path": "pyrogen.models.GaussianLikelihood", "init_args": {"net": net, "scale": 0.1}}
    pair, recorded = build_pair("vae", {"likelihood": part, "latent": 2}, shape=SHAPE, seed=0)
    assert isinstance(pair.likelihood, GaussianLikelihood)
    assert pair.likelihood.net.in_features == 2
    assert recorded == {"likelihood": part, "latent": 2}
    words = ["likelihood.class_path=pyrogen.models.GaussianLikelihood", "likelihood.init_args.scale=0.1"]
    words += ["likelihood.init_args.net=torch.nn.Linear", "likelihood.init_args.net.in_features=2"]
    words += ["likelihood.init_args.net.out_features=64", "latent=2"]
    again, recorded = build_pair("vae", {}, words, shape=SHAPE, seed=0)
    assert recorded["likelihood"]["init_args"]["net"]["init_args"]["in_features"] == 2
    assert all((one == two).all() for one, two in zip(pair.parameters(), again.parameters(), strict=True))


def test_parts_are_swapped_by_name_with_options_in_every_command(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(own.parent)
    run = str(tmp_path / "run")
    small = ["--args.latent", "2", "--args.hidden=[4]", "--args.likelihood", "gaussian:scale=0.5", "--directory", run]
    assert main(["fit", "vae", *FIT, *small, "--args.prior", "own.py:Wide:3", "--args.encoder", "full-rank"]) == 0
    monkeypatch.chdir(tmp_path)  # the run directory remembers where the file is
    pair = open_run(run).pair
    assert type(pair.prior).__name__ == "Wide"
    assert pair.encoder.net[-1].out_features == 5
    assert pair.likelihood.fixed_scale == 0.5
    assert main(["compare", run, "--rows", "4", "--estimators", "elbo:draws=2"]) == 0
    assert main(["sample", run, "--count", "2", "--out", "samples.npy"]) == 0
    values = {"args": {"prior": "mixture:components=3", "latent": 2}, "data": "digits", "binarize": "threshold", "steps": 1}
    Path("run.yaml").write_text(yaml.safe_dump({"pair": "vae", "directory": "mixed", "progress": False, **values}))
    assert main(["fit", "--config", "run.yaml"]) == 0
    assert open_run("mixed").pair.prior.locs.shape == (3, 2)


def test_the_seed_decides_on_initial_parameters_and_nothing_else() -> None:
    state = torch.get_rng_state()
    one, same, other = (build_pair("vae", {"latent": 2}, shape=SHAPE, seed=seed)[0] for seed in (3, 3, 4))
    weights = [pair.encoder.net[0].weight for pair in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(state, torch.get_rng_state())


def test_a_shape_that_is_given_is_kept() -> None:
    assert made("vae", shape=[64]).shape == (64,)
    assert made("vae", "shape=[64]").shape == (64,)
    assert made("vae").shape == SHAPE


def test_yaml_configures_a_run_and_the_command_line_wins(tmp_path: Path) -> None:
    values = {
        "pair": "vae",
        "args": {"latent": 4, "hidden": [8], "activation": "tanh"},
        "data": "digits",
        "binarize": "threshold",
        "steps": 3,
        "directory": "run",
        "progress": False,
    }
    Path("run.yaml").write_text(yaml.safe_dump(values))
    assert main(["fit", "--config", "run.yaml", "--args.latent", "2", "--batch_size", "64"]) == 0
    config = yaml.safe_load(Path("run/config.yaml").read_text())
    assert config["args"] == {"latent": 2, "hidden": [8], "activation": "tanh"}
    assert (config["steps"], config["batch_size"], config["binarize"]) == (3, 64, "threshold")
    assert main(["compare", "run", "--rows", "2", "--estimators", "elbo:draws=2"]) == 0
    assert main(["fit", "beta-bernoulli", "--config", "run/config.yaml", "--directory", "b", "--args", "{}"]) == 0
    assert yaml.safe_load(Path("b/config.yaml").read_text())["pair"] == "beta-bernoulli"
