"""Pyro's own objectives, by the pair and by its graph, against `pyro.infer.SVI` on the same draws."""

from __future__ import annotations

import functools

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import (
    SVI,
    JitTrace_ELBO,
    RenyiELBO,
    Trace_ELBO,
    TraceEnum_ELBO,
    TraceGraph_ELBO,
    TraceMeanField_ELBO,
    config_enumerate,
)
from pyro.infer.autoguide import AutoNormal
from torch import nn

from pyrogen import Pair
from pyrogen.errors import ConfigurationError, PairError
from pyrogen.inference import ELBO, PyroLoss

ROWS, STEPS, RATE = 10, 5, 0.02
DATA = [torch.randn(ROWS, 3, generator=torch.Generator().manual_seed(i)) for i in range(STEPS)]
BINARY = [(x > 0).float() for x in DATA]


def gaussian():
    """A constrained `pyro.param`, `pyro.module`, batch norm and dropout."""
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.2), nn.Linear(4, 2))

    def model(x):
        scale = pyro.param("scale", torch.tensor(0.7), constraint=dist.constraints.positive)
        weights = pyro.param("weights", torch.tensor([0.2, 0.3, 0.5]), constraint=dist.constraints.simplex)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z.unsqueeze(-1) * weights, scale).to_event(1), obs=x)

    def guide(x):
        pyro.module("network", network)
        loc, log_scale = network(x).unbind(-1)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, log_scale.exp()))

    return model, guide, network


def broadcasting():
    """For several particles at once, in a plate of Pyro's own."""
    network = nn.Linear(3, 2)

    def model(x):
        scale = pyro.param("scale", torch.tensor(0.7), constraint=dist.constraints.positive)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z.unsqueeze(-1).expand(*z.shape, 3), scale).to_event(1), obs=x)

    def guide(x):
        pyro.module("network", network)
        loc, log_scale = network(x).unbind(-1)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, log_scale.exp()))

    return model, guide, network


def subsampled():
    def model(x):
        with pyro.plate("data", len(x), subsample_size=4) as rows, poutine.scale(scale=0.5):
            z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x[rows, 0])

    def guide(x):
        slope = pyro.param("slope", torch.tensor(0.3))
        with pyro.plate("data", len(x), subsample_size=4) as rows, poutine.scale(scale=0.5):
            pyro.sample("z", dist.Normal(slope * x[rows, 0], 0.7))

    return model, guide, None


def mixture():
    """Three clusters; which one a datum belongs to is summed over."""

    @config_enumerate
    def model(x):
        weights = pyro.param("weights", torch.ones(3) / 3, constraint=dist.constraints.simplex)
        with pyro.plate("clusters", 3):
            loc = pyro.sample("loc", dist.Normal(0.0, 2.0))
        with pyro.plate("data", len(x)):
            cluster = pyro.sample("cluster", dist.Categorical(weights))
            pyro.sample("x", dist.Normal(loc[cluster], 0.5), obs=x[:, 0])

    locs = {"loc": torch.tensor([-1.0, 0.0, 1.0])}
    init = pyro.infer.autoguide.initialization.init_to_value(values=locs)
    return model, AutoNormal(poutine.block(model, expose=["loc"]), init_loc_fn=init), None


def enumerated_guide():
    """A discrete latent whose guide is summed over."""

    def model(x):
        bias = pyro.param("bias", torch.tensor([-0.5, 0.5]))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(0.4))
            logits = bias[z.long()].unsqueeze(-1)
            pyro.sample("x", dist.Bernoulli(logits=logits.expand(*logits.shape[:-1], 3)).to_event(1), obs=x)

    @config_enumerate
    def guide(x):
        slope = pyro.param("slope", torch.tensor(0.3))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(logits=slope * x.sum(-1)))

    return model, guide, None


def score_function(**baseline):
    """A discrete latent whose gradient is the score function's, with the baseline asked for."""

    def model(x):
        bias = pyro.param("bias", torch.tensor([-0.5, 0.5]))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(0.4))
            pyro.sample("x", dist.Bernoulli(logits=bias[z.long()].unsqueeze(-1).expand(-1, 3)).to_event(1), obs=x)

    def guide(x):
        slope = pyro.param("slope", torch.tensor(0.3))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(logits=slope * x.sum(-1)), infer={"baseline": baseline} if baseline else {})

    return model, guide, None


