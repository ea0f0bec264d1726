"""Every causal network under `Autoregressive`: causal, a density, drawn as it scores, broadcast, saved, on any device."""

from __future__ import annotations

import inspect
import io
import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from causal_cases import CASES
from pyro import poutine
from scipy.stats import chi2
from torch._subclasses.fake_tensor import FakeTensorMode

from pyrogen.distributions import Autoregressive
from pyrogen.distributions.families import Bernoulli, Categorical, DiscretizedLogisticMixture
from pyrogen.nets import causal
from pyrogen.nets.causal import check_causal

DRAWS = 20_000
DTYPES = [(torch.float64, 1e-10), (torch.float32, 1e-5)]
CONTEXTUAL = [name for name, case in CASES.items() if case.make(1, 1).context_shape]
FAMILIES = {
    "bernoulli, two channels": Bernoulli(2, centred=True),
    "categorical": Categorical(3),
    "categorical, one hot": Categorical(3, integers=True, one_hot=True),
    "logistic mixture": DiscretizedLogisticMixture(2, bins=3),
    "logistic mixture, coupled channels": DiscretizedLogisticMixture(2, channels=2, bins=2),
}


def make(name, inputs=1, outputs=1, dtype=torch.float64, seed=0):
    """A network with weights large enough for its conditionals to differ, and small enough for float32."""
    torch.manual_seed(seed)
    network = CASES[name].make(inputs, outputs).to(dtype)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=1.5 / math.sqrt(max(1, parameter[0].numel())) if parameter.dim() > 1 else 0.5)
    return network.eval()


def context_of(network, *batch, seed=1):
    if network.context_shape is None:
        return None
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*batch, *network.context_shape, generator=generator).to(network.example)


def distribution_of(name, family=None, dtype=torch.float64, batch=()):
    family = Bernoulli() if family is None else family
    network = make(name, family.inputs, family.outputs, dtype)
    return Autoregressive(network, family, context_of(network, *batch))


def all_values(distribution):
    """Every value of the event, (values, *event)."""
    support = distribution.family.support
    count = support.upper_bound + 1 if hasattr(support, "upper_bound") else getattr(support, "bins", 2)
    scale = 1 if hasattr(support, "upper_bound") else count - 1
    states = torch.cartesian_prod(*[torch.arange(count)] * distribution.event_shape.numel())
    return (states / scale).reshape(-1, *distribution.event_shape).to(distribution.network.example.dtype)


def ranks_of(network):
    rank = torch.empty(network.positions, dtype=torch.long)
    for index, group in enumerate(network.groups):
        rank[list(group)] = index
    return rank


@torch.no_grad()
def follow(distribution, value):
    """The parameters that the steps give when the values are given: (N, outputs, positions)."""
    network = distribution.network
    encoded = distribution.family.encode(value.reshape(-1, distribution.family.channels, network.positions))
    state = network.start(len(encoded), distribution._context(torch.Size([len(encoded)])))
    found, previous = [], None
    for index, group in enumerate(network.groups):
        parameters, state = network.step(index, previous, state)
        assert parameters.shape == (len(encoded), network.outputs, len(group))
        found.append(parameters.clone())
        previous = encoded[..., list(group)]
    order = torch.tensor([position for group in network.groups for position in group])
    return torch.cat(found, -1)[..., order.argsort()]


def test_every_network_is_a_case():
    public = {getattr(causal, name) for name in causal.__all__}
    networks = {cls for cls in public if isinstance(cls, type) and issubclass(cls, causal.CausalNetwork)}
    made = {type(case.make(1, 1)) for case in CASES.values()}
    assert {cls for cls in networks if not inspect.isabstract(cls)} - made == set()


@pytest.mark.parametrize("name", CASES)
def test_a_batch_of_no_rows_has_no_log_probabilities(name):
    distribution = distribution_of(name, batch=(0,))
    value = torch.zeros(0, *distribution.event_shape, dtype=torch.float64)
    log_prob = distribution.log_prob(value)
    log_prob.sum().backward()
    assert log_prob.shape == (0,)
    assert distribution.complete(value, value == 0).shape == value.shape


