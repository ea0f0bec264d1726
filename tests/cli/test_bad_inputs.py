"""Whatever is wrong ends as one line that says what and how to mend it, with exit status 2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pyrogen.cli import main

FIT = ["fit", "vae", "--data", "digits", "--binarize", "dynamic", "--steps", "1"]

WORDS: dict[str, tuple[list[str], str]] = {
    "command": (["fti"], "no command is called 'fti': did you mean 'fit'?"),
    "option": ([*FIT, "--batchsize", "3"], "unrecognized arguments: --batchsize 3: did you mean 'batch_size'?"),
    "value": ([*FIT, "--batch-size", "many"], "batch_size: expected int, got many"),
    "choice": (
        ["data", "digits", "--binarize", "yes"],
        "binarize: expected one of 'none', 'threshold', 'static', ",
    ),
    "pair": (["fit", "vea", *FIT[2:]], "no pair is called 'vea': did you mean 'vae'?"),
    "pair unlike any": (["fit", "xyzzy", *FIT[2:]], "no pair is called 'xyzzy'; there are vae, "),
    "no pair": (["fit", *FIT[2:]], "name a pair: pyrogen fit PAIR"),
    "no data": (["fit", "vae", "--steps", "1"], "name the data: --data digits"),
    "two lengths": ([*FIT, "--epochs", "1"], "either --epochs or --steps"),
    "source": (["fit", "vae", "--data", "digts", "--steps", "1"], "unknown source 'digts'"),
    "not binary": (["fit", "vae", "--data", "{tmp}/reals.npy", "--steps", "1"], "outside the support of Bernoulli"),
    "module": (["models", "no.such.module:Class"], "there is no module 'no'"),
    "module in a package": (["models", "pyrogen.modles:VAE"], "there is no module 'pyrogen.modles'"),
    "class": (["models", "pyrogen.models:VEA"], "pyrogen.models has no 'VEA': did you mean 'VAE'"),
    "not a name": (["models", "a b.c"], "'a b.c' is no name of code"),
    "not a pair": (["models", "pyrogen.models:StandardNormal"], "needs the methods model(batch) and guide(batch)"),
    "not a function": (["models", "{own}:NUMBER"], "name one class, or two functions"),
    "three functions": (["models", "{own}:model,guide,visible"], "name one class, or two functions"),
    "file": (["models", "nowhere.py:Own"], "nowhere.py: no such file"),
    "name in a file": (["models", "{own}:Onw"], "has no 'Onw': did you mean 'Own'"),
    "no name in a file": (["models", "{own}"], "say which of its names is meant"),
    "file that fails": (["models", "{tmp}/fails.py:Own"], "fails.py, line 2: ZeroDivisionError on import: division by zero"),
    "file that is not Python": (["models", "{tmp}/broken.py:Own"], "broken.py, line 1: SyntaxError"),
    "file that misses a module": (["models", "{tmp}/misses.py:Own"], "No module named 'no_such_module'"),
    "argument": ([*FIT, "--args.latnt", "3"], "VAE has no argument 'latnt': did you mean 'latent'?"),
    "argument's type": ([*FIT, "--args.latent", "x"], "VAE: args.latent: expected int, got x"),
    "argument's type in YAML": ([*FIT, "--args", "{{latent: x}}"], "error: VAE: args.latent: expected int, got x"),
    "argument in YAML": ([*FIT, "--args", "{{latnt: 3}}"], "VAE has no argument 'latnt': did you mean 'latent'?"),
    "argument's value": ([*FIT, "--args.latent=-1"], "latent must be a positive integer"),
    "argument without value": ([*FIT, "--args.latent"], "--args.latent needs a value"),
    "argument elsewhere": (["models", "vae", "--args.latent", "3"], "only pyrogen fit takes a pair's arguments"),
    "arguments that are no mapping": ([*FIT, "--args", "3"], "args: expected dict"),
    "argument of functions": (
        ["fit", "{own}:model,guide", *FIT[2:], "--args.latent", "3"],
        "made of functions, which take no arguments",
    ),
    "part": (
        [*FIT, "--args.encoder", "torch.nn.ELU"],
        "torch.nn.ELU is no encoder: name a subclass of pyrogen.models.parts.part.Part",
    ),
    "part's name": ([*FIT, "--args.prior", "mixtur"], "no prior is called 'mixtur': did you mean 'mixture'? There are"),
    "part's file": ([*FIT, "--args.prior", "{own}:Onw"], "has no 'Onw': did you mean 'Own'"),
    "part's option": ([*FIT, "--args.prior", "mixture:componts=3"], "MixturePrior has no argument 'componts': did you mean"),
    "part's value": ([*FIT, "--args.likelihood", "categorical:1"], "values must be an integer of at least 2"),
    "part's argument": (
        [*FIT, "--args.prior", "pyrogen.models.StandardNormal", "--args.prior.latnt", "3"],
        "Problem with given class_path 'pyrogen.models.StandardNormal': Option 'latnt' is not accepted",
    ),
    "objective": ([*FIT, "--objective", "iwea:5"], "no objective is called 'iwea': did you mean 'iwae'?"),
    "objective that is the class of all": ([*FIT, "--objective", "objective"], "no objective is called 'objective'"),
    "objective's value": ([*FIT, "--objective", "iwae:some"], "IWAE: args.particles: expected int, got some"),
    "objective's values": ([*FIT, "--objective", "iwae:5:6:7:8:9"], "iwae:5:6:7:8:9: too many values: IWAE takes"),
    "objective's argument": (
        [*FIT, "--objective", "iwae:partcles=5"],
        "no argument 'partcles': did you mean 'particles'",
    ),
    "objective of another kind": ([*FIT, "--objective", "{own}:Own"], "is no objective"),
    "gradient": ([*FIT, "--gradient", "doubly-reparameterized"], "an ELBO has no weights to reparameterize"),
    "optimizer": ([*FIT, "--optimizer", "Admw"], "no optimizer is called 'Admw': did you mean 'AdamW'"),
    "optimizer that is the class of all": ([*FIT, "--optimizer", "Optimizer"], "no optimizer is called 'Optimizer'"),
    "scheduler": ([*FIT, "--scheduler", "cosin"], "no scheduler is called 'cosin': did you mean 'cosine'"),
    "scheduler's argument": (
        [*FIT, "--scheduler", "StepLR"],
        "the following arguments are required: args.step_size",
    ),
    "device": ([*FIT, "--device", "cud"], "unknown device 'cud'"),
    "patience": ([*FIT, "--patience", "2", "--validation", "0"], "patience needs validation data"),
    "configuration": (["fit", "--config", "nowhere.yaml"], "File does not exist: '{tmp}/nowhere.yaml'"),
    "configuration that is not YAML": (["fit", "--config", "{tmp}/broken.yaml"], "{tmp}/broken.yaml"),
    "configuration's key": (["fit", "--config", "{tmp}/key.yaml"], "'batchsize': did you mean 'batch_size'?"),
    "run directory": (["compare", "nowhere"], "nowhere is no directory: name the run directory"),
    "empty run directory": (["compare", "{tmp}"], "config.yaml does not exist"),
    "rows": (["compare", "{run}", "--rows", "0"], "--rows must be at least 1"),
    "split": (["compare", "{run}", "--split", "tset"], "split: expected one of 'test'"),
    "estimator": (["compare", "{run}", "--estimators", "exakt"], "no estimator is called 'exakt': did you mean 'exact'?"),
    "estimator that does not fit": (["compare", "{run}", "--estimators", "exact"], "VAE offers no exact evidence"),
    "count": (["sample", "{run}", "--count", "0"], "--count must be at least 1"),
    "out": (["sample", "{run}", "--out", "samples.gif"], "samples.gif: name a file that ends in .png"),
    "folder that is a file": (["sample", "{run}", "--out", "{tmp}/key.yaml/samples.npy"], "key.yaml"),
    "report": (["report", "nowhere"], "nowhere is not a directory"),
}


@pytest.mark.parametrize("case", WORDS)
def test_bad_words(case: str, fitted: Path, own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "fails.py").write_text("x = 1\nx / 0\n")
    (tmp_path / "broken.py").write_text("def :\n")
    (tmp_path / "misses.py").write_text("import no_such_module\n")
    (tmp_path / "broken.yaml").write_text("pair: {vae\nargs: 3\n")
    np.save(tmp_path / "reals.npy", np.linspace(-1, 1, 40, dtype=np.float32).reshape(10, 4))
    (tmp_path / "key.yaml").write_text("pair: vae\nbatchsize: 3\n")
    words, fragment = WORDS[case]
    places = {"own": str(own), "tmp": str(tmp_path), "run": str(fitted)}
    assert main([word.format(**places) for word in words]) == 2
    error = capsys.readouterr().err
    assert fragment.format(**places) in error
    assert error.startswith("pyrogen: error: ")
    assert error.count("\n") == 1


DAMAGED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no configuration": (lambda run: (run / "config.yaml").unlink(), "config.yaml does not exist"),
    "not YAML": (lambda run: (run / "config.yaml").write_text("pair: ["), "config.yaml cannot be read as YAML"),
    "not text": (lambda run: (run / "config.yaml").write_bytes(b"\xff\xfe\x00"), "config.yaml cannot be read as YAML"),
    "not a mapping": (lambda run: (run / "config.yaml").write_text("- vae\n"), "config.yaml holds list, not a mapping"),
    "code in YAML": (
        lambda run: (run / "config.yaml").write_text("pair: !!python/object/apply:os.getcwd []\n"),
        "config.yaml cannot be read as YAML",
    ),
    "no pair": (lambda run: cut(run, "pair: vae", "built:"), "config.yaml does not say all that the pair is built of"),
    "no data": (lambda run: cut(run, "data: digits"), "config.yaml does not say where the data of the run are from"),
    "another pair": (lambda run: change(run, "pair: vae", "pair: discrete-vae"), "it belongs to a pair built with other"),
    "unknown pair": (lambda run: change(run, "pair: vae", "pair: vaee"), "config.yaml: no pair is called 'vaee': did you"),
    "other arguments": (lambda run: change(run, "latent: 3", "latent: 4"), "has another shape for"),
    "wrong argument": (lambda run: change(run, "latent: 3", "latent: x"), "args.latent: expected int, got x"),
    "unknown option": (lambda run: change(run, "lr: 0.001", "rl: 0.001"), "config.yaml: "),
    "wrong option": (lambda run: change(run, "batch_size: 128", "batch_size: x"), "config.yaml: batch_size: expected int"),
    "data moved": (lambda run: change(run, "data: digits", "data: gone.npy"), "config.yaml: gone.npy: no such file"),
    "no checkpoint": (lambda run: (run / "checkpoint.pt").unlink(), "checkpoint.pt does not exist"),
    "half a checkpoint": (
        lambda run: (run / "checkpoint.pt").write_bytes((run / "checkpoint.pt").read_bytes()[:900]),
        "checkpoint.pt is damaged",
    ),
}


@pytest.mark.parametrize("case", DAMAGED)
@pytest.mark.parametrize("command", ["compare", "sample"])
def test_damaged_runs(case: str, command: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage, fragment = DAMAGED[case]
    damage(run)
    assert main([command, str(run)]) == 2
    error = capsys.readouterr().err
    assert fragment in error
    assert str(run) in error
    assert error.count("\n") == 1


def test_a_run_of_other_settings_is_not_resumed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    again = ["fit", "--config", str(run / "config.yaml"), "--directory", str(run), "--resume"]
    assert main([*again, "--batch-size", "64"]) == 2
    assert "was fitted with batch_size=128" in capsys.readouterr().err


def test_a_traceback_is_there_for_the_asking(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "vea"]) == 2
    assert "Traceback" not in capsys.readouterr().err
    for words in (["--traceback", "models", "vea"], ["models", "vea", "--traceback"]):
        assert main(words) == 2
        assert "Traceback" in capsys.readouterr().err
    monkeypatch.setenv("PYROGEN_TRACEBACK", "1")
    assert main(["models", "vea"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_an_error_in_the_users_model_can_be_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "wrong.py").write_text("def model(x):\n    raise RuntimeError('mine')\n")
    words = ["fit", "wrong.py:model", *FIT[2:]]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "RuntimeError: mine" in error
    assert "--traceback" in error
    assert main([*words, "--traceback"]) == 2
    assert 'wrong.py", line 2, in model' in capsys.readouterr().err


def cut(run: Path, *lines: str) -> None:
    for line in lines:
        change(run, line, f"no_{line}")


def change(run: Path, before: str, after: str) -> None:
    text = (run / "config.yaml").read_text()
    assert text.count(f"\n{before}\n") + text.startswith(f"{before}\n") + text.count(f"  {before}\n") >= 1, text
    (run / "config.yaml").write_text(text.replace(before, after, 1))
