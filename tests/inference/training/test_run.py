"""A run read back from its directory, and what its pair makes of data."""

from __future__ import annotations

import functools

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoNormal
from torch import nn
from torch.distributions import constraints

from pyrogen import Pair
from pyrogen.distributions import BayesianNetwork, Variable
from pyrogen.errors import CheckpointError, ConfigurationError, DataError, PairError
from pyrogen.inference import ELBO, Run, encode, fit, interpolate, reconstruct, sample
from pyrogen.models import VAE, DiscreteVAE, GlobalGaussian, LinearGaussianVAE, PixelCNNModel

fit = functools.partial(fit, device="cpu", progress=False)
X = torch.bernoulli(torch.rand(20, 9, generator=torch.Generator().manual_seed(0)))


class Two(Pair):
    """Two layers of latents, the second of which depends on the first; a class for each datum besides."""

    def __init__(self, scale: float = 0.5):
        super().__init__()
        self.scale = scale

    def model(self, x):
        with pyro.plate("data", len(x)):
            c = pyro.sample("c", dist.Categorical(logits=x.new_zeros(3)))
            first = pyro.sample("first", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            second = pyro.sample("second", dist.Normal(first, 1.0).to_event(1))
            loc = second.sum(-1, keepdim=True) + c.unsqueeze(-1)
            pyro.sample("x", dist.Normal(loc.expand(*loc.shape[:-1], 9), 1.0).to_event(1), obs=x)

    def guide(self, x):
        logits = pyro.param("logits", torch.tensor([0.0, 2.0, 0.0]))
        scale = pyro.param("scale", lambda: torch.tensor(self.scale), constraint=constraints.positive)
        with pyro.plate("data", len(x)):
            pyro.sample("c", dist.Categorical(logits=logits))
            first = pyro.sample("first", dist.Normal(x[:, :2] * 3, scale).to_event(1))
            pyro.sample("second", dist.Normal(2 * first, scale).to_event(1))


class Lawn(Pair):
    def __init__(self):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([0.2, 0.8]).log())

    def model(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", BayesianNetwork([Variable("rain", self.logits.log_softmax(-1))]), obs=x)


class Generator(Pair):
    def __init__(self, outputs: int):
        super().__init__()
        self.net = nn.Linear(2, outputs)

    def draw(self, count):
        with pyro.plate("data", count, dim=-1):
            z = pyro.sample("z", dist.Normal(self.net.weight.new_zeros(2), 1.0).to_event(1))
        return self.net(z)


def functions():
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z.unsqueeze(-1).expand(*z.shape, 9), 1.0).to_event(1), obs=x)

    return Pair.of(model, AutoNormal(model))


PAIRS = {
    "vae": lambda: VAE((9,), latent=2, hidden=[4], prior="mixture:components=2"),
    "oracle": lambda: LinearGaussianVAE((9,), latent=2),
    "visible": lambda: PixelCNNModel((1, 3, 3), features=4, layers=2),
    "parameters of Pyro": lambda: Two(scale=0.7),
    "shared latent": lambda: GlobalGaussian((9,)),
}


@pytest.mark.parametrize("case", PAIRS)
def test_a_run_comes_back(case, tmp_path):
    validation = None if case == "shared latent" else X
    run = fit(PAIRS[case](), X, steps=4, batch_size=10, directory=tmp_path, validation=validation, log_every=2)
    again = Run.load(tmp_path)
    assert type(again.pair) is type(run.pair)
    assert not again.pair.training
    assert again.pair.state_dict().keys() == run.pair.state_dict().keys()
    assert all(torch.equal(value, run.pair.state_dict()[name]) for name, value in again.pair.state_dict().items())
    assert (again.steps, again.history, again.config) == (4, run.history, run.config)
    assert torch.equal(again.sample(3, seed=1), run.sample(3, seed=1))
    assert again.sample(3).shape == (3, 9)
    assert str(again) == str(run)


