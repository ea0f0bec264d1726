"""CUDA without a GPU at hand: the same code on torch's meta device and with fake ``cuda:0`` tensors.

A tensor made on the default device, or a read of the device by the host, raises there. What this cannot show: kernels,
speed, memory. The tests marked `cuda` need a real device.
"""

from __future__ import annotations

from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from pyrogen import Pair
from pyrogen.checks import check
from pyrogen.data import load
from pyrogen.devices import device_named
from pyrogen.errors import ConfigurationError
from pyrogen.inference import (
    ELBO,
    HMC,
    IWAE,
    AnnealedImportance,
    Exact,
    ImportanceSampling,
    LatentDensity,
    Renyi,
    TemperedSMC,
    calibration,
    compare,
    fit,
    gaps,
    posterior,
    reconstruct,
    refine,
    sample,
    sandwich,
    simulate,
    traverse,
    usage,
)
from pyrogen.inference.estimators.annealing.ais import anneal
from pyrogen.inference.estimators.annealing.mover import Mover
from pyrogen.inference.estimators.annealing.schedule import plan
from pyrogen.inference.weights.terms import weigh
from pyrogen.models import VAE, DiscreteVAE, GlobalGaussian, LinearGaussianVAE

# Beta draws have no meta kernel in torch: `tests/contracts/test_pairs.py` gives that pair its draw.
PAIRS = {
    "vae": lambda: VAE((9,), latent=2, hidden=(8,)),
    "conv vae": lambda: VAE((1, 8, 8), latent=2, hidden=(8,), architecture="conv"),
    **{
        f"{likelihood} vae": lambda likelihood=likelihood: VAE((9,), latent=2, hidden=(8,), likelihood=likelihood)
        for likelihood in ("continuous-bernoulli", "gaussian", "categorical", "discretized-logistic")
    },
    "linear": lambda: LinearGaussianVAE((9,), guide="full"),
    "discrete": lambda: DiscreteVAE((9,), latent=2),
    "global": lambda: GlobalGaussian((9,)),
}
OBJECTIVES = [
    ELBO(),
    ELBO(3, gradient="sticking-the-landing"),
    IWAE(3),
    IWAE(3, gradient="doubly-reparameterized"),
    Renyi(0.5, 3),
]


def probed(name):
    """A pair that has been probed on the CPU, where its checks may read values, and its batch."""
    torch.manual_seed(0)
    pair = PAIRS[name]()
    x = torch.ones(4, 64 if name == "conv vae" else 9)
    return pair.initialise(x), x


def fake_cuda(module):
    """Replace a module's tensors by fake ones on ``cuda:0``; call under a `FakeTensorMode`."""
    for part in module.modules():
        for tensors in (part._parameters, part._buffers):
            for name, value in tensors.items():
                if value is not None:
                    tensors[name] = torch.empty(value.shape, dtype=value.dtype, device="cuda")
    return module


def suits(objective, name):
    return name != "discrete" or getattr(objective, "gradient", "pathwise") == "pathwise"


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: f"{o}-{o.gradient}")
@pytest.mark.parametrize("name", PAIRS)
def test_a_training_step_on_the_meta_device(name, objective):
    if not suits(objective, name):
        pytest.skip("path gradients need reparameterized draws")
    pair, x = probed(name)
    pair.to("meta")
    optimizer = torch.optim.Adam(pair.parameters(), foreach=True)
    with pyro.validation_enabled(False):
        loss = objective.loss(pair, x.to("meta"))
        loss.backward()
    torch.nn.utils.clip_grad_norm_(pair.parameters(), 1.0)
    optimizer.step()
    assert loss.device.type == "meta"
    assert loss.shape == ()
    assert all(p.grad is None or p.grad.device.type == "meta" for p in pair.parameters())
    assert any(p.grad is not None for p in pair.parameters())


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: f"{o}-{o.gradient}")
@pytest.mark.parametrize("name", PAIRS)
def test_a_bound_with_fake_cuda_tensors(name, objective):
    if not suits(objective, name):
        pytest.skip("path gradients need reparameterized draws")
    if name == "discrete" and objective.analytic:
        pytest.skip("torch's KL divergence of Bernoullis assigns in place, which fake tensors cannot without a CUDA build")
    pair, x = probed(name)
    with FakeTensorMode(), torch.no_grad(), pyro.validation_enabled(False):
        loss = objective.loss(fake_cuda(pair), torch.empty(x.shape, device="cuda"))
    assert loss.device == torch.device("cuda:0")


def annealed(pair, x):
    """Log weights of two chains, from the pilot run to the last temperature."""
    density, transition = LatentDensity(pair, x), HMC(2)
    with pyro.validation_enabled(False):
        chosen = plan(Mover(density), x, transition, "adaptive", 3)
        mover = Mover(density)
        return anneal(mover, x, mover.start(density.draw(x, 2), x), chosen, transition).log_weight


@pytest.mark.parametrize("name", ["vae", "conv vae", "linear"])
def test_annealing_on_the_meta_device(name):
    pair, x = probed(name)
    log_weight = annealed(pair.to("meta"), x.to("meta"))
    assert log_weight.device.type == "meta"
    assert log_weight.shape == (2, 4)