decaying = functools.partial(score_function, use_decaying_avg_baseline=True, baseline_beta=0.8)
CASES = {
    "Trace_ELBO": (gaussian, Trace_ELBO, DATA),
    "Trace_ELBO, score function": (score_function, Trace_ELBO, BINARY),
    "Trace_ELBO, subsampled and scaled": (subsampled, Trace_ELBO, DATA),
    "Trace_ELBO, particles one by one": (gaussian, lambda: Trace_ELBO(num_particles=2), DATA),
    "Trace_ELBO, particles at once": (
        broadcasting,
        lambda: Trace_ELBO(num_particles=3, vectorize_particles=True, max_plate_nesting=1),
        DATA,
    ),
    "TraceMeanField_ELBO": (gaussian, TraceMeanField_ELBO, DATA),
    "TraceEnum_ELBO, model": (mixture, lambda: TraceEnum_ELBO(max_plate_nesting=1), DATA),
    "TraceEnum_ELBO, guide": (enumerated_guide, lambda: TraceEnum_ELBO(max_plate_nesting=1), BINARY),
    "TraceGraph_ELBO": (gaussian, TraceGraph_ELBO, DATA),
    "TraceGraph_ELBO, score function": (score_function, TraceGraph_ELBO, BINARY),
    "TraceGraph_ELBO, decaying average": (decaying, TraceGraph_ELBO, BINARY),
    "RenyiELBO": (gaussian, lambda: RenyiELBO(alpha=0.5, num_particles=3), DATA),
    "RenyiELBO, particles at once": (
        broadcasting,
        lambda: RenyiELBO(alpha=0.0, num_particles=3, vectorize_particles=True, max_plate_nesting=1),
        DATA,
    ),
}


def by_svi(case):
    """Losses of Pyro's own SVI, and what its parameter store holds at the end, unconstrained."""
    make, elbo, batches = CASES[case]
    store = pyro.get_param_store()
    with store.scope(), pyro.validation_enabled(False):
        torch.manual_seed(0)
        model, guide, network = make()
        if isinstance(guide, nn.Module):
            with torch.random.fork_rng():
                guide(batches[0])
        svi = SVI(model, guide, pyro.optim.SGD({"lr": RATE / ROWS}), elbo())
        torch.manual_seed(1)
        losses = [float(svi.step(x)) for x in batches]
        values = {name: value.detach().clone() for name, value in store.named_parameters()}
    buffers = {} if network is None else {name: value.clone() for name, value in network.named_buffers()}
    return torch.tensor(losses) / ROWS, values, buffers


@pytest.mark.parametrize("compile", [False, "graph"])
@pytest.mark.parametrize("case", CASES)
def test_steps_are_those_of_svi(case, compile, train):
    make, elbo, batches = CASES[case]
    losses, values, buffers = by_svi(case)
    networks = []

    def pair():
        model, guide, network = make()
        networks.append(network)
        return Pair.of(model, guide)

    found = train(
        pair, lambda: PyroLoss(elbo()), batches, compile=compile, optimizer=functools.partial(torch.optim.SGD, lr=RATE)
    )
    torch.testing.assert_close(torch.stack(found.losses), losses, rtol=1e-5, atol=1e-5)
    assert values
    for name, value in values.items():  # whose names are others in a pair
        mine = [*found.parameters.values(), *found.state.values()]
        gaps = [float((value - other).abs().max()) for other in mine if other.shape == value.shape]
        assert min(gaps, default=1.0) < 1e-5, name
    for name, value in buffers.items():
        torch.testing.assert_close(networks[-1].get_buffer(name), value)
    if case == "TraceGraph_ELBO, decaying average":
        (average,) = found.state.values()
        assert float(average.abs().min()) > 0.1
        assert type(average) is torch.Tensor


def test_running_averages_are_no_parameters():
    model, guide, _ = decaying()
    pair, objective = Pair.of(model, guide), PyroLoss(TraceGraph_ELBO())
    loss, state, _ = objective.compute(pair, BINARY[0], {})
    loss.backward()
    assert {name for name, _ in pair.named_parameters()} == {"pyro_params.bias", "pyro_params.slope"}
    assert len(pyro.get_param_store()) == 0
    (average,) = state.values()
    assert type(average) is torch.Tensor
    assert not average.requires_grad
    (following,) = objective.compute(pair, BINARY[1], state).state.values()
    assert not torch.equal(average, following)


@pytest.mark.parametrize(
    ("elbo", "fragment"),
    [
        (Trace_ELBO, "the class Trace_ELBO"),
        ("Trace_ELBO", "not str"),
        (JitTrace_ELBO(), "pass Trace_ELBO and fit with compile=True"),
    ],
)
def test_what_is_no_objective_of_pyro_is_refused(elbo, fragment):
    with pytest.raises(ConfigurationError, match=fragment):
        PyroLoss(elbo)


def test_no_factor_of_the_divergence():
    model, guide, _ = gaussian()
    with pytest.raises(ConfigurationError, match="use ELBO for KL warm-up"):
        PyroLoss(Trace_ELBO()).loss(Pair.of(model, guide), DATA[0], beta=torch.tensor(0.5))


def test_a_latent_to_be_summed_out_is_refused_elsewhere_by_name():
    def model(x):
        with pyro.plate("data", len(x)):
            which = pyro.sample("which", dist.Bernoulli(0.3), infer={"enumerate": "parallel"})
            pyro.sample("x", dist.Normal(pyro.param("loc", torch.zeros(2))[which.long()], 1.0), obs=x)

    x = torch.zeros(4)
    with pytest.raises(PairError, match=r"'which'.*TraceEnum_ELBO"):
        ELBO().loss(Pair.of(model, lambda x: None), x)
    with pytest.raises(PairError, match=r"'which'.*TraceEnum_ELBO"):
        ELBO(draws=2).estimate(Pair.of(model, lambda x: None), x)
