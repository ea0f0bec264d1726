"""A recorded graph takes the very steps that the pair takes: losses, parameters, buffers, baselines, random numbers."""

from __future__ import annotations

import functools

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoDelta, AutoMultivariateNormal, AutoNormal
from pyro.nn import PyroModule, PyroParam, PyroSample
from torch import nn

from pyrogen import Pair
from pyrogen.inference import ELBO, IWAE, Renyi, linear_warmup
from pyrogen.models import VAE, BetaBernoulli, DiscreteVAE, GlobalGaussian, LinearGaussianVAE

STL, DREG = "sticking-the-landing", "doubly-reparameterized"
STEPS = 4  # the graph is checked against the pair at the first three


def binary(rows=12, width=6, seed=0):
    return (torch.rand(rows, width, generator=torch.Generator().manual_seed(seed)) < 0.5).float()


def real(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def vae():
    pair = VAE((6,), latent=2, hidden=(8,))
    # Nothing is trained before the batch norm: the gradient of a bias that it takes away is rounding, which Adam enlarges.
    pair.encoder.net.insert(0, nn.BatchNorm1d(6))
    pair.encoder.net.insert(3, nn.Dropout(0.3))
    return pair


def frozen_vae():
    pair = vae()
    pair.encoder.net[1].requires_grad_(False)
    return pair


def tied_vae():
    """The decoder's hidden layer is the encoder's too."""
    pair = VAE((6,), latent=6, hidden=(6,))
    pair.encoder.net[0].weight = pair.likelihood.net[0].weight
    return pair


def convolutional_vae():
    return VAE((1, 8, 8), latent=2, hidden=(8,), architecture="conv")


def linear():
    return LinearGaussianVAE((3,), latent=2)


def discrete():
    return DiscreteVAE((6,), latent=2)


def discrete_with_a_spare_layer():
    """Two parameters without a gradient, beside two tensors that the objective carries on."""
    pair = discrete()
    pair.spare = nn.Linear(2, 2)
    return pair


class TwoLayers(Pair):
    def __init__(self):
        super().__init__()
        self.weights = nn.Parameter(torch.tensor([0.7, 0.3, 0.2, 0.5]))
        self.log_scales = nn.Parameter(torch.tensor([-0.3, -0.2, -0.4]))

    def model(self, x):
        with pyro.plate("data", len(x)):
            z1 = pyro.sample("z1", dist.Normal(x.new_zeros(()), 1.0))
            z2 = pyro.sample("z2", dist.Normal(self.weights[0] * z1, 1.0))
            pyro.sample("x", dist.Normal(z2, self.log_scales[0].exp()), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            z1 = pyro.sample("z1", dist.Normal(self.weights[1] * x, self.log_scales[1].exp()))
            pyro.sample("z2", dist.Normal(self.weights[2] * z1 + self.weights[3] * x, self.log_scales[2].exp()))


class Subsampled(Pair):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(0.5)), nn.Parameter(torch.tensor(0.1))

    def model(self, x):
        with pyro.plate("data", len(x), subsample_size=4) as rows:
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Normal(self.a * z, 1.0), obs=x[rows])

    def guide(self, x):
        with pyro.plate("data", len(x), subsample_size=4) as rows:
            pyro.sample("z", dist.Normal(self.b * x[rows], 1.0))


class AwkwardGradients(Pair):
    """Autograd's own gradients here: one tensor for two parameters, a transposed view, an expanded number."""

    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Parameter(torch.ones(3)), nn.Parameter(torch.full((3,), 0.5))
        self.turned = nn.Parameter(torch.arange(6.0).reshape(3, 2) / 5)
        self.summed = nn.Parameter(torch.ones(3))

    def model(self, x):
        pyro.factor("penalty", self.summed.sum())
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(self.one + self.other, 1.0).to_event(1), obs=x[:, :3])
            pyro.sample("y", dist.Normal(self.turned.t(), 1.0).to_event(2), obs=x.reshape(len(x), 2, 3))


