"""Objectives of several phases: what `fit` promises holds for each of them."""

from __future__ import annotations

import csv
import math
import re
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from pyrogen.errors import CheckpointError, ConfigurationError, NonFiniteLoss
from pyrogen.inference import ELBO, Loss, Objective, Phase, compiled_svi, fit, load_checkpoint
from pyrogen.models import LinearGaussianVAE
from pyrogen.report import load_history, plots, render

sys.path.insert(0, str(Path(__file__).parent))

from two_phases import FactorVAE, binary, small_vae

SETTINGS = {"batch_size": 10, "log_every": 3, "progress": False, "device": "cpu", "lr": 0.01}


def weights(pair, objective):
    return {**pair.state_dict(), **{f"networks.{n}": v.clone() for n, v in objective.networks.state_dict().items()}}


def run(steps=9, objective=None, **how):
    pair, objective = small_vae(), objective or FactorVAE()
    found = fit(pair, binary(), objective=objective, steps=steps, **{**SETTINGS, **how})
    return found, weights(pair, objective)


def assert_close(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=1e-4, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")


def test_each_phase_trains_its_own_parameters_alone():
    before = weights(small_vae(), FactorVAE())
    _, both = run()
    assert all(not torch.equal(before[name], both[name]) for name in both if name.endswith("weight"))
    still = FactorVAE(every=1000)  # taken at step 0 alone
    _, late = run(steps=9, objective=still)
    _, once = run(steps=1, objective=FactorVAE(every=1000))
    pair = [name for name in late if not name.startswith("networks.") and name.endswith(("weight", "bias"))]
    assert all(torch.equal(late[name], once[name]) for name in pair)
    assert not torch.equal(late["networks.critic.0.weight"], once["networks.critic.0.weight"])


@pytest.mark.parametrize("every", [1, 3])
def test_by_graphs_as_by_the_pair(every):
    eager, expected = run(objective=FactorVAE(every=every), clip=0.5)
    graph, found = run(objective=FactorVAE(every=every), clip=0.5, compile="graph")
    assert_close(expected, found)
    assert graph.compiled.graphs == 2  # one a phase
    for first, second in zip(eager.history, graph.history, strict=True):
        for name in ("loss.pair", "loss.critic", "critic accuracy"):
            assert second[name] == pytest.approx(first[name], abs=1e-4)


@pytest.mark.parametrize("mode", [False, "graph"])
def test_a_resumed_run_is_bit_equal(tmp_path, mode):
    scheduler = {"pair": "cosine", "critic": partial(torch.optim.lr_scheduler.StepLR, step_size=2)}
    how = {"compile": mode, "scheduler": scheduler, "lr": {"pair": 0.01, "critic": 0.03}, "checkpoint_every": 1}
    through, expected = run(12, **how)
    run(9, directory=tmp_path, **{**how, "scheduler": {**scheduler, "pair": cosine(12)}})
    again, found = run(12, directory=tmp_path, resume=True, **{**how, "scheduler": {**scheduler, "pair": cosine(12)}})
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert [row["loss.critic"] for row in again.history] == [row["loss.critic"] for row in through.history]
    saved = load_checkpoint(tmp_path)
    assert set(saved["phases"]) == {"pair", "critic"}
    assert set(saved["networks"]) == {n.removeprefix("networks.") for n in found if n.startswith("networks.")}


def cosine(steps):
    return partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=steps)


def test_a_checkpoint_of_other_networks_is_refused(tmp_path):
    run(4, directory=tmp_path)
    other = FactorVAE()
    other.networks["critic"] = nn.Linear(2, 1)
    with pytest.raises(CheckpointError, match=r"lacks 'critic\.bias'"):
        run(8, other, directory=tmp_path, resume=True)


def test_the_history_has_a_column_for_each_loss_and_for_what_was_measured(tmp_path):
    found, _ = run(7, FactorVAE(every=4), directory=tmp_path, log_every=1, tensorboard=True)
    taken = [row["loss.pair"] is not None for row in found.history]
    assert taken == [True, False, False, False, True, False, False]
    assert all(0 <= row["critic accuracy"] <= 1 for row in found.history)
    with (tmp_path / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["loss.pair"] != "" for row in rows] == taken
    assert float(rows[-1]["loss.critic"]) == found.history[-1]["loss.critic"]
    assert "loss" not in rows[0]


def test_each_phase_has_an_optimizer_of_its_own():
    optimizers = {"pair": partial(torch.optim.SGD, lr=0.5), "critic": partial(torch.optim.AdamW, lr=0.1)}
    found, _ = run(optimizer=optimizers)
    described = found.config["fit"]["phases"]
    assert [(name, one["optimizer"], one["lr"]) for name, one in described.items()] == [
        ("pair", "SGD", 0.5),
        ("critic", "AdamW", 0.1),
    ]
    with pytest.raises(ConfigurationError, match=r"lr is given for the phases \['pair'\]"):
        run(lr={"pair": 0.1})


