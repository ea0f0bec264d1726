"""Graphs compiled by inductor: few tests of tiny pairs, for each takes seconds."""

from __future__ import annotations

import functools
import os
import shutil

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyrogen import Pair
from pyrogen.inference import ELBO
from pyrogen.inference.graphs import SharedGraphs, shared
from pyrogen.inference.graphs.passes import least_flops
from pyrogen.inference.weights.chunks import log_weights
from pyrogen.models import LinearGaussianVAE

pytestmark = pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None and shutil.which("clang++") is None,
    reason="inductor needs a C++ compiler",
)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path, inductor):
    """A cache of its own, so that no run finds what an earlier one has compiled."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))


class Everything(Pair):
    """Batch norm, dropout, a counter in a buffer, a discrete latent beside a continuous one, and awkward gradients."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 3))
        self.one, self.other = nn.Parameter(torch.ones(3)), nn.Parameter(torch.full((3,), 0.5))
        self.turned = nn.Parameter(torch.arange(6.0).reshape(3, 2) / 5)
        self.spare = nn.Parameter(torch.zeros(2))
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("runs", torch.zeros(()))

    def model(self, x):
        if self.training:
            self.seen = self.seen + 1
            self.runs.add_(1)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            c = pyro.sample("c", dist.Bernoulli(x.new_full((), 0.4)))
            mean = (z @ self.turned.t() + self.one + self.other) * (1 + c.unsqueeze(-1) / (1 + self.seen))
            pyro.sample("x", dist.Normal(mean, 1.0).to_event(1), obs=x)

    def guide(self, x):
        loc, logit = self.net(x).split([2, 1], -1)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, 0.8).to_event(1))
            pyro.sample("c", dist.Bernoulli(logits=logit.squeeze(-1)))


BATCHES = [torch.randn(8 if i != 2 else 5, 3, generator=torch.Generator().manual_seed(i)) for i in range(5)]


def test_steps_are_those_of_the_pair(train, assert_same):
    options = {"clip": 0.5, "betas": [0.2, 0.4, 0.6, 0.8, 1.0], "optimizer": functools.partial(torch.optim.SGD, lr=0.3)}
    by_pair, by_inductor = (
        train(Everything, lambda: ELBO(kl="sampled"), BATCHES, compile=compile, **options) for compile in (False, True)
    )
    assert_same(by_pair, by_inductor, rtol=1e-4, atol=1e-5)
    report = by_inductor.report
    assert (report.backend, report.graphs, report.compilations) == ("inductor", 2, 1)
    assert report.modes["8x3 () () ()"] == "inductor"
    assert report.modes["5x3 () () ()"] == "graph"  # a rare shape is not worth compiling
    assert report.compile_seconds > 0
    assert float(by_inductor.parameters["seen"]) == float(by_inductor.parameters["runs"]) == 5


def test_log_weights_are_those_of_the_pair(monkeypatch):
    monkeypatch.setattr(shared, "_COMPILE_AFTER", 1)  # chunks
    torch.manual_seed(0)
    pair, weights = LinearGaussianVAE((3,), latent=2), {}
    for compile in (False, True):
        torch.manual_seed(1)
        graphs = SharedGraphs(compile)
        weights[compile] = log_weights(pair, BATCHES[0], 1024, compile=graphs)
    report = graphs.report
    assert (report.backend, report.compilations) == ("inductor", 1)
    torch.testing.assert_close(weights[True], weights[False], rtol=1e-4, atol=1e-5)


class Views(Pair):
    """Constants, and data, that lie otherwise in memory than their shapes say."""

    def __init__(self):
        super().__init__()
        self.loc, self.map = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(3, 4))
        self.prior, self.wide = torch.zeros(1).expand(4), torch.ones(4, 6)

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(self.prior, 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z @ self.wide[:, ::2] + self.loc, 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x @ self.map, 1.0).to_event(1))


def test_expanded_and_sliced_tensors_are_taken_as_they_lie(train, assert_same, caplog):
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(9))
    wide = torch.empty(8, 6)
    wide[:, ::2] = x
    batches = [x[:1].expand(8, 3), wide[:, ::2], x.T.contiguous().T, x, x[:1].expand(8, 3)]
    by_pair, by_inductor = (train(Views, ELBO, batches, compile=compile) for compile in (False, True))
    assert_same(by_pair, by_inductor, rtol=1e-4, atol=1e-5)
    assert by_inductor.report.backend == "inductor"
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == []


def test_double_precision_by_default(train, assert_same):
    torch.set_default_dtype(torch.float64)
    try:
        least_flops.cache_clear()
        batches = [batch.double() for batch in BATCHES[:2]]
        by_pair, by_inductor = (train(Views, ELBO, batches, compile=compile) for compile in (False, True))
    finally:
        torch.set_default_dtype(torch.float32)
    assert_same(by_pair, by_inductor, rtol=1e-9, atol=1e-10)
