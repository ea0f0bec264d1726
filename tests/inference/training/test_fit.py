"""Fitting: right, resumable bit for bit, interruptible, and never waiting for the device."""

from __future__ import annotations

import csv
import functools
import math
import os
import signal

import pyro
import pyro.distributions as dist
import pytest
import torch
import yaml
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.autoguide import AutoNormal
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR, StepLR
from torch.utils._python_dispatch import TorchDispatchMode

from pyrogen import Pair
from pyrogen.checks import PairWarning
from pyrogen.data import load
from pyrogen.errors import CheckpointError, ConfigurationError, NonFiniteLoss, PairError
from pyrogen.inference import (
    ELBO,
    IWAE,
    AnnealedImportance,
    BlockEstimate,
    Estimator,
    Exact,
    compare,
    fit,
    linear_warmup,
    load_checkpoint,
    restore,
)
from pyrogen.inference.training import fitting
from pyrogen.inference.training.checkpoints import CHECKPOINT, save_checkpoint
from pyrogen.models import VAE, DiscreteVAE, LinearGaussianVAE


def data(rows=50, width=6):
    return torch.bernoulli(torch.rand(rows, width, generator=torch.Generator().manual_seed(0)))


def vae(width=6):
    torch.manual_seed(1)
    pair = VAE((width,), latent=2, hidden=(8,))
    pair.encoder.net.insert(1, nn.BatchNorm1d(8))
    pair.encoder.net.insert(2, nn.Dropout(0.3))
    return pair


def weights(pair):
    return {name: value.clone() for name, value in pair.state_dict().items()}


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


fit = functools.partial(fit, progress=False, device="cpu")


def test_reaches_the_maximum_likelihood_of_probabilistic_pca():
    """Tipping & Bishop 1999: the maximum of the evidence is known from the eigenvalues of the covariance."""
    torch.manual_seed(0)
    x = torch.randn(500, 2, dtype=torch.float64) @ torch.randn(2, 4, dtype=torch.float64) + 0.3 * torch.randn(
        500, 4, dtype=torch.float64
    )
    x = x - x.mean(0)
    values = torch.linalg.eigvalsh(x.T @ x / 500).flip(0)
    noise = values[2:].mean()
    best = -0.5 * (4 * math.log(2 * math.pi) + values[:2].log().sum() + 2 * noise.log() + 4)
    pair = LinearGaussianVAE((4,), latent=2, guide="full").double()
    fit(pair, x, steps=700, batch_size=500, lr=0.05, scheduler="cosine")
    evidence = Exact().estimate(pair, x).log_prob.mean()
    # The pair has a noise of its own for each dimension, so it may do better than PCA.
    assert best - 0.01 < evidence < best + 0.5


@pytest.mark.parametrize(("latent", "k"), [(2, 3), (3, 2)])  # of the first primes, that which is no size of the pair
@pytest.mark.parametrize(("compile", "recorded"), [(False, None), ("graph", 3), ("auto", 5)])
def test_the_pair_runs_as_often_before_the_first_step_as_is_said(latent, k, compile, recorded):
    assert "7 + k runs of the guide and 8 + 2k of the model" in fit.func.__doc__
    runs = {"guide": 0, "model": 0}

    class Counted(VAE):
        def guide(self, x):
            runs["guide"] += 1
            super().guide(x)

        def model(self, x):
            runs["model"] += 1
            super().model(x)

    pair = Counted((6,), latent=latent, hidden=(8,))
    steps = 1 if recorded is None else recorded  # a recorded step runs no program
    fit(pair, data(), steps=1, batch_size=16, compile=compile)
    assert runs == {"guide": 7 + k + steps, "model": 8 + 2 * k + steps}
    fit(pair, data(), steps=1, batch_size=16, compile=compile)
    assert runs == {"guide": 7 + k + 2 * steps + 1, "model": 8 + 2 * k + 2 * steps + 1}