@pytest.mark.parametrize("mode", [False, "graph"])
def test_a_loss_that_is_not_finite_is_named_with_its_phase(mode, tmp_path):
    class Bursts(FactorVAE):
        """The critic's loss overflows once its first layer has been trained for some steps."""

        def critic_loss(self, pair, batch, state, *, beta=1.0):
            count = state.get("count", torch.zeros(())) + 1
            found = super().critic_loss(pair, batch, state, beta=beta)
            return Loss(found.value * torch.exp(20 * count), {"count": count})

    with pytest.raises(NonFiniteLoss, match="the loss of phase 'critic' at step 4 is not finite") as caught:
        run(9, Bursts(), compile=mode, directory=tmp_path, log_every=2)
    assert (caught.value.phase, caught.value.step) == ("critic", 4)


class Phased(Objective):
    """Given phases."""

    name = "given phases"

    def __init__(self, *phases):
        super().__init__()
        self.given = phases

    def compute(self, pair, batch, state, *, beta=1.0):
        return ELBO().compute(pair, batch, state, beta=beta)

    def phases(self, pair, batch):
        return [Phase(name, self.compute, parameters, every) for name, parameters, every in self.given]


@pytest.mark.parametrize(
    ("phases", "words"),
    [
        ([], r"has the phases \[\]"),
        ([("a", None, 1), ("a", None, 1)], "each with a name of its own"),
        ([("a", [nn.Parameter(torch.zeros(1))], 1)], "no parameter to train in phase 'a'"),
        ([("a", None, 0)], "taken at every 0-th step"),
    ],
)
def test_impossible_phases_are_refused(phases, words):
    with pytest.raises(ConfigurationError, match=words):
        run(2, Phased(*phases))


def test_what_takes_one_phase_says_so():
    with pytest.raises(ConfigurationError, match="has several phases"):
        compiled_svi(small_vae(), FactorVAE(), torch.optim.Adam, binary(), compile="graph")
    with pytest.raises(ConfigurationError, match="records one phase"):
        run(4, FactorVAE(), compile="graph", steps_per_call=2)


@pytest.mark.parametrize("mode", [False, "graph"])
def test_a_critic_learns_the_density_ratio(mode):
    """Codes (a, a + noise) against shuffled ones: the mean logit on codes is their total correlation, which is known."""
    rho = 0.8

    class Correlated(Objective):
        name, needs = "correlated", "draws"

        def __init__(self):
            super().__init__()
            torch.manual_seed(2)
            self.networks["critic"] = nn.Bilinear(3, 3, 1)  # quadratic in the code, as the true log ratio is

        def logit(self, z):
            features = torch.cat([z, torch.ones_like(z[:, :1])], -1)  # (data, 3)
            return self.networks["critic"](features, features)

        def compute(self, pair, batch, state, *, beta=1.0):
            shuffled = batch.gather(0, torch.rand_like(batch).argsort(0))
            return Loss((softplus(-self.logit(batch)) + softplus(self.logit(shuffled))).mean(), state)

    torch.manual_seed(0)
    first = torch.randn(20000)
    z = torch.stack([first, rho * first + (1 - rho**2) ** 0.5 * torch.randn(20000)], -1)
    objective = Correlated()
    found = fit(
        LinearGaussianVAE((2,), latent=1),
        z,
        objective=objective,
        steps=600,
        batch_size=20000,
        lr=0.02,
        progress=False,
        compile=mode,
    )
    assert found.steps == 600
    with torch.no_grad():
        logits = objective.logit(z)
    exact = -0.5 * math.log(1 - rho**2)
    assert abs(float(logits.mean()) - exact) < 5 * float(logits.std()) / 20000**0.5


def test_the_report_draws_each_loss_and_what_was_measured(tmp_path):
    run(12, FactorVAE(every=2), batch_size=20, log_every=1, directory=tmp_path)
    history = load_history(tmp_path)
    figure = plots.training(history)
    first, second = figure.axes[0].lines
    assert [first.get_label(), second.get_label()] == ["loss of the pair", "loss of the critic"]
    taken = ~np.isnan(history["loss.pair"])
    assert 0 < taken.sum() < len(taken)  # the pair is trained at every other step
    np.testing.assert_array_equal(first.get_xydata().T, [history["step"][taken], history["loss.pair"][taken]])
    np.testing.assert_array_equal(second.get_ydata(), history["loss.critic"])
    assert first.get_color() != second.get_color()
    assert [axes.get_ylabel() for axes in figure.axes[1:]] == ["critic accuracy"]
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_ydata(), history["critic accuracy"])
    assert not any("not finite" in text.get_text() for text in figure.legends[0].get_texts())
    page, last = render(tmp_path).read_text(), history["loss.critic"][-1]
    assert re.search(rf"loss of the pair from [\d.]+ to [\d.]+, loss of the critic from [\d.]+ to {last:.2f}\.", page)
