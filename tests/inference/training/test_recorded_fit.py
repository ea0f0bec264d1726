"""`fit` by recorded graphs: the same run, the same checkpoint, the same named errors."""

from __future__ import annotations

import functools
import os
import signal

import pyro
import pyro.distributions as dist
import pytest
import torch
import yaml
from pyro.infer import Trace_ELBO, TraceGraph_ELBO
from pyro.infer.autoguide import AutoNormal
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR, StepLR
from torch.utils._python_dispatch import TorchDispatchMode

from pyrogen import Pair
from pyrogen.errors import ConfigurationError, NonFiniteLoss, NotTraceable, PairError
from pyrogen.inference import ELBO, IWAE, PyroLoss, fit, linear_warmup, load_checkpoint, restore
from pyrogen.inference.training.trainer import Trainer
from pyrogen.inference.weights.terms import weigh
from pyrogen.models import VAE, DiscreteVAE, LinearGaussianVAE

fit = functools.partial(fit, progress=False, device="cpu")


def data(rows=50, width=6):
    return (torch.rand(rows, width, generator=torch.Generator().manual_seed(0)) < 0.5).float()


def vae(width=6):
    torch.manual_seed(1)
    pair = VAE((width,), latent=2, hidden=(8,))
    # Nothing is trained before the batch norm: the gradient of a bias that it takes away is rounding, which Adam enlarges.
    pair.encoder.net.insert(0, nn.BatchNorm1d(width))
    pair.encoder.net.insert(3, nn.Dropout(0.3))
    return pair


def discrete():
    torch.manual_seed(1)
    return DiscreteVAE((6,), latent=2)


def decaying_baseline():
    def model(x):
        bias = pyro.param("bias", torch.tensor([-0.5, 0.5]))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(0.4))
            pyro.sample("x", dist.Bernoulli(logits=bias[z.long()].unsqueeze(-1).expand(-1, 6)).to_event(1), obs=x)

    def guide(x):
        slope = pyro.param("slope", torch.tensor(0.3))
        with pyro.plate("data", len(x)):
            logits = slope * x.sum(-1)
            pyro.sample("z", dist.Bernoulli(logits=logits), infer={"baseline": {"use_decaying_avg_baseline": True}})

    return Pair.of(model, guide)


def weights(pair):
    return {name: value.detach().clone() for name, value in pair.state_dict().items()}


def losses(run):
    return torch.tensor([row["loss"] for row in run.history])


def assert_close(first, second):
    torch.testing.assert_close(losses(first), losses(second), rtol=1e-5, atol=1e-6)
    one, other = weights(first.pair), weights(second.pair)
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


def assert_equal(first, second):
    assert torch.equal(losses(first), losses(second))
    one, other = weights(first.pair), weights(second.pair)
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


OPTIONS = {
    "plain": {},
    "clip": {"clip": 0.3},
    "beta by step": {"beta": linear_warmup(8)},
    "beta": {"beta": 0.5},
    "cosine": {"scheduler": "cosine"},
    "one cycle": {"scheduler": functools.partial(OneCycleLR, max_lr=0.01, total_steps=12)},
    "sgd": {"optimizer": functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9), "clip": 0.5},
    "adamw": {"optimizer": functools.partial(torch.optim.AdamW, lr=0.01, weight_decay=0.1)},
    "fused adamw": {"optimizer": functools.partial(torch.optim.AdamW, lr=0.01, weight_decay=0.1, fused=True)},
    "decaying adam": {"optimizer": functools.partial(torch.optim.Adam, lr=0.01, weight_decay=0.1, fused=True)},
    "amsgrad": {"optimizer": functools.partial(torch.optim.Adam, lr=0.01, amsgrad=True, fused=True)},
    "adam without a kernel": {"optimizer": functools.partial(torch.optim.Adam, lr=0.01, foreach=True)},
    "iwae": {"objective": lambda: IWAE(3)},
    "pyro's": {"objective": lambda: PyroLoss(Trace_ELBO())},
}


def made(options):
    return {**options, "objective": options["objective"]()} if "objective" in options else options


@pytest.mark.parametrize("case", OPTIONS)
def test_the_same_run(case):
    options = {"steps": 12, "batch_size": 16, "log_every": 1, "lr": 0.01, **OPTIONS[case]}
    by_pair = fit(vae(), data(), **made(options))
    by_graph = fit(vae(), data(), compile="graph", **made(options))
    assert_close(by_pair, by_graph)
    assert by_graph.compiled.graphs == 2  # 16 rows, and the last 2 of an epoch
    assert by_pair.compiled is None
    assert not by_graph.pair.training


def test_groups_of_parameters():
    def optimizer(parameters):
        parameters = list(parameters)
        return torch.optim.Adam([{"params": parameters[:3]}, {"params": parameters[3:], "lr": 0.1}], lr=0.01, fused=True)

    options = {"steps": 6, "batch_size": 25, "log_every": 1, "optimizer": optimizer}
    assert_close(fit(vae(), data(), **options), fit(vae(), data(), compile="graph", **options))