@pytest.mark.parametrize("name", CASES)
def test_the_jacobian_is_causal(name):
    network = make(name, 2, 3)
    x = torch.randn(16, 2, *network.grid, dtype=torch.float64, requires_grad=True)
    outputs = network(x, context_of(network, 16)).flatten(2)
    reached = torch.zeros(network.positions, network.positions)  # (to, from)
    for position in range(network.positions):
        weight = torch.randn(outputs.shape[:2], dtype=torch.float64)
        (gradient,) = torch.autograd.grad((outputs[..., position] * weight).sum(), x, retain_graph=True, allow_unused=True)
        if gradient is not None:
            reached[position] = gradient.flatten(2).abs().amax((0, 1))
    rank = ranks_of(network)
    earlier = rank[None] < rank[:, None]
    assert (reached[~earlier] == 0).all()
    assert (reached[earlier] > 0).all() == (not CASES[name].blind)
    check_causal(network)


@pytest.mark.parametrize("name", CASES)
def test_masses_of_all_images_add_up_to_one(name):
    distribution = distribution_of(name)
    masses = distribution.log_prob(all_values(distribution)).exp()
    assert abs(masses.sum() - 1) < 1e-10
    assert masses.std() > 0.1 / len(masses)  # no image would depend on anything if all were as likely


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ["linear, context", "gated, map"])
def test_masses_add_up_to_one_for_every_family(name, family):
    distribution = distribution_of(name, FAMILIES[family])
    assert abs(distribution.log_prob(all_values(distribution)).exp().sum() - 1) < 1e-10


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_steps_give_what_the_parallel_pass_gives(name, dtype, tolerance):
    distribution = distribution_of(name, DiscretizedLogisticMixture(2, channels=2, bins=5), dtype, (7,))
    torch.manual_seed(2)
    value = torch.randint(5, (7, *distribution.event_shape)) / torch.tensor(4, dtype=dtype)
    stepped, parallel = follow(distribution, value), distribution.conditionals(value).flatten(2)
    assert ((stepped - parallel).abs() < tolerance * (1 + parallel.abs())).all()
    log_prob = distribution.family.log_prob(stepped, value.flatten(2)).sum(-1)
    assert ((log_prob - distribution.log_prob(value)).abs() < tolerance * (1 + log_prob.abs())).all()


@pytest.mark.parametrize("name", CASES)
def test_the_sampler_draws_what_a_pass_for_each_step_would(name):
    distribution = distribution_of(name, Categorical(4), batch=(9,))
    network, family = distribution.network, distribution.family
    shape = () if distribution.batch_shape else (9,)
    noise = torch.rand(9, 1, *network.grid, dtype=torch.float64)
    x = torch.zeros(9, 1, network.positions, dtype=torch.float64)
    for group in map(list, network.groups):
        parameters = network(family.encode(x.reshape(9, 1, *network.grid)), distribution.context).flatten(2)
        x[..., group] = family.draw(parameters[..., group], noise.flatten(2)[..., group])
    assert torch.equal(distribution.sample(shape, noise=noise).reshape(x.shape), x)
    assert not distribution.sample(shape).requires_grad


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.make(1, 1).steps_differ])
def test_steps_that_differ_are_not_compiled(name):
    distribution = distribution_of(name, batch=(3,)).expand((3,))
    noise = torch.rand(3, 1, *distribution.network.grid, dtype=torch.float64)
    assert torch.equal(distribution.sample(noise=noise, compile=True), distribution.sample(noise=noise))


def chi_square_limit(counts, expected):
    """The statistic, with rare cells made one, and what it exceeds with a probability of 1e-6."""
    rare = expected < 5
    counts, expected = (
        torch.cat([x[~rare], x[rare].sum()[None]]) if rare.any() else x for x in (counts.double(), expected.double())
    )
    counts, expected = counts[expected > 0], expected[expected > 0]
    return ((counts - expected).square() / expected).sum(), chi2.isf(1e-6, len(counts) - 1)


@pytest.mark.parametrize("name", CASES)
def test_samples_follow_the_density(name):
    distribution = distribution_of(name)
    values = all_values(distribution)
    torch.manual_seed(3)
    with torch.no_grad():
        expected = DRAWS * distribution.log_prob(values).exp()
    powers = 2 ** torch.arange(values[0].numel() - 1, -1, -1, dtype=torch.float64)
    drawn = (distribution.sample((DRAWS,)).flatten(1) @ powers).long()
    statistic, limit = chi_square_limit(torch.bincount(drawn, minlength=len(values)), expected)
    assert statistic < limit


