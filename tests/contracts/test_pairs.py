"""What every pair of the zoo must hold. A new pair is a new case."""

from __future__ import annotations

import io
import math
from contextlib import contextmanager
from typing import NamedTuple

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from pyrogen.models import (
    ENCODERS,
    LIKELIHOODS,
    PRIORS,
    VAE,
    ZOO,
    BetaBernoulli,
    CategoricalLikelihood,
    DiscreteVAE,
    DiscretizedLogisticLikelihood,
    GaussianLikelihood,
    GlobalGaussian,
    HiddenMarkov,
    LinearGaussianSSM,
    LinearGaussianVAE,
    MADEModel,
    Observed,
    Part,
    PixelCNNModel,
    PixelRNNModel,
    PixelVAE,
    TransformerModel,
    WaveNetModel,
    elementwise,
)
from pyrogen.pair import Pair

PARTICLES, DATA = 3, 4


class Case(NamedTuple):
    make: object
    event: int
    data: str = "binary"
    is_global: bool = False


class Aggregate(Part):
    """A prior that shares the encoder: the encoder's average over inputs that it learns."""

    def __init__(self, encoder, shape, inputs: int = 3):
        super().__init__()
        self.share(encoder=encoder)
        self.inputs = nn.Parameter(torch.rand(inputs, math.prod(shape)))

    def forward(self, *context):
        return dist.MixtureSameFamily(
            dist.Categorical(logits=self.inputs.new_zeros(len(self.inputs))), self.encoder(self.inputs)
        )


class Generator(Pair):
    """A sampler, which draws and has no density."""

    def __init__(self, event):
        super().__init__()
        self.net = nn.Linear(2, event)

    def draw(self, count):
        with pyro.plate(self.data_plate, count, dim=-1):
            z = pyro.sample("z", elementwise(dist.Normal(self.net.weight.new_zeros(2), 1.0)))
        return self.net(z)


def vae_with_likelihood(make_likelihood, outputs):
    return lambda: VAE((6,), latent=2, hidden=(5,), likelihood=make_likelihood(nn.Linear(2, outputs)))


PRIOR_CASES = {"standard-normal": "standard-normal", "mixture": "mixture:components=3"}
ENCODER_CASES = {"diagonal": "diagonal", "full-rank": "full-rank"}
LIKELIHOOD_CASES = {
    "bernoulli": "binary",
    "continuous-bernoulli": "grid",
    "gaussian": "grid",
    "categorical": "grid",
    "discretized-logistic": "grid",
}
"""Each registered part: how it is named, and for a likelihood the kind of its data."""