def test_an_optimizer_with_hooks_has_them_called():
    calls = []

    def optimizer(parameters):
        made = torch.optim.Adam(parameters, lr=0.01, fused=True)
        made.register_step_post_hook(lambda *_: calls.append(1))
        return made

    options = {"steps": 5, "batch_size": 25, "log_every": 1}
    by_graph = fit(vae(), data(), compile="graph", optimizer=optimizer, **options)
    assert len(calls) == 5
    assert_close(fit(vae(), data(), lr=0.01, **options), by_graph)


def test_auto_takes_the_graph_for_a_short_run():
    by_graph = fit(vae(), data(), compile="auto", steps=6, batch_size=25, log_every=1)
    assert by_graph.compiled.backend == "graph"
    assert_close(fit(vae(), data(), steps=6, batch_size=25, log_every=1), by_graph)


CARRIED = {
    "batch norm": (vae, lambda: ELBO()),
    "running baseline": (discrete, lambda: ELBO(kl="sampled")),
    "pyro's running baseline": (decaying_baseline, lambda: PyroLoss(TraceGraph_ELBO())),
}
SETTINGS = {"batch_size": 25, "log_every": 1, "lr": 0.01, "clip": 1.0}


@pytest.mark.parametrize("case", CARRIED)
def test_graph_resumed_is_bit_equal_to_a_run_that_never_stopped(tmp_path, case):
    make, objective = CARRIED[case]
    settings = {**SETTINGS, "scheduler": functools.partial(StepLR, step_size=2, gamma=0.8), "compile": "graph"}
    whole = fit(make(), data(), objective=objective(), steps=9, **settings)
    fit(make(), data(), objective=objective(), steps=4, directory=tmp_path, **settings)
    torch.manual_seed(99)
    resumed = fit(make(), data(), objective=objective(), steps=9, directory=tmp_path, resume=True, **settings)
    assert_equal(whole, resumed)


@pytest.mark.parametrize("case", CARRIED)
def test_a_run_may_be_resumed_in_another_mode(tmp_path, case):
    make, objective = CARRIED[case]
    eager = fit(make(), data(), objective=objective(), steps=9, **SETTINGS)
    keys = []
    for steps, compile in ((3, False), (6, "graph"), (9, False)):
        run = fit(
            make(), data(), objective=objective(), steps=steps, compile=compile, directory=tmp_path, resume=True, **SETTINGS
        )
        state = load_checkpoint(tmp_path)
        keys.append(
            [sorted(state), *(sorted(map(str, state[part])) for part in ("pair", "phases", "objective", "generators"))]
        )
    assert keys[0] == keys[1] == keys[2]
    assert_close(eager, run)
    restored = restore(make(), tmp_path, data())
    assert all(torch.equal(value, weights(run.pair)[name]) for name, value in weights(restored).items())


def test_ctrl_c_writes_a_checkpoint_that_goes_on(tmp_path, monkeypatch):
    settings = {**SETTINGS, "compile": "graph", "batch_size": 10}
    whole = fit(vae(), data(), steps=9, **settings)
    original, calls = Trainer.step, []

    def stops(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", stops)
        with pytest.raises(KeyboardInterrupt, match="resume=True goes on"):
            fit(vae(), data(), steps=9, directory=tmp_path, **settings)
    assert load_checkpoint(tmp_path)["step"] == 5
    assert_equal(whole, fit(vae(), data(), steps=9, directory=tmp_path, resume=True, **settings))


class Explodes(DiscreteVAE):
    """log_prob overflows at site 'x' from a step on that a buffer counts; its baseline starts from nothing again then."""

    def __init__(self, at):
        torch.manual_seed(1)
        super().__init__((6,), latent=2)
        self.at = at
        self.register_buffer("seen", torch.zeros(()))

    def model(self, x):
        if self.training:
            self.seen.add_(1)
        super().model(x)
        with pyro.plate("more data", len(x)):
            pyro.factor("burst", torch.where(self.seen > self.at, torch.inf, 0.0).expand(len(x)))


def test_a_loss_that_is_not_finite_is_named(tmp_path):
    with pytest.raises(
        NonFiniteLoss, match="the loss at step 3 is not finite; log_prob is not finite at sites 'burst'"
    ) as raised:
        fit(Explodes(3), data(), objective=ELBO(kl="sampled"), compile="graph", steps=8, batch_size=25, directory=tmp_path)
    assert raised.value.step == 3
    assert load_checkpoint(tmp_path)["step"] == 0


def test_what_cannot_be_recorded_is_named_before_anything_is_lost(tmp_path):
    class Reads(VAE):
        def model(self, x):
            self.mean = x.mean().item()
            super().model(x)

    with pytest.raises(NotTraceable, match=r"test_recorded_fit.py:\d+: `self.mean = x.mean\(\).item\(\)`"):
        fit(Reads((6,), latent=2), data(), compile="graph", steps=3)


def test_parameters_for_each_datum():
    def make():
        def model(x):
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)

        return Pair.of(model, AutoNormal(model))

    x, options = data()[:, 0], {"steps": 6, "batch_size": 50, "log_every": 1, "lr": 0.05}
    assert_close(fit(make(), x, **options), fit(make(), x, compile="graph", **options))