@pytest.mark.parametrize("name", ["linear", "gated", "masked"])
def test_a_completion_follows_the_conditional_distribution(name):
    """Where the known positions come first, exactly."""
    distribution = distribution_of(name)
    values = all_values(distribution)
    known = torch.arange(values[0].numel()).reshape(distribution.event_shape) < 2
    given = values[40]
    fits = ((values == given) | ~known).flatten(1).all(1)
    torch.manual_seed(4)
    with torch.no_grad():
        masses = torch.where(fits, distribution.log_prob(values).exp(), 0.0)
    drawn = distribution.complete(given.expand(DRAWS, *given.shape), known)
    assert torch.equal(drawn[:, known], given[known].expand(DRAWS, -1))
    powers = 2 ** torch.arange(given.numel() - 1, -1, -1, dtype=torch.float64)
    counts = torch.bincount((drawn.flatten(1) @ powers).long(), minlength=len(values))
    statistic, limit = chi_square_limit(counts[fits], DRAWS * (masses / masses.sum())[fits])
    assert statistic < limit


@pytest.mark.parametrize("name", CASES)
def test_a_completion_keeps_what_is_known_and_draws_the_rest(name):
    distribution = distribution_of(name, Categorical(4), batch=(5,))
    shape = () if distribution.batch_shape else (5,)
    noise = torch.rand(5, 1, *distribution.network.grid, dtype=torch.float64)
    drawn, other = distribution.sample(shape, noise=noise), distribution.sample(shape)
    nothing = torch.zeros(distribution.event_shape, dtype=torch.bool)
    assert torch.equal(distribution.complete(other, nothing, noise=noise), drawn)
    assert torch.equal(distribution.complete(other, ~nothing, noise=noise), other)
    some = torch.rand(distribution.event_shape) < 0.5
    mixed = distribution.complete(other, some, noise=noise)
    assert torch.equal(mixed[..., some], other[..., some])
    # What was drawn beside the known values follows from them: with the drawn ones known too, nothing changes.
    assert torch.equal(distribution.complete(mixed, some, noise=noise), mixed)


@pytest.mark.parametrize("name", CONTEXTUAL)
def test_contexts_broadcast(name):
    network = make(name)
    context = context_of(network, 3, 1)
    distribution = Autoregressive(network, context=context)
    value = Autoregressive(network, context=context_of(network, 4)).sample()  # (4, *event)
    assert distribution.batch_shape == (3, 1)
    together = distribution.log_prob(value)
    assert together.shape == (3, 4)
    for particle in range(3):
        for datum in range(4):
            alone = Autoregressive(network, context=context[particle, 0]).log_prob(value[datum])
            assert abs(alone - together[particle, datum]) < 1e-12
    assert (together[0] != together[1]).any(), "the context changes nothing"
    wide = distribution.expand((2, 3, 4))
    assert type(wide) is type(distribution)
    assert wide.sample((5,)).shape == (5, 2, 3, 4, *wide.event_shape)
    assert torch.allclose(wide.log_prob(value), together.expand(2, 3, 4), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_expansion_and_leading_dimensions(name):
    distribution = distribution_of(name)
    wide = distribution.expand((2, 3))
    assert wide.batch_shape == (2, 3)
    assert wide.event_shape == distribution.event_shape
    draws = wide.sample((4,))
    assert draws.shape == (4, 2, 3, *wide.event_shape)
    log_prob = wide.log_prob(draws)
    assert log_prob.shape == (4, 2, 3)
    assert torch.allclose(log_prob, distribution.log_prob(draws), rtol=0, atol=1e-12)
    assert wide.log_prob(draws[0, 0, 0]).shape == (2, 3)
    assert wide.sample((0,)).shape == (0, 2, 3, *wide.event_shape)
    assert wide.support.check(draws).all()


@pytest.mark.parametrize("name", CASES)
def test_it_is_a_site_in_plates_of_data_and_particles(name):
    network = make(name)
    project = torch.nn.Linear(2, math.prod(network.context_shape)).double() if network.context_shape else None

    def model(x=None):
        with pyro.plate("particles", 3, dim=-2), pyro.plate("data", 4, dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros((), dtype=torch.float64), 1).expand((2,)).to_event(1))
            context = None if project is None else project(z).reshape(*z.shape[:-1], *network.context_shape)
            return pyro.sample("x", Autoregressive(network, context=context), obs=x)

    torch.manual_seed(5)
    x = model()
    assert x.shape[:2] == (3, 4)
    trace = poutine.trace(model).get_trace(x[0])
    trace.compute_log_prob()
    assert trace.nodes["x"]["log_prob"].shape == (3, 4)
    trace.nodes["x"]["log_prob"].sum().backward()
    assert any(parameter.grad is not None and (parameter.grad != 0).any() for parameter in network.parameters())


