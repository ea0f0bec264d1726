"""Two real processes that fit one pair: as one process with the doubled batch, resumable, and never left waiting."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from pyro import distributions as dist

from pyrogen.errors import CheckpointError, ConfigurationError, ProcessError
from pyrogen.inference import ELBO, IWAE, ImportanceSampling, compare, fit, load_checkpoint
from pyrogen.inference.estimators.shares import share
from pyrogen.processes import Processes, joined, own_device, stream

sys.path.insert(0, str(Path(__file__).parent))
import process_scenarios as scenarios

sys.path.pop(0)

ONE = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
TOGETHER = (
    "equal_eager",
    "equal_graph",
    "equal_whole",
    "scaled_plate",
    "other_start",
    "resumed",
    "draws",
    "interrupted",
    "nonfinite",
    "failing",
    "two_phases",
    "equal_loader",
    "compared",
    "shared_site",
    "local_guide",
    "other_data",
    "commands",
)


def launch(folder, names, timeout=120):
    """Run scenarios in two processes of one group; their exit statuses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", **ONE}
    started = [
        subprocess.Popen(
            [sys.executable, scenarios.__file__, folder, *names], env={**os.environ, **group, "RANK": str(rank)}
        )
        for rank in range(2)
    ]
    try:
        return [process.wait(timeout) for process in started]
    finally:
        for process in started:
            process.kill()


def read(folder, name, rank):
    return torch.load(folder / f"{name}-{rank}.pt", weights_only=True)


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """The folder in which two processes have left what became of the scenarios, one after the other."""
    folder = tmp_path_factory.mktemp("processes")
    assert launch(folder, TOGETHER) == [0, 0]
    return folder


def values(folder, name):
    found = [read(folder, name, rank) for rank in range(2)]
    for outcome in found:
        assert "value" in outcome, outcome
    return [outcome["value"] for outcome in found]


def errors(folder, name):
    return [(outcome["error"], outcome["text"]) for outcome in (read(folder, name, rank) for rank in range(2))]


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_two_processes_follow_both_phases_of_one(together):
    first, second = values(together, "two_phases")
    one = scenarios.phased(16)
    torch.testing.assert_close(torch.tensor(first["losses"]), torch.tensor(one["losses"]), rtol=1e-9, atol=1e-9)
    for part in ("pair", "networks"):
        assert_same(first[part], second[part])
        for key, value in one[part].items():
            torch.testing.assert_close(first[part][key], value, rtol=1e-6, atol=1e-8)