SCHEDULERS = {
    "none": None,
    "cosine": "cosine",
    "step": functools.partial(StepLR, step_size=3, gamma=0.5),
    "one cycle": functools.partial(OneCycleLR, max_lr=0.01, total_steps=40),
    "lambda": functools.partial(LambdaLR, lr_lambda=lambda step: 1 / (1 + step)),
}


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("source", ["tensor", "dynamic"])
def test_resumed_run_is_bit_equal_to_one_that_never_stopped(tmp_path, scheduler, source):
    rows = data() if source == "tensor" else load("digits", binarize="dynamic").train[:50]
    width = 6 if source == "tensor" else 64
    options = {
        "steps": 20,
        "batch_size": 16,
        "scheduler": SCHEDULERS[scheduler],
        "clip": 1.0,
        "log_every": 3,
        "beta": linear_warmup(15),
    }
    whole = fit(vae(width), rows, **options)

    pair, done = vae(width), []

    def stop_at_step_seven(*_):
        done.extend([None] * pair.training)  # the probe runs in evaluation mode
        if len(done) == 7:
            os.kill(os.getpid(), signal.SIGINT)

    handle = pair.likelihood.register_forward_hook(stop_at_step_seven)
    with pytest.raises(KeyboardInterrupt, match="resume=True goes on"):
        fit(pair, rows, directory=tmp_path, **options)
    handle.remove()
    stopped_at = load_checkpoint(tmp_path)["step"]
    assert stopped_at == 7
    torch.manual_seed(99)  # whatever the new process has drawn before must not matter
    resumed = fit(vae(width), rows, directory=tmp_path, resume=True, **options)
    assert_same(weights(whole.pair), weights(resumed.pair))
    assert [row["loss"] for row in whole.history] == [row["loss"] for row in resumed.history]
    assert resumed.steps == 20


@pytest.mark.parametrize("objective", [ELBO, functools.partial(IWAE, 3)])
def test_resume_restores_baselines(tmp_path, objective):
    x = data(30, 4)

    def pair():
        torch.manual_seed(0)
        return DiscreteVAE((4,), latent=2)

    whole = fit(pair(), x, objective=objective(), steps=12, batch_size=10)
    fit(pair(), x, objective=objective(), steps=6, batch_size=10, directory=tmp_path)
    resumed = fit(pair(), x, objective=objective(), steps=12, batch_size=10, directory=tmp_path, resume=True)
    assert_same(weights(whole.pair), weights(resumed.pair))


def test_resume_of_pyro_params_with_an_autoguide(tmp_path):
    x = torch.randn(20, generator=torch.Generator().manual_seed(0))

    def pair():
        def model(x):
            scale = pyro.param("scale", torch.tensor(1.0), constraint=dist.constraints.positive)
            mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
            with pyro.plate("data", len(x)):
                pyro.sample("x", dist.Normal(mu, scale), obs=x)

        return Pair.of(model, AutoNormal(model))

    whole = fit(pair(), x, steps=10, batch_size=20, lr=0.05)
    fit(pair(), x, steps=4, batch_size=20, lr=0.05, directory=tmp_path)
    resumed = fit(pair(), x, steps=10, batch_size=20, lr=0.05, directory=tmp_path, resume=True)
    assert_same(weights(whole.pair), weights(resumed.pair))
    assert whole.pair.state_dict()["pyro_params.scale"] != 0


def test_a_fit_goes_on_from_what_pyros_svi_has_trained_and_resumes_without_it(tmp_path):
    x = torch.randn(20, generator=torch.Generator().manual_seed(0)) + 2.0
    store = pyro.get_param_store()

    def programs():
        def model(x):
            scale = pyro.param("scale", torch.tensor(1.0), constraint=dist.constraints.positive)
            with pyro.plate("data", len(x)):
                pyro.sample("x", dist.Normal(pyro.sample("z", dist.Normal(x.new_zeros(()), 3.0)), scale), obs=x)

        def guide(x):
            loc = pyro.param("loc", torch.tensor(0.0))
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(loc, 1.0))

        return model, guide

    svi = SVI(*programs(), pyro.optim.Adam({"lr": 0.05}), Trace_ELBO())
    for _ in range(20):
        svi.step(x)
    still = fit(Pair.of(*programs()), x, steps=1, batch_size=20, optimizer=functools.partial(torch.optim.SGD, lr=0.0))
    trained = {f"pyro_params.{name}": value.detach() for name, value in store.named_parameters()}
    assert trained["pyro_params.loc"] > 0.1
    assert_same(weights(still.pair), trained)
    whole = fit(Pair.of(*programs()), x, steps=10, batch_size=20, lr=0.05)
    fit(Pair.of(*programs()), x, steps=4, batch_size=20, lr=0.05, directory=tmp_path)
    again = fit(Pair.of(*programs()), x, steps=10, batch_size=20, lr=0.05, directory=tmp_path / "again")
    assert_same(weights(whole.pair), weights(again.pair))
    pyro.clear_param_store()
    resumed = fit(Pair.of(*programs()), x, steps=10, batch_size=20, lr=0.05, directory=tmp_path, resume=True)
    assert_same(weights(whole.pair), weights(resumed.pair))
    pyro.param("loc", torch.zeros(7))  # another program's
    assert_same(weights(restore(Pair.of(*programs()), tmp_path, x)), weights(whole.pair))


