"""Steps recorded together with the optimizer, and data that stay in the host's memory: the same run as step by step."""

from functools import partial

import pytest
import torch

from pyrogen.data import Split, from_arrays
from pyrogen.errors import ConfigurationError
from pyrogen.inference import ELBO, IWAE, compiled_svi, fit, linear_warmup
from pyrogen.inference.training.fused_steps import FusedSteps, gains_from_fusing
from pyrogen.inference.training.recorded_steps import RecordedLoss
from pyrogen.inference.training.training_rows import HostRows
from pyrogen.models import VAE, LinearGaussianVAE

ROWS = 70


def data():
    return torch.randn(ROWS, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def fitted(objective=None, **arguments):
    torch.manual_seed(0)
    pair = LinearGaussianVAE((4,), latent=2, guide="full").double()
    given = {"steps": 21, "batch_size": 16, "log_every": 7, "progress": False, "device": "cpu", **arguments}
    run = fit(pair, data(), objective=objective or ELBO(), **given)
    return run, torch.cat([parameter.detach().flatten() for parameter in pair.parameters()])


OPTIMIZERS = {
    "adam": partial(torch.optim.Adam, lr=1e-2, fused=True),
    "adam, not fused": partial(torch.optim.Adam, lr=1e-2),
    "adam with decay": partial(torch.optim.Adam, lr=1e-2, weight_decay=0.3, betas=(0.8, 0.95)),
    "adamw": partial(torch.optim.AdamW, lr=1e-2, weight_decay=0.3),
    "adam that minimises": partial(torch.optim.Adam, lr=1e-3, maximize=True),
    "adam without memory": partial(torch.optim.Adam, lr=1e-3, betas=(0.0, 0.9)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_recorded_optimizer_is_the_optimizer(name):
    """With the batch given, the draws are those of single steps, and so are parameters and the optimizer's state."""

    def run(steps):
        torch.manual_seed(0)
        pair = LinearGaussianVAE((4,), latent=2, guide="full").double().train()
        optimizer = OPTIMIZERS[name](list(pair.parameters()))
        objective = ELBO(kl="sampled")
        recorded = RecordedLoss(pair, objective.compute, list(pair.named_parameters()), "graph")
        torch.manual_seed(1)
        if steps:
            fused = FusedSteps(recorded, optimizer, steps, clip=2.0)
            losses = [fused(data()[i * 10 : (i + steps) * 10], {}).value for i in range(0, 6, steps)]
        else:
            losses = []
            for i in range(6):
                loss = objective.loss(pair, data()[i * 10 : (i + 1) * 10])
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(list(pair.parameters()), 2.0)
                optimizer.step()
                losses.append(loss.detach().reshape(1))
        state = optimizer.state_dict()["state"]
        return torch.cat(losses), list(pair.parameters()), state

    losses, parameters, state = run(0)
    for steps in (1, 3):
        whole = run(steps)
        torch.testing.assert_close(whole[0], losses, rtol=1e-9, atol=1e-9)
        for ours, theirs in zip(whole[1], parameters, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)  # torch keeps the step in single precision
        for number, values in state.items():
            for key, value in values.items():
                torch.testing.assert_close(whole[2][number][key], value, rtol=1e-6, atol=1e-12)


def test_fit_takes_several_steps_in_a_call_between_events(monkeypatch):
    """21 steps, a log after each 7: calls of 3 where no log and no smaller last batch of an epoch (every fifth) is near."""
    calls = []
    original = FusedSteps.__call__
    monkeypatch.setattr(FusedSteps, "__call__", lambda self, *args: calls.append(self.steps) or original(self, *args))
    one, _ = fitted(compile="graph")
    assert calls == [1] * 21
    calls.clear()
    many, _ = fitted(compile="graph", steps_per_call=3)
    assert [row["step"] for row in many.history] == [row["step"] for row in one.history] == [7, 14, 21]
    assert many.steps == 21
    assert calls == [3, 3, 3]  # steps 0 to 2, 10 to 12 and 15 to 17
    assert all(torch.isfinite(torch.tensor(row["loss"])) for row in many.history)


def test_fit_with_given_data_is_the_same_in_one_call_or_many():
    """All data in each step, and noise that only the pair draws: the streams of random numbers agree."""
    arguments = {"batch_size": ROWS, "steps": 12, "log_every": 4, "clip": 3.0, "scheduler": "cosine"}
    _, eager = fitted(**arguments)
    for how in ({"compile": "graph"}, {"compile": "graph", "steps_per_call": 4}):
        _, whole = fitted(**arguments, **how)
        torch.testing.assert_close(whole, eager, rtol=1e-6, atol=1e-9)


def test_warm_up_reaches_each_step_of_a_call():
    arguments = {"batch_size": ROWS, "steps": 12, "log_every": 4, "beta": linear_warmup(10)}
    _, eager = fitted(**arguments)
    _, whole = fitted(**arguments, compile="graph", steps_per_call=4)
    torch.testing.assert_close(whole, eager, rtol=1e-6, atol=1e-9)


def test_checkpoint_of_fused_steps_goes_on_in_any_mode(tmp_path):
    arguments = {"batch_size": ROWS, "steps": 12, "log_every": 4, "checkpoint_every": 4}
    _, through = fitted(**arguments)
    modes = [{"compile": "graph", "steps_per_call": 4}, {}, {"compile": "graph"}]
    for steps, how in zip((4, 8, 12), modes, strict=True):
        _, last = fitted(**{**arguments, "steps": steps}, **how, directory=tmp_path, resume=True)
    torch.testing.assert_close(last, through, rtol=1e-6, atol=1e-9)


def test_small_models_take_fused_steps_by_themselves():
    small, large = LinearGaussianVAE((4,), latent=2), VAE((100,), latent=2, hidden=(50,))
    for pair, gains in ((small, True), (large, False)):
        recorded = RecordedLoss(pair, ELBO().compute, list(pair.named_parameters()), "graph")
        assert gains_from_fusing(recorded, torch.optim.Adam(pair.parameters())) is gains
        assert not gains_from_fusing(recorded, torch.optim.SGD(pair.parameters(), lr=0.1))
    hooked = torch.optim.Adam(small.parameters())
    hooked.register_step_post_hook(lambda *_: None)
    assert not gains_from_fusing(RecordedLoss(small, ELBO().compute, list(small.named_parameters()), "graph"), hooked)
    x = torch.zeros(5, 4)
    step = compiled_svi(small, ELBO(), torch.optim.Adam(small.parameters()), x, compile="graph")
    step(x)
    assert "aten.expm1" in step.graphs[0].module.code  # the optimizer's arithmetic is in the graph


def test_fused_steps_of_a_scored_site_carry_the_baseline():
    from pyrogen.models import DiscreteVAE

    def run(**how):
        torch.manual_seed(0)
        x = (torch.rand(20, 6, generator=torch.Generator().manual_seed(1)) < 0.5).double()
        pair = DiscreteVAE((6,), latent=2).double()
        fit(pair, x, steps=8, batch_size=20, log_every=4, progress=False, device="cpu", **how)
        return torch.cat([parameter.detach().flatten() for parameter in pair.parameters()])

    eager = run()
    for how in ({"compile": "graph"}, {"compile": "graph", "steps_per_call": 4}):
        torch.testing.assert_close(run(**how), eager, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"steps_per_call": 0}, "steps_per_call must be at least 1"),
        ({"steps_per_call": 2}, "needs compile"),
        ({"steps_per_call": 2, "compile": "graph", "optimizer": partial(torch.optim.SGD, lr=0.1)}, "not of this SGD"),
        ({"keep": "disk"}, "use 'auto', 'device' or 'host'"),
        ({"keep": "host"}, "from_arrays"),
    ],
)
def test_bad_arguments(arguments, words):
    with pytest.raises(ConfigurationError, match=words):
        fitted(**arguments)


def split() -> Split:
    values = torch.rand(60, 9, generator=torch.Generator().manual_seed(0)).numpy()
    return from_arrays(values, binarize="dynamic", validation=0.0).train


def test_data_in_the_hosts_memory_give_the_same_run():
    def run(keep):
        torch.manual_seed(0)
        pair = VAE((9,), latent=2, hidden=(8,))
        done = fit(pair, split(), steps=13, batch_size=16, log_every=5, keep=keep, progress=False, device="cpu")
        return [row["loss"] for row in done.history]

    assert run("host") == run("device")


def test_expected_batch_is_sent_once(monkeypatch):
    rows = HostRows(split(), torch.device("cpu"))
    sent = []
    original = HostRows._send
    monkeypatch.setattr(HostRows, "_send", lambda self, numbers: sent.append(numbers) or original(self, numbers))
    first, second = torch.arange(4), torch.arange(4, 8)
    rows.draw(first)
    rows.expect(second)
    rows.draw(second.clone())
    assert len(sent) == 2
    rows.draw(first)
    assert len(sent) == 3


def test_objective_without_beta_is_recorded_without_it():
    run, _ = fitted(IWAE(3), compile="graph", steps_per_call=3)
    assert run.compiled.backend == "graph"