CASES = {
    "vae": Case(lambda: VAE((1, 3, 3), latent=2, hidden=(8, 6)), 9),
    "vae without hidden layers": Case(lambda: VAE((9,), latent=3, hidden=(), activation="tanh"), 9),
    "convolutional vae": Case(
        lambda: VAE((1, 5, 4), latent=2, hidden=(7,), architecture="conv", channels=(3, 4), activation="elu"), 20
    ),
    "convolutional vae, discretized logistic": Case(
        lambda: VAE((2, 3, 3), latent=2, hidden=(), architecture="conv", channels=(3,), likelihood="discretized-logistic"),
        18,
        "grid",
    ),
    **{
        f"vae, prior {name}": Case(lambda spec=spec: VAE((6,), 2, (5,), prior=spec), 6) for name, spec in PRIOR_CASES.items()
    },
    **{
        f"vae, encoder {name}": Case(lambda spec=spec: VAE((6,), 3, (5,), encoder=spec), 6)
        for name, spec in ENCODER_CASES.items()
    },
    **{
        f"vae, likelihood {name}": Case(lambda name=name: VAE((5,), 2, (4,), likelihood=name), 5, data)
        for name, data in LIKELIHOOD_CASES.items()
    },
    "vae, gaussian of a scale each": Case(
        vae_with_likelihood(lambda net: GaussianLikelihood(net, scale="each"), 12), 6, "real"
    ),
    "vae, gaussian of fixed scale": Case(vae_with_likelihood(lambda net: GaussianLikelihood(net, scale=0.3), 6), 6, "real"),
    "vae, categorical of 3 values": Case(
        vae_with_likelihood(lambda net: CategoricalLikelihood(net, values=3), 18), 6, "binary"
    ),
    "vae, discretized logistic of a scale each": Case(
        vae_with_likelihood(lambda net: DiscretizedLogisticLikelihood(net, scale="each"), 12), 6, "grid"
    ),
    "vae, prior made of the encoder": Case(lambda: VAE((6,), latent=2, hidden=(5,), prior=Aggregate), 6),
    "linear gaussian": Case(lambda: LinearGaussianVAE((5,), latent=2), 5, "real"),
    "linear gaussian, full guide": Case(lambda: LinearGaussianVAE((5,), latent=2, guide="full"), 5, "real"),
    "beta-bernoulli": Case(lambda: BetaBernoulli((5,), 1.5, 0.8), 5),
    "discrete vae": Case(lambda: DiscreteVAE((5,), latent=3, hidden=(4,)), 5),
    "discrete vae of 3 categories": Case(lambda: DiscreteVAE((5,), latent=2, categories=3, hidden=()), 5),
    "made": Case(lambda: MADEModel((1, 2, 3), hidden=(12,)), 6),
    "made, diagonal": Case(lambda: MADEModel((2, 2, 2), hidden=(12,), order="diagonal"), 8),
    "made, linear": Case(lambda: MADEModel((5,), hidden=()), 5),
    "pixelcnn": Case(lambda: PixelCNNModel((1, 3, 3), features=4, layers=3), 9),
    "pixelcnn of two channels": Case(lambda: PixelCNNModel((2, 2, 3), features=4, layers=2, dilations=(1, 2)), 12),
    "pixelrnn": Case(lambda: PixelRNNModel((1, 3, 2), hidden=3, layers=1), 6),
    "pixelrnn, rows": Case(lambda: PixelRNNModel((3, 2), "row", hidden=3, layers=2), 6),
    "wavenet": Case(lambda: WaveNetModel((6,), features=4, layers=3), 6),
    "transformer": Case(lambda: TransformerModel((2, 3), width=8, layers=2, heads=2), 6),
    "pixelcnn, categorical": Case(
        lambda: PixelCNNModel((1, 2, 2), features=4, layers=2, likelihood="categorical"), 4, "grid"
    ),
    "transformer, mixture of logistics": Case(
        lambda: TransformerModel((3, 2, 2), width=8, layers=1, heads=2, likelihood="logistic-mixture"), 12, "grid"
    ),
    "wavenet, mixture of gaussians": Case(
        lambda: WaveNetModel((6,), features=4, layers=3, likelihood="gaussian-mixture"), 6, "real"
    ),
    "pixelvae": Case(lambda: PixelVAE((1, 3, 2), 2, (5,), context=3, features=4, layers=2), 6),
    "convolutional pixelvae": Case(
        lambda: PixelVAE((1, 3, 3), 2, (), 2, features=4, layers=2, architecture="conv", channels=(3,), activation="elu"), 9
    ),
    "pixelvae of other parts": Case(
        lambda: PixelVAE((1, 3, 2), 2, (5,), 3, features=4, layers=2, prior="mixture:3", encoder="full-rank"), 6
    ),
    "linear gaussian state space": Case(lambda: LinearGaussianSSM((4, 3), latent=2), 12, "real"),
    "hidden markov": Case(lambda: HiddenMarkov((4, 2), states=3), 8),
    "global gaussian": Case(lambda: GlobalGaussian((2,), noise=0.7), 2, "real", is_global=True),
    "sampler": Case(lambda: Generator(5), 5, "real"),
    "observed sampler": Case(lambda: Observed(Generator(5), GaussianLikelihood(nn.Identity(), scale=0.3)), 5, "real"),
    "global and local gaussian": Case(lambda: GlobalGaussian((2,), local_scale=0.6), 2, "real", is_global=True),
}
NO_META_DRAWS = {"beta-bernoulli": "torch's aten::_sample_dirichlet has no meta kernel: its draw alone is given"}

every_pair = pytest.mark.parametrize("name", CASES)


def make(name, seed=1, dtype=torch.float64):
    """A pair with parameters off their initial values, so that none is zero by accident."""
    torch.manual_seed(seed)
    pair = CASES[name].make().to(dtype)
    with torch.no_grad():
        for parameter in pair.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return pair


def batch(name, dtype=torch.float64):
    generator = torch.Generator().manual_seed(2)
    case = CASES[name]
    uniform = torch.rand(DATA, case.event, generator=generator)
    made = {"binary": uniform.round(), "grid": (uniform * 255).round() / 255, "real": 4 * uniform - 2}
    return made[case.data].to(dtype)


def draws(name, pair, x):
    """Latents of one run of the guide."""
    if x.device.type != "cpu" and name in NO_META_DRAWS:
        return {"theta": x.new_empty(len(x))}
    trace = poutine.trace(pair.guide).get_trace(x)
    return {site: trace.nodes[site]["value"] for site in trace.stochastic_nodes if site != "data"}