class SyncCounter(TorchDispatchMode):
    """Counts reads of the device by the host."""

    READS = ("_local_scalar_dense", "item", "nonzero", "is_nonzero", "equal", "masked_select", "unique")

    def __init__(self):
        super().__init__()
        self.reads = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.__name__.split(".")[0] in self.READS:
            self.reads.append(func.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "objective",
    [ELBO(), ELBO(3, gradient="sticking-the-landing"), IWAE(3), IWAE(3, gradient="doubly-reparameterized")],
    ids=lambda o: f"{o}-{o.gradient}",
)
def test_a_step_never_reads_the_device(objective):
    counts = {}
    for steps in (5, 25):
        with SyncCounter() as counter:
            fit(vae(), data(), objective=objective, steps=steps, batch_size=16, clip=1.0, log_every=100, scheduler="cosine")
        counts[steps] = len(counter.reads)
    assert counts[5] == counts[25], counter.reads[-5:]


def test_the_sync_counter_counts():
    with SyncCounter() as counter:
        torch.ones(3).sum().item()
        bool(torch.ones(()) > 0)
    assert len(counter.reads) == 2


class Explodes(Pair):
    """Its scale passes through zero after some steps."""

    def __init__(self, at):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(()))
        self.register_buffer("clock", torch.zeros(()))
        self.at = at

    def model(self, x):
        if self.training:
            self.clock += 1
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            broken = torch.where(self.clock > self.at, torch.nan, 0.0)
            pyro.sample("good", dist.Normal(z, 1.0), obs=x)
            pyro.sample("x", dist.Normal(z + broken, 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.loc, 1.0))


def test_a_loss_that_is_not_finite_stops_with_step_sites_and_a_good_checkpoint(tmp_path):
    x = torch.randn(30, generator=torch.Generator().manual_seed(0))
    pair = Explodes(at=13)
    with pytest.raises(NonFiniteLoss, match=r"step 13 .* at sites 'x'") as caught:
        fit(pair, x, steps=40, batch_size=30, log_every=5, directory=tmp_path)
    assert (caught.value.step, caught.value.sites) == (13, ["x"])
    state = load_checkpoint(caught.value.checkpoint)
    assert all(torch.isfinite(value).all() for value in state["pair"].values())
    assert state["step"] <= 13
    with pytest.raises(NonFiniteLoss, match="step 13") as caught:
        fit(Explodes(at=13), x, steps=40, batch_size=30)
    assert caught.value.checkpoint is None


def test_early_stopping_goes_back_to_the_best(tmp_path):
    class Scripted(Estimator):
        name, kind, particles = "scripted", "lower", 1

        def __init__(self):
            self.values = iter([1.0, 3.0, 2.0, 2.5, 9.0])
            self.seen = []

        def block(self, block):
            self.seen.append(weights(block.pair))
            return BlockEstimate(torch.full((block.rows,), next(self.values)), torch.ones(block.rows))

    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    validator = Scripted()
    run = fit(
        LinearGaussianVAE((3,)),
        x,
        epochs=50,
        batch_size=10,
        validation=x,
        validation_estimator=validator,
        patience=2,
        directory=tmp_path,
    )
    assert run.stopped_early
    assert run.steps == 8  # four epochs of two steps
    assert_same(weights(run.pair), validator.seen[1])
    assert_same(weights(restore(LinearGaussianVAE((3,)), tmp_path, x)), validator.seen[1])
    assert [row["validation"] for row in run.history if row["validation"] is not None] == [1.0, 3.0, 2.0, 2.5]


