"""`compare` by recorded graphs: the same draws, the same numbers, the same refusals."""

from __future__ import annotations

import functools

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyrogen import Pair
from pyrogen.errors import GraphMismatch, NotPerDatum, NotTraceable, PairError
from pyrogen.inference import ELBO, IWAE, ImportanceSampling, Renyi, compare
from pyrogen.inference.graphs import SharedGraphs
from pyrogen.inference.weights.chunk_weights import _difference
from pyrogen.inference.weights.chunks import log_weights
from pyrogen.models import VAE, DiscreteVAE, GlobalGaussian, LinearGaussianVAE

compare = functools.partial(compare, device="cpu")


def binary(rows=10, width=6):
    return (torch.rand(rows, width, generator=torch.Generator().manual_seed(0)) < 0.5).float()


def real(rows=10, width=3):
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(0))


def vae():
    pair = VAE((6,), latent=2, hidden=(8,))
    pair.encoder.net.insert(2, nn.BatchNorm1d(8))  # before the activation, a bias's gradient would be nothing but rounding
    pair.encoder.net.insert(3, nn.Dropout(0.3))
    return pair


class TwoLayers(Pair):
    """Two latents, one with an event of its own and one in a plate inside the data's."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(0.7)), nn.Parameter(torch.tensor([0.3, 0.2]))

    def model(self, x):
        with pyro.plate("data", len(x), dim=-2):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1).expand([len(x), 1]))
            with pyro.plate("columns", 3, dim=-1):
                w = pyro.sample("w", dist.Normal(self.a * z[..., 0], 1.0))
                pyro.sample("x", dist.Normal(w + z[..., 1], 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x), dim=-2):
            loc = x.mean(-1, keepdim=True)
            z = pyro.sample("z", dist.Normal(self.b * loc.unsqueeze(-1), 0.8).to_event(1))
            with pyro.plate("columns", 3, dim=-1):
                pyro.sample("w", dist.Normal(0.5 * x + self.b[0] * z[..., 0], 0.7))


CASES = {
    "vae": (vae, binary()),
    "linear": (lambda: LinearGaussianVAE((3,), latent=2), real()),
    "discrete": (lambda: DiscreteVAE((6,), latent=2), binary()),
    "two latents": (TwoLayers, real()),
    "double precision": (lambda: LinearGaussianVAE((3,), latent=2).double(), real().double()),
}


def estimators():
    return [
        ELBO(draws=20),
        ELBO(2, kl="sampled", draws=20),
        IWAE(5, draws=8),
        Renyi(0.5, 5, draws=8),
        ImportanceSampling(600, draws=8, max_bytes=2**19),
    ]


@pytest.mark.parametrize("case", CASES)
def test_estimates_are_those_of_the_pair(case):
    make, batch = CASES[case]
    torch.manual_seed(0)
    pair = make()
    generator = torch.get_rng_state()
    by_pair, by_graph = (compare(pair, batch, estimators(), compile=compile, seed=3) for compile in (False, "graph"))
    assert torch.equal(generator, torch.get_rng_state())
    for one, other in zip(by_pair.estimates, by_graph.estimates, strict=True):
        assert one.name == other.name
        for field in ("log_prob", "standard_error", "khat", "ess"):
            expected, seen = getattr(one, field), getattr(other, field)
            if expected is None:
                assert seen is None
            else:
                torch.testing.assert_close(seen, expected, rtol=1e-4, atol=1e-5, equal_nan=True)
    drawn, again = by_pair.estimates[-1].draws, by_graph.estimates[-1].draws
    torch.testing.assert_close(drawn.log_likelihood, again.log_likelihood, rtol=1e-4, atol=1e-5)
    assert drawn.latents.keys() == again.latents.keys()
    for name, value in drawn.latents.items():
        torch.testing.assert_close(value, again.latents[name], rtol=1e-4, atol=1e-5)


def test_chunks_of_one_shape_share_a_graph():
    pair, batch = LinearGaussianVAE((3,), latent=2), real(300)
    for particles in (7, 1000):
        torch.manual_seed(1)
        expected = log_weights(pair, batch, particles)
        torch.manual_seed(1)
        graphs = SharedGraphs("graph")
        report = graphs.report
        seen = log_weights(pair, batch, particles, compile=graphs)
        assert 1 <= report.graphs <= 4
        before = report.graphs
        log_weights(pair, batch, particles, compile=graphs)
        assert report.graphs == before
        assert report.checks > before
        assert report.fallback is None
        torch.testing.assert_close(seen, expected)


def test_estimates_share_the_graphs_that_they_are_handed():
    pair, graphs = LinearGaussianVAE((3,), latent=2), SharedGraphs("graph")
    log_weights(pair, real(), 5)
    assert graphs.report.graphs == 0
    of_the_guide = [
        IWAE(5, draws=8),
        ImportanceSampling(40, defensive=0),
        ImportanceSampling(40, defensive=0, smoothing=False),
    ]
    guide_and_prior = [ImportanceSampling(40), ImportanceSampling(40, smoothing=False)]
    for estimators, recorded in ((of_the_guide, 1), (guide_and_prior, 3)):  # 40 particles; 36 of the guide, 4 of the prior
        for estimator in estimators:
            estimator.estimate(pair, real(), compile=graphs)
        assert graphs.report.graphs == recorded
    none = SharedGraphs(False)
    ImportanceSampling(40).estimate(pair, real(), compile=none)
    assert not none
    assert none.report.graphs == 0
    assert SharedGraphs.of(graphs) is graphs


@pytest.mark.parametrize("row", [0, 999])
def test_data_outside_the_support_are_refused_anywhere(row):
    x = binary(1000)
    x[row, 2] = 0.5
    with pytest.raises(PairError, match=rf"site 'x' observes a value outside the support .* index \[{row}, 2\]"):
        compare(vae(), x, [ImportanceSampling(50, max_bytes=2**18)], compile="graph")


def test_what_has_no_evidence_of_each_datum_is_refused():
    with pytest.raises(NotPerDatum):
        compare(GlobalGaussian((3,)), real(), [ELBO()], compile="graph")


class Cheats(Pair):
    """`how` says what Python decides."""

    def __init__(self, how):
        super().__init__()
        self.how, self.runs = how, 0

    def model(self, x):
        self.runs += 1
        factor = {"counts": lambda: 1.0 + self.runs / 10, "reads": lambda: 1.0 + 0.0 * x.sum().item(), "not": lambda: 1.0}[
            self.how
        ]()
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z.unsqueeze(-1).expand(*z.shape, 3), factor**2 + 0.1).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x[:, 0], 1.0))


@pytest.mark.parametrize(("how", "error"), [("counts", GraphMismatch), ("reads", NotTraceable)])
def test_cheats_are_found(how, error):
    with pytest.raises(error):
        compare(Cheats(how), real(), [ELBO()], compile="graph")
    with pytest.warns(UserWarning, match="compile='auto' runs the pair itself") as caught:
        table = compare(Cheats(how), real(), [ELBO(), IWAE(3)], compile="auto")
    assert len(caught) == 1
    if how == "reads":
        expected = compare(Cheats(how), real(), [ELBO(), IWAE(3)])
        for one, other in zip(table.estimates, expected.estimates, strict=True):
            torch.testing.assert_close(one.log_prob, other.log_prob)


def test_auto_is_silent_where_all_is_well():
    table, expected = (compare(Cheats("not"), real(), [ELBO()], compile=compile) for compile in ("auto", False))
    torch.testing.assert_close(table.estimates[0].log_prob, expected.estimates[0].log_prob)


@pytest.mark.parametrize(
    ("graph", "pair", "same"),
    [
        ([1.0, 100.0], [1.001, 100.0], True),  # a rounding error of the largest
        ([1.0, 100.0], [1.01, 100.0], False),
        ([-torch.inf, 1.0], [-torch.inf, 1.0], True),
        ([-torch.inf, 1.0], [-torch.inf, 1.1], False),
        ([torch.inf, 1.0], [-torch.inf, 1.0], False),
        ([0.0, 1.0], [-torch.inf, 1.0], False),
        ([torch.nan, 1.0], [1.0, 1.0], False),
        ([torch.nan, 1.0], [torch.nan, 1.0], True),
    ],
)
def test_log_weights_that_are_not_finite_are_compared_too(graph, pair, same):
    found = _difference({"log_weight": torch.tensor(graph)}, {"log_weight": torch.tensor(pair)})
    assert (found is None) == same