class HostReads(TorchDispatchMode):
    """Counts what waits for the device, as `tests/inference/training/test_fit.py` does."""

    def __init__(self):
        super().__init__()
        self.reads = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in (
            torch.ops.aten._local_scalar_dense.default,
            torch.ops.aten.is_nonzero.default,
            torch.ops.aten.equal.default,
        ):
            self.reads.append(func)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("make", [vae, discrete])
def test_a_step_never_reads_from_the_device(make, monkeypatch):
    reads, step = [], Trainer.step

    def counted(self, *args, **kwargs):
        mode = HostReads()
        with mode:
            found = step(self, *args, **kwargs)
        reads.append(len(mode.reads))
        return found

    monkeypatch.setattr(Trainer, "step", counted)
    options = {"clip": 1.0, "beta": linear_warmup(5), "scheduler": "cosine", "objective": ELBO(kl="sampled")}
    fit(make(), data(), steps=8, batch_size=25, compile="graph", log_every=100, **options)
    checked = {0, 1, 2, 4}  # where the graph is compared with the pair
    assert {step for step, count in enumerate(reads) if count} == checked


def test_the_caller_s_generator_and_the_seed():
    torch.manual_seed(5)
    expected = torch.randn(3)
    first = vae()
    torch.manual_seed(5)
    first = fit(first, data(), steps=5, batch_size=16, seed=1, compile="graph")
    torch.testing.assert_close(torch.randn(3), expected)
    again = fit(vae(), data(), steps=5, batch_size=16, seed=1, compile="graph")
    other = fit(vae(), data(), steps=5, batch_size=16, seed=2, compile="graph")
    assert_equal(first, again)
    assert not torch.equal(losses(first), losses(other))


@pytest.mark.parametrize("compile", [False, "graph"])
def test_half_precision_sums_log_weights_in_single(compile):
    dtypes = []

    class Watched(VAE):
        def model(self, x):
            dtypes.append(self.encoder(x).mean.dtype if self.training else None)
            super().model(x)

    torch.manual_seed(0)
    run = fit(
        Watched((6,), latent=2, hidden=(8,)), data(), steps=8, batch_size=25, log_every=1, precision="bf16", compile=compile
    )
    assert torch.bfloat16 in dtypes
    assert all(value.dtype == torch.float32 for value in run.pair.state_dict().values() if value.is_floating_point())
    single = fit(vae_without_noise(), data(), steps=8, batch_size=25, log_every=1)
    assert not torch.equal(losses(run), losses(single))
    torch.testing.assert_close(losses(run), losses(single), rtol=0.05, atol=0.05)
    with torch.autocast("cpu", dtype=torch.bfloat16, cache_enabled=False):
        weighed = weigh(run.pair, data(), run.pair.structure(data()), 3)
    assert weighed.log_weight().local.dtype == torch.float32


def vae_without_noise():
    torch.manual_seed(0)
    return VAE((6,), latent=2, hidden=(8,))


def test_half_precision_is_the_same_by_graph():
    options = {"steps": 6, "batch_size": 25, "log_every": 1, "precision": "bf16"}
    by_pair, by_graph = (fit(vae_without_noise(), data(), compile=c, **options) for c in (False, "graph"))
    torch.testing.assert_close(losses(by_pair), losses(by_graph), rtol=1e-2, atol=1e-2)


def test_what_was_asked_for_is_recorded(tmp_path):
    fit(vae(), data(), steps=1, compile="graph", precision="bf16", directory=tmp_path)
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())["fit"]
    assert (config["compile"], config["precision"]) == ("graph", "bf16")


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        ({"precision": "fp8"}, "unknown precision 'fp8': use 'float32', 'tf32', 'bf16'"),
        ({"compile": "yes"}, "unknown compile='yes'"),
        ({"compile": 1}, "unknown compile=1"),
        ({"compile": None}, "unknown compile=None"),
    ],
)
def test_options_that_there_are_not(options, fragment):
    with pytest.raises(ConfigurationError, match=fragment):
        fit(vae(), data(), steps=1, **options)


def test_a_parameter_that_appears_late_is_named(monkeypatch):
    def model(x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(pyro.param("a", torch.zeros(())), 1.0), obs=x)
            if late:
                pyro.param("b", torch.tensor(0.0))

    late, calls, x = [], [], torch.zeros(3)
    original = Trainer.step

    def counted(self, *args, **kwargs):
        calls.append(1)
        late.extend([1] * (len(calls) == 4))
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Trainer, "step", counted)
    with pytest.raises(PairError, match=r"pyro\.param statement ran for the first time"):
        fit(Pair.of(model), x, steps=40, batch_size=3, compile="graph")


def test_linear_pair_in_double_precision():
    x = torch.randn(40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def make():
        torch.manual_seed(0)
        return LinearGaussianVAE((3,), latent=2).double()

    options = {"steps": 8, "batch_size": 20, "log_every": 1, "beta": linear_warmup(5)}
    assert_close(fit(make(), x, **options), fit(make(), x, compile="graph", **options))