@pytest.mark.parametrize("epochs", [4, 7])
def test_resumed_run_stops_early_where_the_whole_one_does(tmp_path, epochs):
    """What was best so far, and how long ago, is carried over; so are the last parameters, to go on from."""
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    options = {"batch_size": 10, "lr": 0.05, "validation": x[:20], "patience": 3, "checkpoint_every": 100}

    def pair():
        torch.manual_seed(1)
        return LinearGaussianVAE((3,))

    whole = fit(pair(), x, epochs=200, **options)
    assert whole.stopped_early
    assert whole.steps > 4 * epochs
    fit(pair(), x, epochs=epochs, directory=tmp_path, **options)
    resumed = fit(pair(), x, epochs=200, directory=tmp_path, resume=True, **options)
    assert resumed.steps == whole.steps
    assert_same(weights(whole.pair), weights(resumed.pair))


def test_no_checkpoint_is_written_after_a_loss_that_is_not_finite(tmp_path, monkeypatch):
    x = torch.randn(30, generator=torch.Generator().manual_seed(0))
    saved = []
    original = torch.save
    monkeypatch.setattr(torch, "save", lambda state, file: (saved.append(state["step"]), original(state, file)))
    with pytest.raises(NonFiniteLoss, match="step 13"):
        fit(Explodes(at=13), x, steps=40, batch_size=30, log_every=1000, directory=tmp_path)
    assert max(saved) == 13  # a checkpoint at every step; that of step 14 would hold its loss


def test_validation_leaves_the_run_as_it_was():
    x = data()
    plain = fit(vae(), x, steps=12, batch_size=16)
    watched = fit(vae(), x, steps=12, batch_size=16, validation=x[:20])
    assert_same(weights(plain.pair), weights(watched.pair))
    assert not watched.pair.training


def test_validations_differ_by_the_parameters_alone():
    still = functools.partial(torch.optim.SGD, lr=0.0)
    run = fit(VAE((6,), latent=2), data(), epochs=3, batch_size=25, optimizer=still, validation=data(20))
    assert len({row["validation"] for row in run.history}) == 1


def test_seeds_and_the_caller_s_generator():
    x = data()
    torch.manual_seed(5)
    expected = torch.randn(3)
    torch.manual_seed(5)
    first = fit(vae(), x, steps=6, batch_size=16, seed=1)
    torch.manual_seed(5)
    fit(pair := vae(), x, steps=6, batch_size=16, seed=1)
    assert_same(weights(first.pair), weights(pair))
    other = fit(vae(), x, steps=6, batch_size=16, seed=2)
    assert not torch.equal(other.pair.encoder.net[0].weight, pair.encoder.net[0].weight)
    torch.manual_seed(5)
    untouched = VAE((6,), latent=2, hidden=(8,))
    torch.manual_seed(5)
    fit(untouched, x, steps=2, batch_size=16)
    torch.testing.assert_close(torch.randn(3), expected)


def test_every_datum_is_seen_once_in_an_epoch():
    seen = []

    class Watched(Pair):
        def __init__(self):
            super().__init__()
            self.loc = nn.Parameter(torch.zeros(()))

        def model(self, x):
            if self.training:
                seen.append(x.clone())
            with pyro.plate("data", len(x)):
                pyro.sample("x", dist.Normal(self.loc, 1.0), obs=x)

    fit(Watched(), torch.arange(23.0), epochs=3, batch_size=5)
    assert [len(x) for x in seen] == [5, 5, 5, 5, 3] * 3
    orders = [torch.cat(seen[i : i + 5]) for i in (0, 5, 10)]
    for order in orders:
        assert torch.equal(order.sort().values, torch.arange(23.0))
    assert not torch.equal(orders[0], orders[1])