@pytest.mark.parametrize("initial", ["prior", "guide"])
@pytest.mark.parametrize("name", ["vae", "conv vae", "linear"])
def test_a_density_with_fake_cuda_tensors(name, initial):
    pair, x = probed(name)
    density = LatentDensity(pair, x, initial=initial)  # looks at shapes, with the generators of a real device
    with FakeTensorMode(), torch.no_grad(), pyro.validation_enabled(False):
        fake_cuda(pair)
        batch = torch.empty(x.shape, device="cuda")
        base, slope = density.terms(density.draw(batch, 3), batch)
    assert base.device == slope.device == torch.device("cuda:0")


class Careless(Pair):
    """Right on the CPU, wrong anywhere else: `how` says in which way."""

    def __init__(self, how):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(()))
        self.how = how

    def model(self, x):
        with pyro.plate("data", len(x)):
            prior = torch.zeros(len(x)) if self.how == "default device" else x.new_zeros(len(x))
            z = pyro.sample("z", dist.Normal(prior, 1.0))
            if self.how == "read":
                z = z * (1.0 if z.sum().item() > 0 else 2.0)
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.loc, 1.0))


@pytest.mark.parametrize(
    ("how", "error"), [("default device", RuntimeError), ("read", DataDependentOutputException), ("right", None)]
)
def test_fake_cuda_finds_what_would_fail_on_a_gpu(how, error):
    x = torch.zeros(4)
    pair = Careless(how).initialise(x)
    structure = pair.structure(x)
    with FakeTensorMode(), torch.no_grad(), pyro.validation_enabled(False):
        fake_cuda(pair)
        batch = torch.empty(4, device="cuda")
        if error is None:
            assert weigh(pair, batch, structure, 3).log_weight().local.device.type == "cuda"
        else:
            with pytest.raises(error):
                weigh(pair, batch, structure, 3)


ROWS = torch.rand(32, 9, generator=torch.Generator().manual_seed(0)).round()
TRAINING = {
    "eager": {"validation": ROWS, "validate_every": 1, "scheduler": "cosine", "clip": 1.0},
    "recorded": {"compile": "graph"},
    "IWAE": {"objective": IWAE(3)},
}


@pytest.mark.parametrize("options", TRAINING.values(), ids=TRAINING)
def test_training_makes_its_tensors_where_the_data_lie(options):
    """As under `torch.set_default_device("cuda")`: here what is made on the default device cannot meet the data."""
    torch.manual_seed(0)
    pair = VAE((9,), latent=2, hidden=(8,))
    with torch.device("meta"):
        run = fit(pair, ROWS, steps=5, batch_size=16, device="cpu", progress=False, **options)
    assert run.steps == 5


STUDIES = [gaps, posterior, usage, refine, calibration, reconstruct, traverse, simulate, check]
OPTIONS = {"sandwich": partial(sandwich, simulations=4, temperatures=10, chains=4), "sample": partial(sample, count=3)}


@pytest.mark.parametrize("study", [*STUDIES, *OPTIONS.values()], ids=[*(study.__name__ for study in STUDIES), *OPTIONS])
def test_studies_make_their_tensors_where_the_data_lie(study):
    torch.manual_seed(0)
    pair = VAE((9,), latent=2, hidden=(8,))
    with torch.device("meta"):
        assert study(pair, ROWS[:8]) is not None


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_annealing_on_a_real_device():
    torch.manual_seed(0)
    pair, x = LinearGaussianVAE((9,), latent=3).double(), torch.randn(50, 9, dtype=torch.float64)
    table = compare(pair, x, [AnnealedImportance(50), TemperedSMC(32), Exact()], device="cuda")
    for estimate in table.estimates[:2]:
        error = estimate.standard_error.square().sum().sqrt() / 50
        bias = estimate.standard_error.square().mean()
        assert -5 * error - bias < (estimate.log_prob - table["Exact"].log_prob).mean() < 5 * error


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_fit_and_compare_on_a_real_device(tmp_path):
    data = load("digits", binarize="dynamic")
    tables = {}
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        run = fit(VAE(data.shape, latent=4, hidden=(64,)), data.train, epochs=20, device=device, progress=False)
        table = compare(run.pair, data.test, [ELBO(), ImportanceSampling(1000)], device=device)
        table.save(tmp_path / device)
        tables[device] = table["IS(1000)"].log_prob.cpu()
    difference = tables["cpu"] - tables["cuda"]
    # Two trainings with other random numbers: the means agree within what 20 epochs leave to chance.
    assert abs(difference.mean()) < 1.0


def test_a_device_by_name(monkeypatch):
    assert device_named("cpu") == device_named(torch.device("cpu")) == torch.device("cpu")
    for there, kind in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert device_named("auto") == torch.device(kind)
    with pytest.raises(ConfigurationError, match="sees no CUDA device"):
        device_named("cuda:0")
    with pytest.raises(ConfigurationError, match="unknown device 'gpu'"):
        device_named("gpu")