class Counts(Pair):
    """What changes from step to step is in a buffer: replaced in one case, written to in the other."""

    def __init__(self, replace):
        super().__init__()
        self.loc, self.spare = nn.Parameter(torch.zeros(6)), nn.Parameter(torch.zeros(2))
        self.register_buffer("seen", torch.zeros(()))
        self.replace = replace

    def model(self, x):
        if self.training and self.replace:
            self.seen = self.seen + 1
        elif self.training:
            self.seen.add_(1)
        with pyro.plate("data", len(x)), pyro.poutine.mask(mask=x[:, 0] > 0):
            pyro.sample("x", dist.Normal(self.loc * (1 + self.seen / 10), 1.0).to_event(1), obs=x)


class Classes(Pair):
    """Takes labels, a number, a word and nothing beside its data."""

    def __init__(self):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(3))

    def model(self, x, y, factor=1.0, kind="normal", nothing=None):
        family = {"normal": dist.Normal, "laplace": dist.Laplace}[kind]
        with pyro.plate("data", len(x)):
            pyro.sample("x", family(self.loc[y], factor), obs=x)


def plain_functions():
    """Two Pyro programs of the old kind: a constrained `pyro.param`, `pyro.module`, a network in a closure."""
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))

    def model(x):
        scale = pyro.param("scale", torch.tensor(0.7), constraint=dist.constraints.positive)
        share = pyro.param("share", torch.tensor([0.2, 0.3, 0.5]), constraint=dist.constraints.simplex)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z.unsqueeze(-1) * share, scale).to_event(1), obs=x)

    def guide(x):
        pyro.module("network", network)
        loc, log_scale = network(x).unbind(-1)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, log_scale.exp()))

    return Pair.of(model, guide)


class Regression(PyroModule):
    """A Bayesian regression written with `PyroModule`, `PyroSample` and `PyroParam`."""

    def __init__(self):
        super().__init__()
        self.linear = PyroModule[nn.Linear](2, 1)
        self.linear.weight = PyroSample(dist.Normal(0.0, 1.0).expand([1, 2]).to_event(2))
        self.scale = PyroParam(torch.tensor(0.5), constraint=dist.constraints.positive)

    def forward(self, x, y):
        mean = self.linear(x).squeeze(-1)
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Normal(mean, self.scale), obs=y)


def regression(guide=AutoNormal):
    model = Regression()
    return Pair.of(model, guide(model))


SIGMA = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
EFFECT = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])


def eight_schools():
    def model(sigma, y):
        mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
        tau = pyro.sample("tau", dist.HalfCauchy(5.0))
        with pyro.plate("data", len(y)):
            theta = pyro.sample("theta", dist.Normal(mu, tau))
            pyro.sample("y", dist.Normal(theta, sigma), obs=y)

    return Pair.of(model, AutoNormal(model))


B, R = [binary(seed=i) for i in range(STEPS)], [real(12, 3, seed=i) for i in range(STEPS)]
LINE = [real(12, seed=i) for i in range(STEPS)]
POINTS = [(real(12, 2, seed=i), real(12, seed=9 + i)) for i in range(STEPS)]
LABELS = torch.arange(12) % 3

