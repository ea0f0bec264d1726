"""The benchmark of training steps runs small, and sees when peers do not train the same model."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TORCH_PEERS = "pyrogen eager,pyrogen fit,Pyro SVI,torch by hand"


@pytest.fixture
def svi(monkeypatch):
    """The script as a module; the process is left as it was."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setenv("PYROGEN_BENCHMARK_THREADS", str(torch.get_num_threads()))
    before = set(sys.modules)
    with torch.random.fork_rng():
        import svi

        yield svi
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("svi", "timing", "training"):
            del sys.modules[name]


@pytest.mark.parametrize("letter", "acdef")  # small, b is a
def test_torch_peers_train_the_same_model(svi, letter, capsys):
    assert svi.main(["--quick", "--only", letter, "--peers", TORCH_PEERS, "--stage", "first"]) == 0
    out = capsys.readouterr().out
    assert "all peers agree" in out
    for peer in TORCH_PEERS.split(","):
        assert f"| {peer} " in out


@pytest.mark.parametrize("letter", "cef")
def test_programs_of_numpyro_have_the_same_loss(svi, letter, capsys):
    pytest.importorskip("numpyro")
    assert svi.main(["--quick", "--only", letter, "--peers", "torch by hand,NumPyro jit", "--stage", "first"]) == 0
    assert "all peers agree" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("letter", "wrong"),
    [("a", lambda loss: lambda x: 1.05 * loss(x)), ("f", lambda loss: lambda y, sigma: loss(y + 20, sigma))],
)
def test_another_model_is_seen(svi, letter, wrong, monkeypatch, capsys):
    workload = svi.WORKLOADS[letter]
    true = workload.by_hand

    def by_hand(self):
        written = true(self)
        return type(written)(written.parameters, wrong(written.loss))

    monkeypatch.setattr(workload, "by_hand", by_hand)
    words = ["--quick", "--only", letter, "--peers", "pyrogen eager,torch by hand", "--stage", "first"]
    assert svi.main(words) == 1
    assert "ANOTHER MODEL: torch by hand" in capsys.readouterr().out


def test_a_peer_that_fails_leaves_the_others(svi, monkeypatch, capsys):
    def by_hand(self):
        raise RuntimeError("no luck")

    monkeypatch.setattr(svi.WORKLOADS["f"], "by_hand", by_hand)
    assert svi.main(["--quick", "--only", "f", "--peers", "Pyro SVI,torch by hand", "--stage", "first"]) == 1
    out = capsys.readouterr().out
    assert "FAILED: torch by hand: RuntimeError: no luck" in out
    assert "| Pyro SVI " in out


def test_without_numpyro_its_peers_are_left_out(svi, monkeypatch, capsys):
    from training import by_numpyro

    monkeypatch.setattr(by_numpyro, "find_spec", lambda name: None if name == "jax" else find_spec(name))
    monkeypatch.setattr(svi, "find_spec", lambda name: None)
    assert svi.main(["--quick", "--only", "f", "--peers", "torch by hand,NumPyro jit", "--stage", "first"]) == 0
    out = capsys.readouterr().out
    assert "left out: NumPyro jit: jax is not installed" in out
    assert "| torch by hand " in out


def test_the_script_runs_in_processes_of_its_own():
    words = ["--quick", "--only", "f", "--threads", "1", "--peers", "torch by hand"]
    done = subprocess.run([sys.executable, BENCHMARKS / "svi.py", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "=== (f) eight schools" in done.stdout
    assert "| torch by hand " in done.stdout


def test_an_unknown_workload_is_refused(svi, capsys):
    with pytest.raises(SystemExit):
        svi.main(["--only", "z"])
    assert "no workload z" in capsys.readouterr().err