def test_labels_and_dicts_arrive_as_arguments():
    class Conditional(Pair):
        def __init__(self):
            super().__init__()
            self.loc = nn.Parameter(torch.zeros(3))

        def model(self, x, y):
            with pyro.plate("data", len(x)):
                pyro.sample("x", dist.Normal(self.loc[y], 1.0), obs=x)

    x, y = torch.tensor([1.0, 1.0, 2.0, 2.0]), torch.tensor([0, 0, 2, 2])
    for batch in ((x, y), {"y": y, "x": x}):
        run = fit(Conditional(), batch, steps=300, batch_size=4, lr=0.05)
        torch.testing.assert_close(run.pair.loc.detach(), torch.tensor([1.0, 0.0, 2.0]), atol=0.02, rtol=0)


def test_clipping_bounds_the_step():
    x = 1e3 * torch.ones(10, 3)
    sgd = functools.partial(torch.optim.SGD, lr=1.0)
    pair = LinearGaussianVAE((3,))
    before = torch.cat([p.detach().flatten() for p in pair.parameters()])
    fit(pair, x, steps=1, batch_size=10, optimizer=sgd, clip=0.5)
    moved = torch.cat([p.detach().flatten() for p in pair.parameters()]) - before
    assert 0 < moved.norm() <= 0.5 + 1e-5


def test_what_is_written(tmp_path):
    run = fit(vae(), data(), epochs=2, batch_size=25, log_every=1, directory=tmp_path, tensorboard=True)
    with (tmp_path / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4]
    assert [float(row["loss"]) for row in rows] == [row["loss"] for row in run.history]
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert config["fit"]["objective"] == "ELBO"
    assert any((tmp_path / "tensorboard").iterdir())
    assert not list(tmp_path.glob(".*"))
    again = restore(vae(), tmp_path, data())
    assert_same(weights(run.pair), weights(again))


def test_a_crash_while_writing_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    save_checkpoint({"step": 1}, tmp_path / CHECKPOINT)

    def dies(*_):
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", dies)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint({"step": 2}, tmp_path / CHECKPOINT)
    assert load_checkpoint(tmp_path)["step"] == 1


def truncated(path):
    fit(vae(), data(), steps=1, batch_size=50, directory=path)
    whole = (path / CHECKPOINT).read_bytes()
    (path / CHECKPOINT).write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    ("spoil", "fragment"),
    [
        (lambda path: None, "does not exist"),
        (truncated, "is damaged"),
        (lambda path: (path / CHECKPOINT).write_bytes(b"nonsense"), "is damaged"),
        (lambda path: torch.save({"version": 99}, path / CHECKPOINT), "no checkpoint of this version"),
        (lambda path: torch.save({"version": 1, "code": Explodes}, path / CHECKPOINT), "holds more than plain values"),
        (lambda path: fit(VAE((6,), latent=3), data(), steps=1, directory=path), "belongs to a pair built with other"),
    ],
)
def test_damaged_checkpoints_are_named(tmp_path, spoil, fragment):
    spoil(tmp_path)
    pair = vae()
    before = weights(pair)
    with pytest.raises(CheckpointError, match=fragment):
        restore(pair, tmp_path, data())
    assert_same(before, weights(pair))


def test_resume_refuses_another_run(tmp_path):
    fit(vae(), data(), steps=2, batch_size=10, directory=tmp_path)
    for change in ({"batch_size": 20}, {"seed": 3}, {"objective": IWAE(2)}):
        with pytest.raises(CheckpointError, match=next(iter(change))):
            fit(vae(), data(), **{"steps": 4, "batch_size": 10, "directory": tmp_path, "resume": True, **change})
    with pytest.raises(CheckpointError, match="rows=50"):
        fit(vae(), data(40), steps=4, batch_size=10, directory=tmp_path, resume=True)


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        ({"epochs": 1, "steps": 1}, "either epochs or steps"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"epochs": -1}, "epochs must be at least 1"),
        ({"steps": 1, "batch_size": 0}, "batch_size must be at least 1"),
        ({"steps": 1, "patience": 1}, "patience needs validation"),
        ({"steps": 1, "resume": True}, "needs the directory"),
        ({"steps": 1, "device": "gpu"}, "unknown device 'gpu'"),
        ({"steps": 1, "tensorboard": True}, "needs a directory"),
    ],
)
def test_options_that_do_not_fit_together(options, fragment):
    with pytest.raises(ConfigurationError, match=fragment):
        fit(vae(), data(), **options)