CASES = {
    "elbo, batch norm and dropout": (vae, ELBO, B),
    "elbo, sampled": (vae, lambda: ELBO(kl="sampled"), B),
    "elbo, three particles": (linear, lambda: ELBO(3, kl="sampled"), R),
    "elbo, convolutions": (convolutional_vae, ELBO, [binary(6, 64, i) for i in range(STEPS)]),
    "sticking the landing": (linear, lambda: ELBO(2, gradient=STL), R),
    "sticking the landing, two latents": (TwoLayers, lambda: ELBO(2, gradient=STL), LINE),
    "elbo, beta draws": (lambda: BetaBernoulli((6,), 2.0, 3.0), ELBO, B),
    "elbo, global latent": (lambda: GlobalGaussian((3,)), ELBO, R),
    "iwae": (vae, lambda: IWAE(4), B),
    "iwae, doubly reparameterized": (linear, lambda: IWAE(4, gradient=DREG), R),
    "iwae, doubly reparameterized, two latents": (TwoLayers, lambda: IWAE(4, gradient=DREG), LINE),
    "renyi": (linear, lambda: Renyi(0.5, 4), R),
    "renyi of negative order": (linear, lambda: Renyi(-1.0, 3), R),
    "score function, running baseline": (discrete, lambda: ELBO(kl="sampled"), B),
    "score function, parameters without a gradient": (discrete_with_a_spare_layer, lambda: ELBO(kl="sampled"), B),
    "score function, several particles": (discrete, lambda: ELBO(4), B),
    "vimco": (discrete, lambda: IWAE(3), B),
    "subsampled plate": (Subsampled, ELBO, LINE),
    "subsampled plate, iwae": (Subsampled, lambda: IWAE(3), LINE),
    "frozen parameters": (frozen_vae, ELBO, B),
    "tied weights": (tied_vae, ELBO, B),
    "awkward gradients": (AwkwardGradients, ELBO, B),
    "a buffer replaced": (lambda: Counts(replace=True), ELBO, B),
    "a buffer written to": (lambda: Counts(replace=False), ELBO, B),
    "plain functions": (plain_functions, lambda: ELBO(kl="sampled"), R),
    "PyroModule and AutoNormal": (regression, ELBO, POINTS),
    "AutoMultivariateNormal": (lambda: regression(AutoMultivariateNormal), lambda: ELBO(kl="sampled"), POINTS),
    "AutoDelta": (lambda: regression(AutoDelta), lambda: ELBO(kl="sampled"), POINTS),
    "eight schools": (eight_schools, lambda: ELBO(kl="sampled"), [(SIGMA, EFFECT)] * STEPS),
    "tuple": (Classes, ELBO, [(x, LABELS) for x in LINE]),
    "tuple with a number and a word": (Classes, ELBO, [(x, LABELS, 0.5, "laplace") for x in LINE]),
    "dict": (Classes, ELBO, [{"y": LABELS, "x": x} for x in LINE]),
    "dict with a number and nothing": (Classes, ELBO, [{"factor": 2, "y": LABELS, "nothing": None, "x": x} for x in LINE]),
    "double precision": (lambda: vae().double(), ELBO, [x.double() for x in B]),
}


STILL = {
    "frozen parameters": "encoder.net.1.",
    "score function, parameters without a gradient": "spare.",
    "a buffer replaced": "spare",
    "a buffer written to": "spare",
}
"""Parameters that no step moves; all others must have moved."""


@pytest.mark.parametrize("case", CASES)
def test_graph_takes_the_steps_of_the_pair(case, train, assert_same):
    make, objective, batches = CASES[case]
    by_pair, by_graph = (train(make, objective, batches, compile=compile) for compile in (False, "graph"))
    assert_same(by_pair, by_graph)
    assert by_graph.report.graphs == 1
    assert by_graph.report.backend == "graph"
    assert by_graph.report.fallback is None
    still = {name for name, value in by_graph.parameters.items() if torch.equal(value, by_graph.before[name])}
    assert all(name.startswith(("prior", "states", "values", STILL.get(case, "prior"))) for name in still), still


@pytest.mark.parametrize("make", [AwkwardGradients, vae, discrete_with_a_spare_layer], ids=lambda make: make.__name__)
def test_clipping(make, train, assert_same):
    """With SGD, whose steps are as long as the gradient is."""
    options = {"optimizer": functools.partial(torch.optim.SGD, lr=0.5), "clip": 0.05}
    by_pair, by_graph = (train(make, ELBO, B, compile=compile, **options) for compile in (False, "graph"))
    assert_same(by_pair, by_graph)
    unclipped = train(make, ELBO, B, compile="graph", **{**options, "clip": None})
    assert not torch.allclose(unclipped.losses[-1], by_graph.losses[-1])