@pytest.mark.parametrize("name", CASES)
def test_what_is_saved_scores_the_same(name):
    network, other = make(name), make(name, seed=6)
    context = context_of(network)
    value = Autoregressive(network, context=context).sample((4,))
    before = Autoregressive(network, context=context).log_prob(value)
    assert not torch.equal(before, Autoregressive(other, context=context).log_prob(value))
    saved = io.BytesIO()
    torch.save(network.state_dict(), saved)
    saved.seek(0)
    other.load_state_dict(torch.load(saved, weights_only=True))
    assert torch.equal(before, Autoregressive(other, context=context).log_prob(value))


@pytest.mark.parametrize("name", CASES)
def test_evaluation_is_deterministic_and_drawing_leaves_the_mode(name):
    distribution = distribution_of(name)
    value = distribution.sample((4,))
    assert torch.equal(distribution.log_prob(value), distribution.log_prob(value))
    noise = torch.rand(4, 1, *distribution.network.grid, dtype=torch.float64)
    drawn = distribution.sample((4,), noise=noise)
    distribution.network.train()
    modes = [module.training for module in distribution.network.modules()]
    assert torch.equal(distribution.sample((4,), noise=noise), drawn)
    assert [module.training for module in distribution.network.modules()] == modes


@pytest.mark.parametrize("name", CASES)
def test_it_runs_on_the_meta_device(name):
    network = make(name).to("meta")
    distribution = Autoregressive(network, context=context_of(network, 3), validate_args=False).expand((3,))
    value = distribution.sample()
    assert value.device.type == "meta"
    log_prob = distribution.log_prob(value)
    log_prob.sum().backward()
    assert log_prob.shape == (3,)
    assert all(p.grad is None or p.grad.device.type == "meta" for p in network.parameters())


@pytest.mark.skipif(
    not torch.backends.cuda.is_built(), reason="a torch without CUDA can't take a slice of a fake CUDA tensor"
)
@pytest.mark.parametrize("name", CASES)
def test_it_runs_with_fake_cuda_tensors(name):
    network = make(name)
    shape = network.context_shape
    with FakeTensorMode(allow_non_fake_inputs=True):
        for module in network.modules():
            for tensors in (module._parameters, module._buffers):
                for key, tensor in tensors.items():
                    if tensor is not None:
                        tensors[key] = torch.empty(tensor.shape, dtype=tensor.dtype, device="cuda")
        context = None if shape is None else torch.empty(3, *shape, dtype=torch.float64, device="cuda")
        distribution = Autoregressive(network, context=context, validate_args=False).expand((3,))
        value = distribution.sample()
        assert value.device.type == "cuda"
        assert distribution.log_prob(value).device.type == "cuda"
        assert distribution.complete(value, value > 0).device.type == "cuda"


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", CASES)
def test_a_real_device_scores_and_draws_what_the_cpu_does(name):
    distribution = distribution_of(name, batch=(5,)).expand((5,))
    noise = torch.rand(5, 1, *distribution.network.grid, dtype=torch.float64)
    drawn = distribution.sample(noise=noise)
    scored = distribution.log_prob(drawn)
    context = None if distribution.context is None else distribution.context.cuda()
    there = Autoregressive(distribution.network.cuda(), context=context).expand((5,))
    assert torch.equal(there.sample(noise=noise.cuda()).cpu(), drawn)
    assert (there.log_prob(drawn.cuda()).cpu() - scored).abs().max() < 1e-10


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.compiles])
def test_compiled_samples_are_those_of_the_eager_sampler(name):
    distribution = distribution_of(name, batch=(3,))
    shape = () if distribution.batch_shape else (3,)
    noise = torch.rand(3, 1, *distribution.network.grid, dtype=torch.float64)
    drawn = distribution.sample(shape, noise=noise)
    assert torch.equal(distribution.sample(shape, noise=noise, compile=True), drawn)
    assert distribution_of(name)._validate_args, "the compiler has turned off validation"
    some = torch.rand(distribution.event_shape) < 0.5
    completed = distribution.complete(1 - drawn, some, noise=noise)
    assert torch.equal(distribution.complete(1 - drawn, some, noise=noise, compile=True), completed)