def test_training_has_a_length_if_nobody_gives_one(monkeypatch):
    monkeypatch.setattr(fitting, "DEFAULT_STEPS", 7)
    run = fit(vae(), data(), batch_size=10, progress=False)
    assert run.steps == run.config["fit"]["steps"] == 7


@pytest.mark.parametrize("compile", [False, "graph"])
def test_grey_data_under_a_bernoulli_are_trained_on_with_a_warning_and_never_reported(compile):
    grey, pair = torch.full((10, 6), 0.5), vae()
    with pytest.warns(PairWarning, match=r"PG205 site 'x' observes a value .* Bernoulli .* index \[0, 0\]: 0.5. Binarize"):
        run = fit(pair, grey, steps=4, batch_size=5, validation=grey, compile=compile)
    assert math.isfinite(run.history[-1]["validation"])
    for estimator in (ELBO(), AnnealedImportance(2)):
        with pytest.raises(PairError, match=r"value outside the support of Bernoulli .* index \[0, 0\]: 0.5. Binarize"):
            compare(pair, grey, [estimator])
        compare(pair, grey.round(), [estimator])
    with pytest.raises(PairError, match=r"outside the support of Bernoulli .* Binarize or rescale"):
        fit(pair, torch.cat([grey[:3], grey + 1]), steps=1)


def test_a_bernoulli_that_validates_refuses_grey_data_before_training():
    class Validating(Pair):
        def __init__(self):
            super().__init__()
            self.logits = torch.nn.Parameter(torch.zeros(6))

        def model(self, x):
            with pyro.plate("data", len(x)):
                pyro.sample("x", dist.Bernoulli(logits=self.logits, validate_args=True).to_event(1), obs=x)

    with pytest.raises(PairError, match=r"site 'x' observes a value outside the support of Bernoulli .* index \[0, 0\]"):
        fit(Validating(), torch.full((10, 6), 0.5), steps=1)


def test_nothing_to_train():
    class Fixed(Pair):
        def model(self, x):
            with pyro.plate("data", len(x)):
                pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    with pytest.raises(ConfigurationError, match="no parameter to train"):
        fit(Fixed(), torch.zeros(3), steps=1)


def test_a_parameter_that_appears_late_is_named():
    calls = []

    def model(x):
        calls.extend([None] * torch.is_grad_enabled())  # the probe takes no gradients
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(pyro.param("a", torch.tensor(0.0)), 1.0), obs=x)
            if len(calls) > 6:
                pyro.param("b", torch.tensor(0.0))

    with pytest.raises(PairError, match=r"pyro\.param statement ran for the first time"):
        fit(Pair.of(model), torch.zeros(3), steps=40, batch_size=3)


def test_cosine_ends_at_zero():
    made = []

    def optimizer(parameters):
        made.append(torch.optim.Adam(parameters, 0.1))
        return made[0]

    fit(vae(), data(), steps=5, optimizer=optimizer, scheduler="cosine")
    assert made[0].param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-9)


def test_a_bad_value_anywhere_in_the_data_is_named_before_training():
    x = data(3000)
    x[2345, 3] = 0.5
    with pytest.warns(PairWarning, match=r"at index \[2345, 3\]: 0.5"):
        fit(vae(), x, steps=1, batch_size=10)
    x[2345, 3] = 2.0
    with pytest.raises(PairError, match=r"at index \[2345, 3\]: 2"):
        fit(vae(), x, steps=1, batch_size=10)


def test_parameters_for_each_datum_need_the_whole_data():
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    x = torch.randn(16, generator=torch.Generator().manual_seed(0))
    with pytest.raises(PairError, match="use batch_size=16"):
        fit(Pair.of(model, AutoNormal(model)), x, steps=1, batch_size=8)
    run = fit(Pair.of(model, AutoNormal(model)), x, steps=1500, batch_size=16, lr=0.02, scheduler="cosine")
    gap = torch.distributions.Normal(0.0, 2**0.5).log_prob(x).mean() - ELBO(draws=4000).estimate(run.pair, x).log_prob.mean()
    assert gap < 0.01
