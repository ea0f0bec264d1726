"""What only a real device shows: kernels, hidden synchronisation, its generator and its compiler."""

from __future__ import annotations

import warnings

import oracles
import pyro
import pytest
import torch
from test_estimators import CASES as ESTIMATES
from test_estimators import FIRST
from test_gradient_estimators import ESTIMATORS as GRADIENTS
from test_gradient_estimators import REFUSED, OneLatent
from test_pairs import CASES, batch, draws, log_weight, make

from pyrogen import Pair
from pyrogen.inference import (
    ELBO,
    IWAE,
    NUTS,
    ImportanceSampling,
    compare,
    compiled_svi,
    fit,
    load_checkpoint,
    reconstruct,
)
from pyrogen.models import VAE, DiscreteVAE, PixelVAE, TransformerModel

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
DENSE = [name for name in CASES if name != "sampler"]


@pytest.mark.parametrize("name", CASES)
def test_a_pair_gives_the_numbers_of_the_cpu(name):
    pair, x = make(name), batch(name)
    torch.manual_seed(0)
    latents = {site: value.detach() for site, value in draws(name, pair, x).items()}
    expected = log_weight(pair, x, latents)
    expected.backward()
    gradients = {key: value.grad for key, value in pair.named_parameters() if value.grad is not None}
    there = make(name).cuda()
    found = log_weight(there, x.cuda(), {site: value.cuda() for site, value in latents.items()})
    found.backward()
    assert found.device.type == "cuda"
    assert (found.cpu() - expected).abs() < 1e-9 * max(1, expected.abs())
    parameters = dict(there.named_parameters())
    assert len(gradients) > 0
    for key, gradient in gradients.items():
        torch.testing.assert_close(parameters[key].grad.cpu(), gradient, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("mode", [False, "graph"])
@pytest.mark.parametrize("name", DENSE)
def test_a_pair_trains(name, mode):
    pair, x = make(name, dtype=torch.float32), batch(name, torch.float32)
    before = {key: value.clone() for key, value in pair.named_parameters()}
    run = fit(pair, x, steps=8, batch_size=4, device="cuda", compile=mode, log_every=1, progress=False)
    assert len(run.history) == 8
    assert all(torch.tensor(row["loss"]).isfinite() for row in run.history)
    for key, parameter in run.pair.named_parameters():
        assert parameter.device.type == "cuda", key
        assert parameter.numel() == 0 or not torch.equal(parameter.cpu(), before[key]), key


@pytest.mark.parametrize("case", ESTIMATES, ids=lambda case: str(case.estimator))
def test_an_estimate_is_right(case):
    if isinstance(case.estimator, NUTS):
        pytest.skip("hundreds of small kernels a leapfrog step: minutes, and the same code as on the CPU")
    name = case.on[0]
    pair, x = getattr(oracles, name)(min(case.rows, 10), **case.options)
    target = getattr(oracles, case.target or "evidence")(pair, x)
    torch.manual_seed(0)
    found = case.estimator.estimate(pair.cuda(), x.cuda())
    off = found.log_prob.cpu() - target
    error = found.standard_error.cpu()
    assert (off < 5 * error + 1e-9).all()
    assert case.target is None or (off > -5 * error - 2 * error.square() - 1e-9).all()


@pytest.mark.parametrize("case", FIRST.values(), ids=lambda case: type(case.estimator).__name__)
def test_one_seed_gives_one_estimate(case):
    pair, x = getattr(oracles, case.on[0])(2, **case.options)
    if isinstance(case.estimator, NUTS):
        pytest.skip("minutes")
    found = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        found.append(case.estimator.estimate(pair.cuda(), x.cuda()).log_prob)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2]) == (case.kind == "exact")