def test_two_processes_share_the_batches_of_a_loader(together):
    first, second = values(together, "equal_loader")
    one = scenarios.looped(False)
    assert_same(first["pair"], second["pair"])
    torch.testing.assert_close(torch.tensor(first["losses"]), torch.tensor(one["losses"]), rtol=1e-9, atol=1e-9)
    for key, value in one["pair"].items():
        torch.testing.assert_close(first["pair"][key], value, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("name", "batch_size", "rows"), [("equal_eager", 16, 49), ("equal_graph", 16, 51), ("equal_whole", 128, 51)]
)
def test_two_processes_follow_the_loss_of_one_with_the_doubled_batch(together, name, batch_size, rows):
    first, second = values(together, name)
    one = scenarios.doubled(batch_size, rows, False)
    assert first["losses"] == second["losses"]
    assert_same(first["pair"], second["pair"])
    assert first["steps"] == one["steps"] == 3 * -(-rows // batch_size)
    torch.testing.assert_close(first["losses"], one["losses"], rtol=1e-9, atol=1e-9)
    for key, value in one["pair"].items():
        torch.testing.assert_close(first["pair"][key], value, rtol=1e-6, atol=1e-8)
    assert not torch.allclose(one["pair"]["decoder.weight"], scenarios.Drawless().decoder.weight)


def test_a_shared_site_counts_once_where_the_plate_has_its_full_size(together):
    first, second = values(together, "scaled_plate")
    assert first == second
    torch.testing.assert_close(first["losses"], scenarios.scaled_losses(10), rtol=1e-5, atol=1e-5)


def test_all_begin_and_end_with_the_parameters_of_the_first(together):
    assert_same(*values(together, "other_start"))


def test_each_process_draws_numbers_of_its_own(together):
    first, second = values(together, "draws")
    assert len(set(torch.cat([first, second]).flatten().tolist())) == 6
    pair = scenarios.Explodes(at=10**6)
    scenarios.fit(pair, torch.ones(3), epochs=1, batch_size=1, lr=0.0)
    assert torch.equal(first, torch.stack(pair.drawn))  # the first has those of a run of one process


@pytest.mark.parametrize("name", ["vae", "discrete"])
def test_a_resumed_run_is_bit_equal(together, name):
    found = values(together, "resumed")
    for of_rank in found:
        whole, again, validations = of_rank[name]
        assert_same(whole, again)
        assert of_rank[f"{name} losses"][0] == of_rank[f"{name} losses"][1]
        assert_same(again, found[0][name][1])
        assert validations == found[0][name][2]
    assert (together / f"run-{name}-0" / "history.csv").exists()
    assert yaml.safe_load((together / f"run-{name}-0" / "config.yaml").read_text())["fit"]["processes"] == 2
    assert not (together / f"run-{name}-1").exists()  # the second process writes nothing
    state = load_checkpoint(together / f"run-{name}-0")
    assert not torch.equal(*(of_rank["generators"]["cpu"] for of_rank in state["processes"]))


def test_another_number_of_processes_cannot_resume(together):
    with pytest.raises(CheckpointError, match=r"processes=2.* processes=1 .*nproc-per-node 2"):
        scenarios.fit(
            scenarios.noisy("vae"), scenarios.binary(), epochs=4, batch_size=5, directory=together / "run-vae-0", resume=True
        )


def test_an_interrupt_of_one_stops_all_after_the_same_step(together):
    said = errors(together, "interrupted")
    assert said[0] == said[1]
    assert said[0][0] == "KeyboardInterrupt"
    assert "stopped after step 7" in said[0][1]
    assert load_checkpoint(together / "interrupted")["step"] == 7


def test_a_loss_that_is_not_finite_in_one_stops_all(together):
    said = errors(together, "nonfinite")
    assert said[0] == said[1]
    assert said[0][0] == "NonFiniteLoss"
    assert "step 13 is not finite; log_prob is not finite at sites 'x'. The pair is back at step 10" in said[0][1]
    state = load_checkpoint(together / "nonfinite")
    assert all(torch.isfinite(value).all() for value in state["pair"].values())


def test_an_error_of_one_is_named_by_the_other(together):
    (kind, text), own = errors(together, "failing")
    assert kind == "ProcessError"
    assert "process 1 has ended with ValueError: no luck" in text
    assert "checkpoint.pt holds the run as of step 4, resume=True goes on" in text
    assert own == ("ValueError", "no luck")
    assert load_checkpoint(together / "failing")["step"] == 4
    assert read(together, "failing", 0)["seconds"] < read(together, "failing", 1)["seconds"]


def test_a_killed_process_ends_the_other_with_a_loadable_checkpoint(tmp_path):
    assert launch(tmp_path, ["killed"], timeout=60) == [0, -signal.SIGKILL]
    outcome = read(tmp_path, "killed", 0)
    assert outcome["error"] == "ProcessError"
    assert "one was killed, has crashed or hangs" in outcome["text"]
    assert "holds the run as of step 4" in outcome["text"]
    assert load_checkpoint(tmp_path / "killed")["step"] == 4


def test_estimates_in_shares(together):
    first, second = values(together, "compared")
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], rtol=0, atol=0, equal_nan=True)
    pair, x = scenarios.oracle()
    one = compare(pair, x, [ELBO(draws=100), IWAE(5), ImportanceSampling(500, draws=20)], device="cpu", seed=7)
    exact = pair.log_evidence(x)
    assert torch.equal(first["columns"][3], exact)
    for estimate, column, error in zip(one.estimates, first["columns"], first["errors"], strict=False):
        z = (column - estimate.log_prob) / (error.square() + estimate.standard_error.square()).sqrt()
        assert z.shape == (41,)
        assert z.abs().max() < 6  # the errors themselves are estimated
        assert abs(z.sum() / 41**0.5) < 5
    assert first["evaluations"][:3] == [estimate.evaluations for estimate in one.estimates]
    assert first["rows"] == 41
    found = one["IS(500)"]
    assert first["khat"].shape == first["ess"].shape == (41,)
    assert first["draws"].shape == found.draws.latents["z"].shape
    assert first["likelihood"].shape == found.draws.log_likelihood.shape
    for now, then, error in zip(first["curve"][0], found.curve.bound, found.curve.error, strict=True):
        assert abs(now - then) < 5 * 2**0.5 * error
    torch.testing.assert_close(first["curve"][1], found.curve.error, rtol=0.5, atol=0)
    # Each draw belongs to its own datum: its likelihood is that of the datum at the draw.
    z = first["draws"].double()
    likelihood = dist.Normal(z @ pair.weight.T + pair.bias, pair.log_noise.exp()).log_prob(x).sum(-1)
    torch.testing.assert_close(first["likelihood"].double(), likelihood, rtol=1e-6, atol=1e-6)


