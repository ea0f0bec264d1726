"""Callbacks: told of everything in its order, able to measure and to stop, and without a trace in the numbers."""

from __future__ import annotations

import csv
import functools

import pytest
import torch

from pyrogen.errors import ConfigurationError, NonFiniteLoss
from pyrogen.inference import Callback, ImportanceSampling, TensorBoard, compare, fit, load_checkpoint
from pyrogen.models import VAE, LinearGaussianVAE

fit = functools.partial(fit, device="cpu", progress=False)
X = torch.bernoulli(torch.rand(20, 6, generator=torch.Generator().manual_seed(0)))


def vae():
    torch.manual_seed(1)
    return VAE((6,), latent=2, hidden=(8,))


def weights(run):
    return torch.cat([value.flatten() for value in run.pair.state_dict().values()])


class Told(Callback):
    def __init__(self):
        self.events = []

    def on_step(self, training):
        self.events.append(("step", training.step))

    def on_row(self, training, row):
        self.events.append(("row", row["step"], len(training.rows)))

    def on_validation(self, training, value):
        self.events.append(("validation", training.step))
        assert isinstance(value, float)

    def on_checkpoint(self, training, path):
        self.events.append(("checkpoint", training.step))
        assert load_checkpoint(path)["step"] == training.step
        assert path.parent == training.directory

    def on_end(self, training):
        self.events.append(("end", training.step, training.total))


def test_each_event_is_told_in_its_order(tmp_path):
    told = Told()
    fit(vae(), X, epochs=2, batch_size=10, validation=X, log_every=3, directory=tmp_path, callbacks=[told])
    first = [("step", 1), ("step", 2), ("validation", 2), ("row", 2, 0), ("checkpoint", 2)]
    second = [("step", 3), ("row", 3, 1), ("step", 4), ("validation", 4), ("row", 4, 2), ("checkpoint", 4)]
    assert told.events == [*first, *second, ("end", 4, 4)]


@pytest.mark.parametrize("compile", [False, "graph"])
def test_the_numbers_are_those_of_a_run_without(compile):
    class Noisy(Callback):
        def on_step(self, training):
            torch.rand(3)
            training.pair.eval()

        def on_row(self, training, row):
            compare(training.pair, X, [ImportanceSampling(10)], device="cpu")

    whole = fit(vae(), X, steps=7, batch_size=10, log_every=2, compile=compile)
    run = fit(vae(), X, steps=7, batch_size=10, log_every=2, compile=compile, callbacks=[Noisy()])
    assert torch.equal(weights(run), weights(whole))


def test_own_numbers_are_columns_and_come_back(tmp_path):
    def measure(training, row):
        row["norm"] = sum(value.square().sum() for value in training.pair.parameters())
        row["sometimes"] = 1 if training.step == 4 else None

    fit(vae(), X, steps=4, batch_size=10, log_every=2, directory=tmp_path, callbacks=[measure])
    run = fit(vae(), X, steps=6, batch_size=10, log_every=2, directory=tmp_path, resume=True, callbacks=[measure])
    norms = [row["norm"] for row in run.history]
    assert norms[-1] == pytest.approx(float(sum(value.detach().square().sum() for value in run.pair.parameters())))
    assert all(isinstance(norm, float) for norm in norms)
    assert [row["sometimes"] for row in run.history] == [None, 1, None]
    with (tmp_path / "history.csv").open() as file:
        assert [float(row["norm"]) for row in csv.DictReader(file)] == pytest.approx(norms)


def stop_at(event, step):
    def stop(self, training, *_):
        if training.step >= step:
            training.stop()

    return type("Stop", (Callback,), {event: stop})()


@pytest.mark.parametrize("event", ["on_step", "on_row", "on_validation", "on_checkpoint"])
def test_a_callback_stops_the_run(tmp_path, event):
    options = {"batch_size": 10, "validation": X, "log_every": 2, "directory": tmp_path}
    run = fit(vae(), X, steps=20, callbacks=[stop_at(event, 6)], **options)
    assert run.stopped_early
    assert load_checkpoint(tmp_path)["step"] == run.steps
    assert run.steps == (7 if event == "on_checkpoint" else 6)
    resumed = fit(vae(), X, steps=20, resume=True, **options)
    assert resumed.steps == 20
    assert not resumed.stopped_early
    whole = fit(vae(), X, steps=20, **{**options, "directory": None})
    assert torch.equal(weights(resumed), weights(whole))


def test_fused_steps_are_taken_one_by_one_where_each_is_asked_for():
    steps = []
    watch = type("Watch", (Callback,), {"on_step": lambda self, training: steps.append(training.step)})()
    options = {"steps": 8, "batch_size": 20, "compile": "graph", "steps_per_call": 4}
    run = fit(LinearGaussianVAE((6,), latent=2), X, callbacks=[watch], **options)
    assert steps == list(range(1, 9))
    assert run.steps == 8


def test_the_end_is_told_after_an_error():
    told = Told()
    with pytest.raises(NonFiniteLoss):
        fit(LinearGaussianVAE((6,), latent=2), X, steps=3, lr=1e30, log_every=1, callbacks=[told])
    assert told.events[-1][0] == "end"

    def fail(training, row):
        raise RuntimeError("mine")

    told = Told()
    with pytest.raises(RuntimeError, match="mine"):
        fit(vae(), X, steps=3, log_every=1, callbacks=[fail, told])
    assert told.events[-1][0] == "end"


def test_tensorboard_takes_what_a_subclass_adds(tmp_path):
    class Pictures(TensorBoard):
        def on_validation(self, training, value):
            self.writer.add_image("first", X[0].reshape(1, 2, 3), training.step)

    fit(vae(), X, steps=3, validation=X, log_every=1, callbacks=[Pictures(tmp_path)])
    events = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert all(name in events for name in (b"first", b"loss", b"validation"))
    assert b"seconds" not in events.replace(b"steps_per_second", b"")


BAD = {
    "a class": (Told, "a callback is a Callback or a function"),
    "a number": (3, "a callback is a Callback or a function"),
    "no number": (
        lambda training, row: row.update(note="text"),
        "a callback put note='text' into a row of the history: put a",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_callback_is_refused(name):
    callback, message = BAD[name]
    with pytest.raises(ConfigurationError, match=message):
        fit(vae(), X, steps=2, callbacks=[callback])