@pytest.mark.parametrize("make", [vae, TwoLayers, discrete], ids=lambda make: make.__name__)
def test_the_divergence_s_factor_is_an_input(make, train, assert_same):
    options = {"betas": [linear_warmup(4, 0.1)(step) for step in range(STEPS)]}
    batches = LINE if make is TwoLayers else B
    by_pair, by_graph = (train(make, ELBO, batches, compile=compile, **options) for compile in (False, "graph"))
    assert_same(by_pair, by_graph)
    assert by_graph.report.graphs == 1
    assert not torch.allclose(train(make, ELBO, batches, compile="graph").losses[1], by_graph.losses[1])


def test_a_tensor_in_a_closure_is_an_input_too(train, assert_same):
    """Nobody copies it, so what is written to it is seen at once."""
    factor = torch.ones(())

    def model(x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(pyro.param("loc", torch.zeros(6)), factor).to_event(1), obs=x)

    options = {"change": lambda step, _: factor.fill_(1.0 + step)}
    by_pair, by_graph = (train(lambda: Pair.of(model), ELBO, B, compile=c, **options) for c in (False, "graph"))
    assert_same(by_pair, by_graph)
    assert by_graph.report.graphs == 1


def test_a_training_flag_makes_another_graph(train, assert_same):
    def change(step, pair):
        pair.encoder.net[3].train(step != 2)

    by_pair, by_graph = (train(vae, ELBO, B, compile=compile, change=change) for compile in (False, "graph"))
    assert_same(by_pair, by_graph)
    assert by_graph.report.graphs == 2


def test_loaded_parameters_are_seen(train, assert_same):
    torch.manual_seed(5)
    other = vae().state_dict()

    def change(step, pair):
        if step == 3:  # a step at which the graph is not checked against the pair
            pair.load_state_dict(other)

    by_pair, by_graph = (train(vae, ELBO, B, compile=compile, change=change) for compile in (False, "graph"))
    assert_same(by_pair, by_graph)


def test_an_optimizer_of_some_parameters_moves_no_others(train, assert_same):
    """As one for the guide alone; with Adam, and with one whose arithmetic no graph knows."""
    for kind in (torch.optim.Adam, torch.optim.SGD):
        options = {"optimizer": lambda parameters, kind=kind: kind(parameters[:2], lr=0.1)}
        by_pair, by_graph = (train(linear, ELBO, R, compile=compile, **options) for compile in (False, "graph"))
        assert_same(by_pair, by_graph)
        moved = [name for name, value in by_graph.parameters.items() if not torch.equal(value, by_graph.before[name])]
        assert len(moved) == 2


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("decay", [0.0, 0.2])
def test_optimizers(kind, decay, train, assert_same):
    options = {
        "optimizer": lambda parameters: kind(parameters, lr=0.05, weight_decay=decay, maximize=decay > 0),
        "clip": 0.5,
    }
    by_pair, by_graph = (train(linear, ELBO, R, compile=compile, **options) for compile in (False, "graph"))
    assert_same(by_pair, by_graph)


def test_a_learning_rate_that_the_loop_changes(train, assert_same):
    made = []

    def optimizer(parameters):
        made.append(torch.optim.Adam(parameters, lr=0.05))
        return made[-1]

    def change(step, _):
        made[-1].param_groups[0]["lr"] = 0.05 / (1 + step)

    by_pair, by_graph = (
        train(linear, ELBO, R, compile=compile, optimizer=optimizer, change=change) for compile in (False, "graph")
    )
    assert_same(by_pair, by_graph)


def test_a_large_pair_is_stepped_by_the_optimizer_s_own_kernel(train, assert_same):
    """More numbers than the steps of which are recorded as a whole."""
    make = functools.partial(VAE, (6,), latent=2, hidden=(400,))
    options = {"clip": 1.0, "optimizer": functools.partial(torch.optim.Adam, lr=0.01, fused=True)}
    by_pair, by_graph = (train(make, ELBO, B, compile=compile, **options) for compile in (False, "graph"))
    assert_same(by_pair, by_graph)
