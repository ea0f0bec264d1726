"""One run for all particles is as many runs of one."""

from contextlib import nullcontext

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import pytest
import torch
from pyro.infer import autoguide as auto
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from pyrogen.errors import PairError
from pyrogen.inference.weights.terms import reduce_site
from pyrogen.pair import Pair
from pyrogen.programs.run import draw_particles, run_guide, run_model

ROWS, PARTICLES = 6, 4
X = torch.randn(ROWS, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
MASK = torch.arange(ROWS) % 2 == 0


def normal(loc, scale=1.0, events=1):
    return dist.Normal(torch.as_tensor(loc, dtype=X.dtype), scale).to_event(events)


def local(x):
    with pyro.plate("data", len(x)), poutine.mask(mask=MASK[: len(x)]):
        z = pyro.sample("z", normal(torch.zeros(3)))
        pyro.sample("x", normal(z), obs=x)


def local_guide(x):
    with pyro.plate("data", len(x)), poutine.mask(mask=MASK[: len(x)]):
        pyro.sample("z", normal(x, 0.5))


def deep(x):
    mu = pyro.sample("mu", normal(torch.zeros(3)))
    scale = pyro.sample("scale", dist.LogNormal(x.new_zeros(()), 1.0))
    with pyro.plate("data", len(x)):
        top = pyro.sample("top", normal(mu, scale.unsqueeze(-1)))
        low = pyro.sample("low", normal(top.tanh()))
        pyro.sample("x", normal(low + top), obs=x)


def deep_guide(x):
    scale = pyro.sample("scale", dist.LogNormal(x.new_zeros(()), 1.0))
    with pyro.plate("data", len(x)):
        low = pyro.sample("low", normal(x * scale.unsqueeze(-1)))
        top = pyro.sample("top", normal(low))
    pyro.sample("mu", normal(top.mean(-2, keepdim=top.dim() > 2)))


def nested(x):
    rate = pyro.sample("rate", dist.Gamma(x.new_ones(()), 1.0))
    with pyro.plate("data", len(x), dim=-2):
        level = pyro.sample("level", normal([[0.0]], events=0))
        with pyro.plate("pixels", 3, dim=-1):
            z = pyro.sample("z", dist.Poisson(level.exp() * rate))
            pyro.sample("x", normal(z, events=0), obs=x)
    with pyro.plate("pixels too", 3, dim=-1):
        pyro.sample("y", normal(rate, events=0), obs=x.sum(0))


def nested_guide(x):
    rate = pyro.sample("rate", dist.Gamma(x.new_ones(()), 1.0))
    with pyro.plate("data", len(x), dim=-2):
        level = pyro.sample("level", normal(x.mean(-1, keepdim=True) * rate, events=0))
        with pyro.plate("pixels", 3, dim=-1):
            pyro.sample("z", dist.Poisson((x + level).exp()))


def discrete(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Categorical(logits=x.new_zeros(4)))
        one = pyro.sample("one", dist.Bernoulli(logits=x.new_zeros(3) + z.unsqueeze(-1)).to_event(1))
        pyro.sample("x", normal(one * z.unsqueeze(-1)), obs=x)


def discrete_guide(x):
    with pyro.plate("data", len(x)):
        one = pyro.sample("one", dist.Bernoulli(logits=x).to_event(1))
        pyro.sample("z", dist.Categorical(logits=torch.cat([one, x[..., :1].expand(*one.shape[:-1], 1)], -1)))


def subsampled(x):
    with pyro.plate("data", len(x), subsample_size=2) as rows:
        z = pyro.sample("z", normal(torch.zeros(3)))
        pyro.sample("x", normal(z), obs=x[rows])


def subsampled_guide(x):
    with pyro.plate("data", len(x), subsample_size=2) as rows:
        pyro.sample("z", normal(x[rows], 0.5))


CASES = {
    "local": (local, local_guide, 1),
    "deep": (deep, deep_guide, 1),
    "nested": (nested, nested_guide, 2),
    "discrete": (discrete, discrete_guide, 1),
    "subsampled": (subsampled, subsampled_guide, 1),
    "automatic": (deep, auto.AutoMultivariateNormal(deep), 1),
    "automatic, by site": (local, auto.AutoNormal(local), 1),
}
every_case = pytest.mark.parametrize(("model", "guide", "nesting"), CASES.values(), ids=CASES)


def both(pair, nesting, particles=None, given=None, indices=None):
    with pair.scope():
        guide = run_guide(pair, (X,), {}, particles=particles, nesting=nesting, given=given, indices=indices)
        model = run_model(pair, (X,), {}, guide.latents(), indices=guide.indices, particles=particles, nesting=nesting)
    return guide, model


@every_case
def test_log_probabilities_of_particles_are_those_of_runs_of_one(model, guide, nesting):
    pair = Pair.of(model, guide)
    assert (pair.structure(X).nesting, pair.structure(X).loop) == (nesting, None)
    torch.manual_seed(0)
    together = both(pair, nesting, PARTICLES)
    latents = together[0].latents()
    for particle in range(PARTICLES):
        given = {
            name: value[particle] if value.dim() > nesting + together[0].visited[name].fn.event_dim else value
            for name, value in latents.items()
            if type(together[0].visited[name].fn).__name__ != "Delta"
        }
        alone = both(pair, nesting, given=given, indices=together[0].indices)
        for many, single in zip(together, alone, strict=True):
            assert list(many.visited) == list(single.visited)
            for name, site in single.visited.items():
                expected = reduce_site(site.log_prob(), site.dim, nesting)[0]
                seen = reduce_site(many.visited[name].log_prob(), site.dim, nesting)
                seen = seen[particle if len(seen) > 1 else 0]
                torch.testing.assert_close(seen, expected, rtol=1e-12, atol=1e-12)
                assert site.dim is None or seen.shape == (single.subsample_size,)


@every_case
def test_particles_are_drawn_independently(model, guide, nesting):
    pair = Pair.of(model, guide).initialise(X)
    torch.manual_seed(0)
    drawn, _ = both(pair, nesting, PARTICLES)
    for site in drawn.visited.values():
        assert site.value.shape[0] == PARTICLES
        assert site.value.dim() == 1 + nesting + site.fn.event_dim
        if site.fn.has_rsample:
            assert len(site.value.flatten(1).unique(dim=0)) == PARTICLES


@every_case
def test_one_draw_is_that_of_the_guide_itself(model, guide, nesting):
    pair = Pair.of(model, guide).initialise(X)
    torch.manual_seed(0)
    drawn, _ = both(pair, nesting)
    torch.manual_seed(0)
    with pair.scope():
        trace = poutine.trace(guide).get_trace(X)
    assert all(torch.equal(site.value, trace.nodes[name]["value"]) for name, site in drawn.visited.items())


def test_only_what_is_drawn_or_observed_is_written_down():
    def program(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", normal(torch.zeros(3)))
            pyro.deterministic("double", 2 * z, event_dim=1)
            pyro.factor("factor", x.sum(-1), has_rsample=True)

    pair = Pair.of(local, program)
    with pair.scope():
        drawn = run_guide(pair, (X,), {})
    assert list(drawn.visited) == ["z", "factor"]
    assert list(drawn.latents()) == ["z"]


def test_what_does_not_depend_on_a_latent_is_computed_once():
    encoder, decoder = nn.Linear(3, 3).double(), nn.Linear(3, 3).double()
    seen = []
    for net in (encoder, decoder):
        net.register_forward_hook(lambda net, inputs, output: seen.append(tuple(output.shape)))

    def model(x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", normal(decoder(pyro.sample("z", normal(torch.zeros(3))))), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", normal(encoder(x)))

    both(Pair.of(model, guide), 1, PARTICLES)
    assert seen == [(ROWS, 3), (PARTICLES, ROWS, 3)]


def test_latents_are_given_drawn_from_the_prior_or_refused():
    pair = Pair.of(deep, deep_guide)
    top = torch.full((PARTICLES, ROWS, 3), 2.0, dtype=X.dtype)
    with pair.scope():
        drawn = run_model(pair, (X,), {}, {"top": top}, particles=PARTICLES, draw=True)
        assert drawn.visited["top"].value is top
        assert drawn.visited["low"].value.shape == (PARTICLES, ROWS, 3)
        assert abs(drawn.visited["low"].value.mean() - top.tanh().mean()) < 5 / (3 * ROWS * PARTICLES) ** 0.5
        with pytest.raises(PairError, match="site 'mu' of the model is neither observed nor sampled by the guide"):
            run_model(pair, (X,), {}, {"top": top}, particles=PARTICLES)


def test_subsample_indices_are_repeated_and_scale_the_plate():
    pair = Pair.of(subsampled, subsampled_guide)
    torch.manual_seed(0)
    guide, model = both(pair, 1)
    assert torch.equal(guide.indices["data"], model.indices["data"])
    assert (model.plate_size, model.subsample_size, model.scale, model.visited["x"].scale) == (ROWS, 2, 3.0, 3.0)
    assert torch.equal(model.visited["x"].value, X[guide.indices["data"]])
    again, _ = both(pair, 1, given=guide.latents(), indices=guide.indices)
    assert torch.equal(again.visited["z"].log_prob(), guide.visited["z"].log_prob())


@pytest.mark.parametrize("mask", [None, True, False, MASK])
def test_masked_log_probabilities_are_zero(mask):
    def model(x):
        with pyro.plate("data", len(x)), poutine.mask(mask=mask) if mask is not None else nullcontext():
            pyro.sample("x", normal(torch.zeros(3)), obs=x)

    pair = Pair.of(model)
    site = both(pair, 1)[1].visited["x"]
    keep = torch.ones(ROWS) if mask is None else torch.as_tensor(mask).expand(ROWS)
    assert torch.equal(site.log_prob(), normal(torch.zeros(3)).log_prob(X) * keep)
    assert torch.equal(site.log_prob(X + 1), normal(torch.zeros(3)).log_prob(X + 1) * keep)


class _NoCopyToTheHost(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert "_local_scalar_dense" not in func.name(), "a run waits for the device"
        return func(*args, **(kwargs or {}))


@every_case
@pytest.mark.parametrize("particles", [None, PARTICLES])
def test_a_run_never_waits_for_the_device(model, guide, nesting, particles):
    pair = Pair.of(model, guide).initialise(X)
    with pyro.validation_enabled(False), _NoCopyToTheHost():
        both(pair, nesting, particles)
        pair.structure(X)


def test_a_run_ends_where_it_is_told_to_and_leaves_no_handler_behind():
    pair = Pair.of(deep, deep_guide)
    asked = []

    def until(message):
        asked.append(message["name"])
        return message["name"] == "low"

    with pair.scope():
        whole = run_guide(pair, (X,), {}, nesting=1)
        model = run_model(pair, (X,), {}, whole.latents(), nesting=1, until=until)
        guide = run_guide(pair, (X,), {}, nesting=1, until=until)
    assert list(model.visited) == ["mu", "scale", "top"]
    assert list(guide.visited) == ["scale"]
    assert asked == ["mu", "scale", "top", "low", "scale", "low"]
    assert not pyro.poutine.runtime._PYRO_STACK


def test_a_run_ends_inside_a_markov_loop():
    def model(x):
        z = x.new_zeros(3)
        with pyro.plate("data", len(x)):
            for t in pyro.markov(range(5)):
                z = pyro.sample(f"z_{t}", normal(z))
        pyro.sample("x", normal(z), obs=x)

    pair = Pair.of(model)
    with pair.scope():
        for last in (3, 1):
            found = run_model(pair, (X,), {}, {}, draw=True, until=lambda msg, last=last: msg["name"] == f"z_{last}")
            assert list(found.visited) == [f"z_{t}" for t in range(last)]
            assert not pyro.poutine.runtime._PYRO_STACK


def test_given_latents_may_be_made_of_their_distributions():
    pair = Pair.of(local, local_guide)
    with pair.scope():
        guide = run_guide(pair, (X,), {}, given={"z": lambda fn: fn.mean + 1})
    assert torch.equal(guide.visited["z"].value, X + 1)


def test_particles_are_drawn_once_each():
    for fn in (normal(X[:, :1], events=0), normal(X[:, 0], events=0), normal(X)):
        nesting = 2 if fn is not None and len(fn.batch_shape) == 2 else 1
        assert draw_particles(fn, None, nesting).shape == fn.shape()
        assert draw_particles(fn, PARTICLES, nesting).shape == (PARTICLES, *fn.shape())
    ready = normal(X.expand(PARTICLES, ROWS, 3))
    assert draw_particles(ready, PARTICLES, 1).shape == (PARTICLES, ROWS, 3)
    assert draw_particles(normal(X.unsqueeze(0)), PARTICLES, 1).shape == (PARTICLES, ROWS, 3)