def test_data_too_few_to_share_are_left_to_the_first(together):
    first, second = values(together, "compared")
    pair, x = scenarios.oracle()
    assert torch.equal(first["few"], compare(pair, x[:1], [ELBO()], device="cpu", seed=2)["ELBO"].log_prob)
    assert torch.equal(first["few"], second["few"])


REFUSED = {
    "shared_site": ("PairError", "site 'mu' is shared by all data"),
    "local_guide": ("PairError", "cannot be split over 2 processes"),
    "other_data": ("ProcessError", "process 1 of 2 has other arguments than process 0 ({'rows': 21"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_split_is_refused_by_name(together, name):
    for error, text in errors(together, name):
        assert error == REFUSED[name][0]
        assert REFUSED[name][1] in text


def test_the_first_process_alone_prints_and_writes(together):
    first, second = values(together, "commands")
    assert [status for status, *_ in first] == [0, 2, 0], first
    assert [status for status, *_ in second] == [0, 2, 0], second
    assert "next: pyrogen compare" in first[0][1]
    assert "holds a run" in first[1][2]
    assert "report: " in first[2][1]
    assert all(not out and not err for _, out, err in second)
    run = together / "command"
    assert (run / "pictures.npz").exists()
    record = json.loads((run / "comparison.json").read_text())
    assert [len(estimate["log_prob"]) for estimate in record["estimates"]] == [180, 180]


def test_torchrun(tmp_path):
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "pyrogen"]
    words = ["fit", "linear-gaussian", "--data", "synthetic:rings?n=60", "--steps", "2", "--device", "cpu"]
    done = subprocess.run(
        [sys.executable, *launcher, *words, "--directory", "run"],
        cwd=tmp_path,
        env={**os.environ, **ONE},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("next: pyrogen compare run") == 1
    assert len(load_checkpoint(tmp_path / "run")["processes"]) == 2


def test_every_row_is_some_process_s():
    for rows in range(12):
        for size in range(1, 6):
            parts = [list(range(rows))[share(rows, Processes(rank, size))] for rank in range(size)]
            assert [row for part in parts for row in part] == list(range(rows))
            assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_alone_nothing_is_joined(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with joined(torch.device("cpu")) as processes:
        assert (processes.rank, processes.size, processes.first) == (0, 1, True)
        assert not torch.distributed.is_initialized()
    assert own_device(torch.device("cuda")) == torch.device("cuda")
    assert stream(11, 0) == 11


def test_each_process_of_a_machine_has_a_cuda_device_of_its_own(monkeypatch):
    group = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in group.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert own_device(torch.device("cuda")) == torch.device("cuda", 1)
    assert own_device(torch.device("cuda:0")) == torch.device("cuda", 0)
    assert own_device(torch.device("cpu")) == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigurationError, match="process 1 of this machine finds 1 CUDA devices"):
        own_device(torch.device("cuda"))


def test_processes_that_do_not_come_are_not_waited_for_without_end(monkeypatch):
    from datetime import timedelta

    from pyrogen import processes

    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(processes, "TIMEOUT", timedelta(seconds=1))
    with pytest.raises(ProcessError, match="process 1 of 2 has not met the others"):
        fit(scenarios.noisy("vae"), scenarios.binary(), steps=1, device="cpu", progress=False)
