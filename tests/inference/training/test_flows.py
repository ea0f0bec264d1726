"""Flows remember the last value that they have transformed: neither training nor evaluation takes it for that of today."""

import pyro
import pyro.distributions as dist
import pyro.distributions.transforms as T
import pytest
import torch

from pyrogen.inference import fit, log_weights
from pyrogen.pair import Pair

X = torch.randn(60, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
FLOWS = {
    "spline coupling": lambda: T.spline_coupling(2, count_bins=4),
    "spline": lambda: T.spline(2, count_bins=4),
    "affine autoregressive": lambda: T.affine_autoregressive(2, hidden_dims=[4]).inv,
    "spline autoregressive": lambda: T.spline_autoregressive(2, hidden_dims=[4], count_bins=4).inv,
    "batch norm and affine coupling": lambda: T.ComposeTransformModule([T.batchnorm(2), T.affine_coupling(2, [4])]),
    "radial, inverted": lambda: T.radial(2).inv,
    "householder": lambda: T.householder(2, 2),
}


def likelihood(build):
    """A flow as a likelihood, and an affine layer before it, which has parameters in any case."""
    torch.manual_seed(0)
    flow = build()
    module = (flow if isinstance(flow, torch.nn.Module) else flow.inv).double()

    def model(x):
        pyro.module("flow", module)
        loc = pyro.param("loc", x.new_zeros(2))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.TransformedDistribution(dist.Normal(loc, 1.0).to_event(1), [flow]), obs=x)

    return Pair.of(model)


@pytest.mark.parametrize("build", FLOWS.values(), ids=FLOWS)
def test_a_flow_is_trained_on_one_batch_again_and_again(build):
    losses = []
    for compile in (False, "graph"):
        run = fit(likelihood(build), X, steps=6, batch_size=60, lr=0.05, log_every=1, progress=False, compile=compile)
        losses.append([row["loss"] for row in run.history])
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)
    assert losses[0][-1] < losses[0][0]


@pytest.mark.parametrize("build", FLOWS.values(), ids=FLOWS)
def test_an_evaluation_is_that_of_the_parameters_of_now(build):
    pair = likelihood(build)
    before = log_weights(pair, X, 1)
    with torch.no_grad():
        for parameter in pair.parameters():
            parameter.mul_(1.5).add_(0.1)
    after = log_weights(pair, X, 1)
    assert not torch.allclose(before, after)
    assert torch.equal(log_weights(pair, X.clone(), 1), after)