def log_probs(pair, x, latents, role):
    """Log probabilities of a program's sites, given all latents."""
    trace = poutine.trace(poutine.condition(getattr(pair, role), data=latents)).get_trace(x)
    trace.compute_log_prob()
    return {site: node["log_prob"] for site, node in trace.nodes.items() if node["type"] == "sample" and site != "data"}


def log_weight(pair, x, latents):
    """Sum of the log weight over all data; of a sampler, of its draws."""
    if not pair.has_density:
        return poutine.condition(pair.model, data=latents)(x).square().sum()
    model, guide = (log_probs(pair, x, latents, role) for role in ("model", "guide"))
    return sum(value.sum() for value in model.values()) - sum(value.sum() for value in guide.values())


def test_every_member_of_the_zoo_is_a_case():
    assert {type(make(name)) for name in CASES} - {Generator, Observed} == set(ZOO.values())


@pytest.mark.parametrize(
    ("registry", "cases"), [(PRIORS, PRIOR_CASES), (ENCODERS, ENCODER_CASES), (LIKELIHOODS, LIKELIHOOD_CASES)]
)
def test_every_registered_part_is_a_case(registry, cases):
    assert set(registry) == set(cases)


@pytest.mark.parametrize("member", ZOO)
def test_a_shape_is_all_that_a_member_needs(member):
    torch.manual_seed(3)
    pair = ZOO[member](shape=(1, 4, 4))
    x = torch.rand(DATA, 16).round()
    structure = pair.structure(x)
    assert structure.joint_objections == ()


@every_pair
def test_it_runs_with_validation(name):
    pair, x = make(name), batch(name)
    with pyro.validation_enabled():
        guide = poutine.trace(pair.guide).get_trace(x)
        model = poutine.trace(poutine.replay(pair.model, trace=guide)).get_trace(x)
        for trace in (guide, model):
            trace.compute_log_prob()
            assert all(node["log_prob"].isfinite().all() for node in trace.nodes.values() if "log_prob" in node)
    assert any(name.startswith("x") for name in model.observation_nodes) == pair.has_density
    assert {*guide.stochastic_nodes, "data"} == {*model.stochastic_nodes, "data"}


@every_pair
def test_its_structure_is_what_it_claims(name):
    pair, x = make(name), batch(name)
    structure = pair.structure(x)
    assert (structure.joint_objections == ()) == pair.has_density == (structure.observed != ())
    assert (structure.objections == ()) == (pair.has_density and not CASES[name].is_global)
    assert structure.loop is None
    assert structure.amortized
    assert structure.nesting == 1


@every_pair
def test_particles_at_once_are_particles_one_by_one(name):
    pair, x = make(name), batch(name)
    torch.manual_seed(4)

    def at_once(program):
        def run(x):
            with pyro.plate("particles", PARTICLES, dim=-2):
                program(x)

        return run

    guide = poutine.trace(at_once(pair.guide)).get_trace(x)
    model = poutine.trace(poutine.replay(at_once(pair.model), trace=guide)).get_trace(x)
    for role, trace in (("guide", guide), ("model", model)):
        trace.compute_log_prob()
        for particle in range(PARTICLES):
            latents = {}
            for site in guide.stochastic_nodes:
                if site not in ("particles", "data"):
                    node = guide.nodes[site]
                    local = any(frame.name == "data" for frame in node["cond_indep_stack"])
                    latents[site] = node["value"][particle] if local else node["value"][particle, 0]
            for site, alone in log_probs(pair, x, latents, role).items():
                together = trace.nodes[site]["log_prob"]
                assert together.shape == (PARTICLES, DATA if alone.dim() else 1), site
                assert (together[particle] - alone).abs().max() < 1e-10, (role, site)


@every_pair
def test_gradients_reach_every_parameter(name):
    pair, x = make(name), batch(name)
    torch.manual_seed(5)
    log_weight(pair, x, draws(name, pair, x)).backward()
    for key, parameter in pair.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.numel() == 0 or parameter.grad.abs().max() > 0, key


@every_pair
def test_no_parameter_hides_in_pyros_global_store(name):
    pyro.clear_param_store()
    pair, x = make(name), batch(name)
    log_weight(pair, x, draws(name, pair, x))
    assert len(pyro.get_param_store()) == 0


