"""Every autoguide of Pyro in compiled training: the steps are those of eager training."""

from __future__ import annotations

from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.distributions.transforms import block_autoregressive, iterated, spline_autoregressive
from pyro.infer import autoguide as auto

from pyrogen.inference import fit
from pyrogen.pair import Pair

X = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))


def model(x):
    mean = pyro.sample("mean", dist.Normal(torch.zeros(3), 1.0).to_event(1))
    scale = pyro.sample("scale", dist.LogNormal(0.0, 0.5))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(mean, scale).to_event(1), obs=x)


def parts(model):
    guide = auto.AutoGuideList(model)
    guide.append(auto.AutoNormal(poutine.block(model, expose=["mean"])))
    guide.append(auto.AutoDelta(poutine.block(model, expose=["scale"])))
    return guide


SPLINES, BLOCKS = partial(iterated, 1, spline_autoregressive), partial(iterated, 2, block_autoregressive)
GUIDES = {
    "AutoDelta": auto.AutoDelta,
    "AutoNormal": auto.AutoNormal,
    "AutoDiagonalNormal": auto.AutoDiagonalNormal,
    "AutoMultivariateNormal": auto.AutoMultivariateNormal,
    "AutoLowRankMultivariateNormal": partial(auto.AutoLowRankMultivariateNormal, rank=2),
    "AutoGaussian": auto.AutoGaussian,
    "AutoStructured": partial(auto.AutoStructured, conditionals="normal", dependencies="linear"),
    "AutoStructured of MVN": partial(auto.AutoStructured, conditionals="mvn"),
    "AutoIAFNormal": auto.AutoIAFNormal,
    "AutoNormalizingFlow of splines": lambda model: auto.AutoNormalizingFlow(model, SPLINES),
    "AutoNormalizingFlow of blocks": lambda model: auto.AutoNormalizingFlow(model, BLOCKS),
    "AutoLaplaceApproximation": auto.AutoLaplaceApproximation,
    "AutoNormalMessenger": auto.AutoNormalMessenger,
    "AutoHierarchicalNormalMessenger": auto.AutoHierarchicalNormalMessenger,
    "AutoRegressiveMessenger": auto.AutoRegressiveMessenger,
    "AutoGuideList": parts,
}


def test_all_are_here():
    bases = {"AutoGuide", "AutoContinuous", "AutoMessenger", "AutoCallable", "AutoDiscreteParallel"}
    named = {name for name in auto.__all__ if name.startswith("Auto")} - bases
    assert named == {name.split()[0] for name in GUIDES}


@pytest.mark.parametrize("guide", GUIDES.values(), ids=GUIDES)
def test_graph_and_eager_steps_agree(guide):
    fitted = []
    for compile in (False, "graph"):
        pyro.clear_param_store()
        torch.manual_seed(3)
        pair = Pair.of(model, guide(model))
        before = [value.detach().clone() for value in pair.initialise(X).parameters()]
        fit(pair, X, steps=5, optimizer=partial(torch.optim.SGD, lr=0.05), seed=0, progress=False, compile=compile)
        fitted.append([value.detach() for value in pair.parameters()])
        assert any(not torch.equal(value, start) for value, start in zip(fitted[-1], before, strict=True))
    for ours, eager in zip(fitted[1], fitted[0], strict=True):
        torch.testing.assert_close(ours, eager, rtol=1e-4, atol=1e-5)