def test_a_pair_made_of_functions_is_given(tmp_path):
    run = fit(functions(), X, steps=4, batch_size=20, directory=tmp_path)
    with pytest.raises(
        ConfigurationError, match=r"model is model, which no module .* guide is an AutoNormal.*pair=Pair\.of"
    ):
        Run.load(tmp_path)
    again = Run.load(tmp_path, functions())  # whose autoguide has no parameters yet
    assert all(torch.equal(value, run.pair.state_dict()[name]) for name, value in again.pair.state_dict().items())
    assert again.encode(X)["z"].shape == (20,)
    with pytest.raises(CheckpointError, match="it belongs to a pair built with other arguments"):
        Run.load(tmp_path, LinearGaussianVAE((9,), latent=2))


def test_a_sampler_s_run(tmp_path):
    from pyrogen.inference import Loss, Objective

    class Means(Objective):
        name, needs = "means", "draws"

        def compute(self, pair, batch, state, *, beta=1.0):
            with pair.scope():
                return Loss((pair.draw(10).mean(0) - batch.mean(0)).square().sum(), state)

    fit(Generator(9), X, steps=2, objective=Means(), directory=tmp_path)
    assert Run.load(tmp_path).sample(4).shape == (4, 9)


def test_parameters_are_the_best_and_are_said_to_be(tmp_path):
    class Falling(ELBO):
        calls = 0

        def estimate(self, *args, **options):
            found = super().estimate(*args, **options)
            Falling.calls += 1
            found.log_prob.fill_(-float(Falling.calls))
            return found

    pair = LinearGaussianVAE((9,), latent=2)
    given = {"validation": X, "validation_estimator": Falling(draws=2), "patience": 2, "directory": tmp_path}
    run = fit(pair, X, epochs=9, batch_size=10, lr=0.1, **given)
    assert run.stopped_early
    assert "fitted in 6 steps" in str(run)
    assert "stopped early" in str(run)
    assert "validation ELBO -1.00 nats per datum" in str(run)
    again = Run.load(tmp_path)
    assert again.stopped_early
    assert all(torch.equal(value, pair.state_dict()[name]) for name, value in again.pair.state_dict().items())


def test_what_a_run_says(tmp_path):
    run = fit(LinearGaussianVAE((9,), latent=2), X, steps=4, batch_size=10, directory=tmp_path)
    loss = run.history[-1]["loss"]
    assert str(run).startswith("LinearGaussianVAE: ")
    assert f"parameters, fitted in 4 steps, {run.history[-1]['seconds']:.1f} s; ELBO {-loss:.2f} nats per datum" in str(run)
    assert repr(run) == f"<Run: LinearGaussianVAE, 4 steps, {tmp_path}>"
    assert run.config["built"]["class_path"] == "pyrogen.models.linear_gaussian:LinearGaussianVAE"