@every_pair
def test_a_state_dict_brings_back_the_very_same_numbers(name):
    pair, other, x = make(name, seed=6), make(name, seed=7), batch(name)
    torch.manual_seed(8)
    latents = draws(name, pair, x)
    expected = log_weight(pair, x, latents)
    assert not torch.equal(log_weight(other, x, latents), expected)
    file = io.BytesIO()
    torch.save(pair.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(log_weight(other, x, latents), expected)


@every_pair
def test_float32_gives_the_numbers_of_float64(name):
    single, x = make(name, dtype=torch.float32), batch(name, torch.float32)
    torch.manual_seed(9)
    latents = draws(name, single, x)
    weight = log_weight(single, x, latents)
    assert weight.dtype == torch.float32
    double = {site: z.double() if z.is_floating_point() else z for site, z in latents.items()}
    # One tensor was drawn in float32, so only the arithmetic may differ.
    assert math.isclose(weight.item(), log_weight(single.double(), x.double(), double).item(), rel_tol=1e-4, abs_tol=1e-3)


def closed_forms(pair, x):
    """Everything that a pair knows exactly about a batch."""
    names = ("log_evidence", "elbo", "joint_log_evidence", "joint_elbo")
    return {name: getattr(pair, name)(x) for name in names if hasattr(pair, name)}


@every_pair
def test_closed_forms_have_one_number_per_datum_or_one_in_all(name):
    pair, x = make(name), batch(name)
    for form, value in closed_forms(pair, x).items():
        assert value.shape == (() if form.startswith("joint") else (DATA,))
        assert value.requires_grad
    forms = {form.removeprefix("joint_"): value for form, value in closed_forms(pair, x).items()}
    if forms:
        assert (forms["elbo"] <= forms["log_evidence"]).all()


def check_on_device(name, pair, x):
    """Run all of a pair where there is nothing to compute with, and see that everything stays on the device."""
    latents = draws(name, pair, x)
    assert all(z.device == x.device for z in latents.values())
    for role in ("model", "guide"):
        assert all(value.device == x.device for value in log_probs(pair, x, latents, role).values())
    log_weight(pair, x, latents).backward()
    assert all(parameter.grad.device == x.device for parameter in pair.parameters())
    assert all(value.device == x.device for value in closed_forms(pair, x).values())


@contextmanager
def without_validation():
    """Validation asks tensors for their values, which neither meta nor fake tensors have."""
    before = torch.distributions.Distribution._validate_args
    with pyro.validation_enabled(False):
        torch.distributions.Distribution.set_default_validate_args(False)
        try:
            yield
        finally:
            torch.distributions.Distribution.set_default_validate_args(before)


@every_pair
def test_it_runs_on_the_meta_device(name):
    pair = make(name).to("meta")
    with without_validation():
        check_on_device(name, pair, batch(name).to("meta"))


@every_pair
def test_it_mixes_no_devices_and_waits_for_none(name):
    check_on_fake_device(name, make(name), CASES[name].event)


def check_on_fake_device(name, pair, event):
    """Run a pair on fake tensors, which refuse every operation on two devices and every look at a value.

    Plain meta tensors let a matrix product with a CPU tensor pass. Fake ones of device `cuda:0` would do as well, but
    in a torch built without CUDA they can be neither indexed nor copied into, and autograd aborts the process.
    """
    # Non-fake inputs are allowed, and become fake ones of their own device, for the meta scalar that a number such as
    # the 1.0 of `Normal(loc, 1.0)` is turned into.
    with without_validation(), FakeTensorMode(allow_non_fake_inputs=True):
        for module in pair.modules():
            for key, parameter in module.named_parameters(recurse=False):
                fake = torch.empty(parameter.shape, dtype=parameter.dtype, device="meta")
                module._parameters[key] = nn.Parameter(fake)
            for key, buffer in module.named_buffers(recurse=False):
                module._buffers[key] = torch.empty(buffer.shape, dtype=buffer.dtype, device="meta")
        check_on_device(name, pair, torch.empty(DATA, event, dtype=torch.float64, device="meta"))


class Careless(Pair):
    """A pair with a fault that a CPU forgives."""

    def __init__(self, fault):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(2))
        self.fault = fault

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", elementwise(dist.Normal(x.new_zeros(2), 1.0)))
            pyro.sample("x", elementwise(dist.Normal(self.fault(z), 1.0)), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", elementwise(dist.Normal(self.loc, 1.0)))


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (lambda z: z, None),
        (lambda z: z + torch.zeros(2), "device"),
        (lambda z: z @ torch.eye(2, dtype=z.dtype), "device"),
        (lambda z: z.gather(-1, torch.zeros(DATA, 2, dtype=torch.long)), "device"),
        (lambda z: z * z.sum().item(), "_local_scalar_dense"),
        (lambda z: z if (z > 0).all() else -z, "_local_scalar_dense"),
    ],
    ids=["none", "default device", "in a product", "in an index", "item", "bool"],
)
def test_fake_tensors_catch_what_a_gpu_would_suffer_from(fault, error):
    pair = Careless(fault).double()
    if error is None:
        check_on_fake_device("careless", pair, 2)
        return
    with pytest.raises(Exception, match=error):
        check_on_fake_device("careless", pair, 2)