@pytest.mark.parametrize("name", GRADIENTS)
@pytest.mark.parametrize("objective", [ELBO, IWAE])
def test_gradients_agree_with_those_of_the_cpu(objective, name):
    """The same draws would need the same generator: means over many data, to five standard errors."""
    if (objective.__name__, name) in REFUSED:
        pytest.skip(REFUSED[objective.__name__, name])
    x = torch.randn(20_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sums = {}
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        rows, data = [], x.to(device).view(20, -1)
        for part in data:
            pair = OneLatent().double().to(device)
            objective(2, gradient=GRADIENTS[name]()).loss(pair, part).backward()
            rows.append(torch.stack([parameter.grad.cpu() for parameter in pair.parameters()]))
        sums[device] = torch.stack(rows)
    error = (sum(value.var(0) for value in sums.values()) / 20).sqrt()
    assert ((sums["cpu"].mean(0) - sums["cuda"].mean(0)).abs() < 6 * error).all()


@pytest.mark.parametrize("mode", [False, "graph", True], ids=str)
@pytest.mark.parametrize("objective", [ELBO(), IWAE(3, gradient="doubly-reparameterized")], ids=str)
def test_a_step_never_waits(objective, mode):
    """Torch itself reports each synchronisation; the number does not grow with the number of steps."""
    x = torch.rand(64, 9, generator=torch.Generator().manual_seed(0)).round()
    counts = {}
    for steps in (50, 70):
        torch.manual_seed(0)
        pair = VAE((9,), latent=2, hidden=(8,))
        try:
            with warnings.catch_warnings(record=True) as seen:
                warnings.simplefilter("always")
                torch.cuda.set_sync_debug_mode("warn")
                fit(
                    pair,
                    x,
                    objective=objective,
                    steps=steps,
                    batch_size=16,
                    clip=1.0,
                    log_every=100,
                    device="cuda",
                    compile=mode,
                    progress=False,
                )
        finally:
            torch.cuda.set_sync_debug_mode("default")
        counts[steps] = [str(warning.message) for warning in seen if "called a synchronizing" in str(warning.message)]
    assert len(counts[50]) > 0, "torch reports none at all"
    # A recorded step is compared with the pair's own at growing intervals: none lies between.
    assert len(counts[70]) == len(counts[50])


@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.parametrize(
    "make_pair",
    [
        lambda: VAE((1, 8, 8), latent=2, hidden=(16,)),
        lambda: VAE((1, 8, 8), latent=2, hidden=(), architecture="conv", channels=(4,)),
        lambda: DiscreteVAE((64,), latent=3, hidden=(8,)),
        lambda: TransformerModel((8, 8), width=8, layers=1, heads=2),
        lambda: PixelVAE((1, 8, 8), 2, (8,), context=3, features=4, layers=2),
    ],
    ids=["vae", "conv", "discrete", "transformer", "pixelvae"],
)
def test_the_compiler_trains_and_weighs(make_pair):
    torch.manual_seed(0)
    x = torch.rand(64, 64, generator=torch.Generator().manual_seed(0)).round()
    run = fit(make_pair(), x, steps=30, batch_size=32, device="cuda", compile=True, log_every=1, progress=False)
    assert all(torch.tensor(row["loss"]).isfinite() for row in run.history)
    found = {}
    if run.pair.structure(x[:4].cuda()).latents:
        for mode in (False, True):
            torch.manual_seed(1)
            found[mode] = compare(run.pair, x[:8], [ImportanceSampling(500)], device="cuda", compile=mode).estimates[0]
        error = sum(value.standard_error.square() for value in found.values()).sqrt()
        assert ((found[False].log_prob - found[True].log_prob).abs() < 6 * error + 1e-5).all()


def test_a_resumed_run_is_bit_equal_and_its_checkpoint_loads_on_a_cpu(tmp_path):
    x = torch.rand(64, 9, generator=torch.Generator().manual_seed(0)).round()
    options = {"batch_size": 16, "device": "cuda", "progress": False, "checkpoint_every": 1}

    def pair():
        torch.manual_seed(0)
        return VAE((9,), latent=2, hidden=(8,))

    whole = fit(pair(), x, epochs=6, **options)
    fit(pair(), x, epochs=3, directory=tmp_path, **options)
    resumed = fit(pair(), x, epochs=6, directory=tmp_path, resume=True, **options)
    for key, value in whole.pair.state_dict().items():
        assert torch.equal(resumed.pair.state_dict()[key], value), key
    assert all(value.device.type == "cpu" for value in load_checkpoint(tmp_path / "checkpoint.pt")["pair"].values())


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
def test_a_conv_vae_learns(precision):
    x = torch.zeros(256, 1, 8, 8)
    x[:, :, 2:6, 2:6] = 1
    torch.manual_seed(0)
    pair = VAE((1, 8, 8), latent=2, hidden=(16,), architecture="conv", channels=(4,))
    run = fit(pair, x.flatten(1), steps=200, batch_size=64, device="cuda", precision=precision, log_every=1, progress=False)
    assert run.history[-1]["loss"] < 0.5 * run.history[0]["loss"]


def test_a_pair_of_functions_with_pyro_params():
    def model(x):
        loc = pyro.param("loc", x.new_zeros(3))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", pyro.distributions.Normal(loc, 1.0).to_event(1))
            pyro.sample("x", pyro.distributions.Normal(z, 0.5).to_event(1), obs=x)

    def guide(x):
        scale = pyro.param("scale", x.new_ones(3), constraint=pyro.distributions.constraints.positive)
        with pyro.plate("data", len(x)):
            pyro.sample("z", pyro.distributions.Normal(0.8 * x, scale).to_event(1))

    x = 2 + torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    run = fit(Pair.of(model, guide), x, steps=400, batch_size=200, lr=0.05, device="cuda", progress=False)
    loc = next(value for key, value in run.pair.named_parameters() if "loc" in key)
    assert (loc.detach().cpu() - 0.8 * x.mean(0)).abs().max() < 0.1  # the mean of the guide's own draws


def test_the_default_device_may_be_the_gpu():
    """As many scripts have it: `torch.set_default_device("cuda")` at their head."""
    torch.set_default_device("cuda")
    try:
        torch.manual_seed(0)
        pair, x = VAE((9,), latent=2, hidden=(8,)), torch.rand(64, 9).round()
        run = fit(pair, x, steps=10, batch_size=16, progress=False)
        table = compare(run.pair, x[:8], [ELBO(), IWAE(5), ImportanceSampling(100)])
        assert all(estimate.log_prob.isfinite().all() for estimate in table.estimates)
        assert len(reconstruct(run.pair, x[:4])) == 4
    finally:
        torch.set_default_device(None)


def test_compiled_svi_in_a_loop_of_ones_own():
    x = torch.rand(64, 9, generator=torch.Generator().manual_seed(0)).round().cuda()
    torch.manual_seed(0)
    pair = VAE((9,), latent=2, hidden=(8,)).cuda()
    step = compiled_svi(pair, ELBO(), torch.optim.Adam(pair.parameters(), 1e-2, fused=True), x)
    losses = torch.stack([step(x).detach() for _ in range(100)])
    assert losses[-10:].mean() < losses[:10].mean()