BAD = {
    "no configuration": (lambda path: (path / "config.yaml").unlink(), ConfigurationError, "name the directory that a fit"),
    "no mapping": (lambda path: (path / "config.yaml").write_text("- 3"), ConfigurationError, "is no configuration"),
    "no YAML": (lambda path: (path / "config.yaml").write_text("a: ["), ConfigurationError, "cannot be read"),
    "no recipe": (
        lambda path: (path / "config.yaml").write_text("a: 3"),
        ConfigurationError,
        "the pair is not described there",
    ),
    "no pair": (
        lambda path: (path / "config.yaml").write_text("built: {class_path: 'fractions:Fraction'}"),
        ConfigurationError,
        "fractions:Fraction is no pair",
    ),
    "no checkpoint": (lambda path: (path / "checkpoint.pt").unlink(), CheckpointError, "does not exist"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_directory_that_holds_no_run(case, tmp_path):
    fit(LinearGaussianVAE((9,), latent=2), X, steps=1, directory=tmp_path)
    damage, error, words = BAD[case]
    damage(tmp_path)
    with pytest.raises(error, match=words):
        Run.load(tmp_path)


@pytest.fixture(scope="module")
def oracle():
    torch.manual_seed(0)
    pair = LinearGaussianVAE((9,), latent=3, guide="full").double()
    pair.set_exact_guide()
    return Run(pair, [], 0, None)


def test_codes_are_those_of_the_guide(oracle):
    x = X[:4].double()
    exact = oracle.pair.posterior(x)
    torch.testing.assert_close(oracle.encode(x)["z"], exact.mean)
    draws = oracle.encode(x, draws=2000)["z"]
    assert draws.shape == (2000, 4, 3)
    z = (draws.mean(0) - exact.mean) / (exact.variance / 2000).sqrt()
    assert z.abs().max() < 5
    assert torch.equal(oracle.encode(x, draws=2, seed=3)["z"], oracle.encode(x, draws=2, seed=3)["z"])
    state = torch.get_rng_state()
    oracle.encode(x, draws=2)
    assert torch.equal(state, torch.get_rng_state())


def test_a_code_depends_on_the_codes_before_it_and_a_discrete_one_is_the_mode():
    codes = encode(Two(), X)
    torch.testing.assert_close(codes["first"], 3 * X[:, :2])
    torch.testing.assert_close(codes["second"], 6 * X[:, :2])
    assert codes["c"].tolist() == [1] * 20
    assert list(codes) == ["c", "first", "second"]


def test_walks_of_a_linear_decoder_are_straight(oracle):
    x, pair = X.double(), oracle.pair
    walks = oracle.interpolate(x[:4], x[4:8], steps=5)
    ends = [pair.posterior(part).mean @ pair.weight.T + pair.bias for part in (x[:4], x[4:8])]
    torch.testing.assert_close(walks[:, 0], ends[0])
    torch.testing.assert_close(walks[:, -1], ends[1])
    torch.testing.assert_close(walks[:, 1], 0.75 * ends[0] + 0.25 * ends[1])
    # On an arc, half the way lies where both ends have the same angle to it.
    one, other = (pair.posterior(part).mean for part in (x[:4], x[4:8]))
    angle = torch.nn.functional.cosine_similarity(one, other, dim=-1).arccos().unsqueeze(-1)
    half = (one + other) / (2 * (angle / 2).cos())
    arcs = oracle.interpolate(x[:4], x[4:8], steps=3, path="spherical")
    torch.testing.assert_close(arcs[:, 1], half @ pair.weight.T + pair.bias)
    torch.testing.assert_close(oracle.interpolate(x[:1], x[:1], path="spherical")[0, 4], ends[0][0])  # no arc at all


def test_log_prob_is_exact_where_it_can_be(oracle):
    x = X.double()
    found = oracle.log_prob(x)
    assert found.kind == "exact"
    torch.testing.assert_close(found.log_prob, oracle.pair.log_evidence(x))
    assert oracle.log_prob(x, ELBO(draws=2)).kind == "lower"
    assert Run(VAE((9,), latent=2), [], 0, None).log_prob(np.asarray(X)).name == "IS(1000)"


def test_draws_without_latents_are_draws():
    drawn = Run(Lawn(), [], 0, None, example=torch.zeros(2, 1, dtype=torch.long)).sample(2000)
    share = drawn.double().mean()
    assert abs(share - 0.8) < 5 * (0.16 / 2000) ** 0.5
    assert set(drawn.unique().tolist()) == {0, 1}


REFUSED = {
    "no latents to encode": (lambda: encode(Lawn(), torch.zeros(2, 1).long()), PairError, "no latents .* to encode"),
    "no latents to decode": (lambda: reconstruct(Lawn(), torch.zeros(2, 1).long()), PairError, "to reconstruct from"),
    "shared": (lambda: interpolate(GlobalGaussian((9,)), X, X), PairError, "no latents .* to walk through"),
    "discrete": (
        lambda: interpolate(DiscreteVAE((9,), latent=2), X, X),
        PairError,
        "is discrete: there is nothing between two of its values",
    ),
    "ends": (lambda: interpolate(VAE((9,)), X, X[:3]), ConfigurationError, "20 data to start from and 3 to end at"),
    "steps": (lambda: interpolate(VAE((9,)), X, X, steps=1), ConfigurationError, "there are 1 steps"),
    "path": (lambda: interpolate(VAE((9,)), X, X, path="round"), ConfigurationError, "choose 'linear' or 'spherical'"),
    "draws": (lambda: encode(VAE((9,)), X, draws=0), ConfigurationError, "draws must be at least 1, not 0"),
    "example": (lambda: Run(VAE((9,)), [], 0, None).sample(2), DataError, "give like="),
    "mean": (lambda: sample(PixelCNNModel((1, 3, 3), features=4, layers=2), X, 2, mean=True), PairError, "has no mean"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_pair_cannot_do_is_said(case):
    call, error, words = REFUSED[case]
    with pytest.raises(error, match=words):
        call()
