"""Networks that reading the programs does not find: compiled steps train them as eager ones do, or say that nothing does."""

from __future__ import annotations

import copy
import functools
import pickle
import types
import warnings

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.contrib.easyguide import EasyGuide
from pyro.infer import autoguide as auto
from pyro.nn import PyroModule, PyroParam
from torch import nn
from torch.distributions import constraints

from pyrogen import Pair
from pyrogen.errors import GraphMismatch, PairError
from pyrogen.inference import ELBO, ImportanceSampling, Loss, Phase, compare, compiled_svi, fit
from pyrogen.inference.graphs.shared import SharedGraphs
from pyrogen.inference.objectives.gradients import BoundTask
from pyrogen.pair import _PyroParams

X = torch.randn(32, 2, generator=torch.Generator().manual_seed(0)) @ torch.tensor(
    [[1.0, 2.0, 0.0, 1.0], [0.0, 1.0, 2.0, -1.0]]
)
WIDE = 80
"""Hidden units with which a pair has too many parameters for fused steps."""


class Coder(nn.Module):
    """A network with layers that are called, and a parameter of its own that only a method reads."""

    def __init__(self, inputs, outputs, hidden):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, outputs))
        self.gain = nn.Parameter(torch.ones(outputs))

    def code(self, x):
        return self.layers(x) * self.gain


def module(nets):
    lib = types.ModuleType("lib")
    lib.nets = types.ModuleType("lib.nets")
    lib.nets.pair = nets
    return lambda: lib.nets.pair


def attribute(nets):
    holder = types.SimpleNamespace(inner=types.SimpleNamespace(nets=nets))
    return lambda: holder.inner.nets


def slots(nets):
    class Slots:
        __slots__ = ("nets",)

    holder = Slots()
    holder.nets = nets
    return lambda: holder.nets


def nested_closure(nets):
    def outer():
        def inner():
            return (lambda: nets)()

        return inner

    fetch = functools.lru_cache(outer())  # a callable in C, whose closure cannot be read
    return lambda: fetch()


def partial_of_object(nets):
    return functools.partial(lambda box: box["nets"][0], {"nets": [nets]})


def class_attribute(nets):
    class Holder:
        held = nets

        def __call__(self):
            return self.held

    return Holder()


def default(nets):
    def fetch(box=types.SimpleNamespace(nets=[nets])):  # noqa: B008
        return box.nets[0]

    return fetch


def list_in_object(nets):
    holder = types.SimpleNamespace(box={"nets": [list(nets)]})
    return lambda: holder.box["nets"][0]


PLACES = [module, attribute, slots, nested_closure, partial_of_object, class_attribute, default, list_in_object]
each_place = pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)


def programs(fetch, register=True):
    """A variational autoencoder whose networks come from a call."""

    def model(x):
        decoder = fetch()[1]
        if register:
            pyro.module("decoder", decoder)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(decoder.code(z), 1.0).to_event(1), obs=x)

    def guide(x):
        encoder = fetch()[0]
        if register:
            pyro.module("encoder", encoder)
        loc, scale = encoder.code(x).chunk(2, -1)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, scale.exp()).to_event(1))

    return model, guide


def make(place=module, hidden=3, register=True):
    torch.manual_seed(0)
    nets = Coder(4, 4, hidden), Coder(2, 4, hidden)
    pair = Pair.of(*programs(place(nets), register))
    assert list(pair.parameters()) == [], "reading the programs is enough: the network isn't hidden"
    return pair, [parameter for net in nets for parameter in net.parameters()]


def fitted(made, compile, steps=12, **options):
    """The networks' parameters before and after a fit, and the losses."""
    pair, parameters = made
    before = [parameter.detach().clone() for parameter in parameters]
    run = fit(pair, X, steps=steps, lr=0.02, log_every=1, progress=False, compile=compile, **options)
    assert run.compiled is None or run.compiled.fallback is None
    return before, [parameter.detach().clone() for parameter in parameters], [row["loss"] for row in run.history]


def assert_trained_alike(make, compile, **options):
    before, after, losses = fitted(make(), False)
    assert [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if torch.equal(a, b)] == []
    for seen, expected in zip(fitted(make(), compile, **options)[1:], (after, losses), strict=True):
        torch.testing.assert_close(seen, expected, rtol=1e-4, atol=1e-5)


@each_place
@pytest.mark.parametrize(("compile", "hidden"), [("graph", 3), ("auto", WIDE)], ids=["fused steps", "steps"])
def test_a_registered_network_is_trained_wherever_it_hides(place, compile, hidden):
    assert_trained_alike(lambda: make(place, hidden), compile)


def test_a_registered_network_is_trained_by_the_compiler(inductor):
    assert_trained_alike(make, True)


def test_several_steps_in_a_call_train_it():
    assert_trained_alike(make, "graph", steps_per_call=4)


def test_a_resumed_run_trains_it(tmp_path):
    expected = fitted(make(), "graph")[1]
    fitted(make(), "graph", steps=5, directory=tmp_path)
    pair, parameters = make()
    fit(pair, X, steps=12, lr=0.02, progress=False, compile="graph", directory=tmp_path, resume=True)
    for seen, wanted in zip(parameters, expected, strict=True):
        torch.testing.assert_close(seen.detach(), wanted, rtol=0, atol=0)


@each_place
def test_an_unregistered_network_is_left_alone_and_named(place):
    results = []
    for compile in (False, "graph"):
        pair, parameters = make(place, register=False)
        torch.manual_seed(0)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            pair.register_parameter("shift", nn.Parameter(torch.zeros(4)))
            program = pair._programs[0]
            pair._programs = (lambda x, program=program, pair=pair: program(x - pair.shift), pair._programs[1])
            before, after, losses = fitted((pair, parameters), compile)
        assert all(map(torch.equal, before, after))
        assert any("runs a Linear(in_features=4, out_features=3, bias=True) whose param" in str(w.message) for w in caught)
        results.append(losses)
    assert results[0] == pytest.approx(results[1], rel=1e-5)


def test_a_network_that_each_run_makes_anew_is_trained_without_a_word():
    """Of many data the first run is of a few, and then done again: what it has made is gone."""
    results = []
    for compile in (False, "graph"):

        def model(x):
            net = nn.Linear(4, 4)
            pyro.module("net", net, update_module_params=True)
            with pyro.plate("data", len(x)):
                pyro.sample("x", dist.Normal(net(torch.ones_like(x)), 1.0).to_event(1), obs=x)

        pair = Pair.of(model)
        run = fit(
            pair, X.repeat(200, 1), batch_size=200 * len(X), steps=8, lr=0.02, progress=False, log_every=1, compile=compile
        )
        results.append([row["loss"] for row in run.history])
    assert results[0] == pytest.approx(results[1], rel=1e-5)
    assert results[0] == sorted(results[0], reverse=True)


def test_a_frozen_network_is_a_constant_without_a_word():
    results = []
    for compile in (False, "graph"):
        pair, parameters = make()
        for parameter in parameters[: len(parameters) // 2]:  # the encoder's
            parameter.requires_grad_(False)
        with pytest.warns(UserWarning, match="was not registered in the param store because requires_grad=False"):
            before, after, losses = fitted((pair, parameters), compile)
        moved = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
        assert moved == [False] * 5 + [True] * 5
        results.append(losses)
    assert results[0] == pytest.approx(results[1], rel=1e-5)


def pyro_module(hidden=3):
    """A PyroModule in an imported module, whose method, and not its call, is the program's."""
    torch.manual_seed(0)
    lib = types.ModuleType("lib")

    class Decoder(PyroModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(2, 4)
            self.scale = PyroParam(torch.ones(4), constraints.positive)

        def forward(self, z):
            return dist.Normal(self.net(z), self.scale).to_event(1)

    lib.decoder, lib.encoder = Decoder(), nn.Linear(4, 2)

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", lib.decoder(z), obs=x)

    def guide(x):
        pyro.module("encoder", lib.encoder)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(lib.encoder(x), 0.5).to_event(1))

    return Pair.of(model, guide), [*lib.decoder.parameters(), *lib.encoder.parameters()]


def by_param():
    """A layer's own parameters, registered by `pyro.param` under other names, one of them shared by two layers."""
    torch.manual_seed(0)
    lib = types.ModuleType("lib")
    lib.net, lib.tied = nn.Linear(4, 4), nn.Linear(4, 4)
    lib.tied.weight = lib.net.weight

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(4), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(lib.tied(z), 1.0).to_event(1), obs=x)

    def guide(x):
        for name, value in {**dict(lib.net.named_parameters()), "other": lib.tied.bias}.items():
            pyro.param(name, value)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(lib.net(x), 0.5).to_event(1))

    return Pair.of(model, guide), [*lib.net.parameters(), lib.tied.bias]


def under_an_autoguide(kind):
    def build():
        torch.manual_seed(0)
        lib = types.ModuleType("lib")
        lib.decoder = nn.Linear(2, 4)

        def model(x):
            pyro.module("decoder", lib.decoder)
            shift = pyro.sample("shift", dist.Normal(x.new_zeros(4), 1.0).to_event(1))
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
                pyro.sample("x", dist.Normal(lib.decoder(z) + shift, 1.0).to_event(1), obs=x)

        return Pair.of(model, kind(model)), [*lib.decoder.parameters()]

    return build


class Easy(EasyGuide):
    def guide(self, x):
        self.map_estimate("shift")
        with self.plate("data", len(x)):
            self.group(match="z").sample("zs", dist.Normal(torch.zeros(2), 1.0).expand([len(x), 2]).to_event(1))


def nested():
    """A pair that runs another one, which has run before, with a network of its own that is hidden, too."""
    inner, parameters = make()
    inner.initialise(X)
    lib = types.ModuleType("lib")
    lib.shift = nn.Linear(4, 4)

    class Outer(Pair):
        def __init__(self):
            super().__init__()
            self.inner = inner

        def model(self, x):
            pyro.module("shift", lib.shift)
            self.inner.model(x + lib.shift(x))

        def guide(self, x):
            self.inner.guide(x)

    return Outer(), [*parameters, *lib.shift.parameters()]


@pytest.mark.parametrize(
    "build", [pyro_module, by_param, nested, *map(under_an_autoguide, (auto.AutoNormal, auto.AutoMultivariateNormal, Easy))]
)
def test_relatives_are_trained_alike(build):
    assert_trained_alike(build, "graph")


class Adversarial(ELBO):
    """A first phase against a critic of the code, which a second phase trains."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.networks["critic"] = nn.Linear(2, 1)

    def phases(self, pair, batch):
        return [
            Phase("pair", self.compute, list(pair.parameters())),
            Phase("critic", self.critic_loss, list(self.networks.parameters())),
        ]

    def penalty(self, run, structure, beta):
        return self.networks["critic"](run.guide.visited["z"].value).mean()

    def critic_loss(self, pair, batch, state, *, beta=1.0):
        with torch.no_grad():
            z = BoundTask(self, pair, batch, pair.structure(batch), state).run_guide().visited["z"].value
        return Loss((self.networks["critic"](z) - 1.0).square().mean(), state)


def test_each_phase_of_an_objective_trains_its_own():
    found = []
    for compile in (False, "graph"):
        pair, parameters = make()
        objective = Adversarial()
        before = [value.detach().clone() for value in (*parameters, *objective.networks.parameters())]
        fit(pair, X, objective=objective, steps=8, lr=0.02, progress=False, compile=compile)
        found.append([value.detach() for value in (*parameters, *objective.networks.parameters())])
        assert not any(map(torch.equal, before, found[-1]))
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("again", [False, True], ids=["trained in place", "built anew"])
def test_what_pyros_own_svi_has_trained_goes_on(again):
    """Networks go on where they stand, and a `PyroModule` built anew from what the store holds, as in Pyro."""
    results = []
    for compile in (False, "graph"):
        pair, _ = pyro_module()
        svi = pyro.infer.SVI(*pair._programs, pyro.optim.Adam({"lr": 0.1}), pyro.infer.Trace_ELBO())
        with pyro.get_param_store().scope():
            for _ in range(3):
                svi.step(X)
            held = dict(pyro.get_param_store().named_parameters())
            pair = (pyro_module()[0] if again else pair).initialise(X)
            before, after, losses = fitted((pair, list(pair.parameters())), compile)
            assert all(value is held[name] for name, value in pyro.get_param_store().named_parameters())
        assert [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if torch.equal(a, b)] == []
        results.append((losses, after))
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-5)


def test_steps_of_a_loop_of_ones_own_train_it(train, assert_same):
    assert_same(*(train(lambda: make()[0], ELBO, [X] * 5, compile=compile) for compile in (False, "graph")))


def test_an_evaluation_follows_a_later_change_of_the_weights():
    pair, parameters = make()
    means, graphs = [], SharedGraphs("graph")
    for _ in range(3):
        eager = compare(pair, X, [ImportanceSampling(16)], seed=0).estimates[0].log_prob
        torch.manual_seed(0)
        shared = ImportanceSampling(16).estimate(pair, X, compile=graphs).log_prob
        new = compare(pair, X, [ImportanceSampling(16)], seed=0, compile="graph").estimates[0].log_prob
        torch.testing.assert_close(new, eager, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(shared, eager, rtol=1e-5, atol=1e-5)
        means.append(float(eager.mean()))
        with torch.no_grad():
            for parameter in parameters:
                parameter.mul_(1.5)
    assert len(set(means)) == 3
    assert graphs.report.graphs == 2  # the guide's particles and the prior's


@pytest.mark.parametrize("compile", [False, "graph"])
def test_what_replaces_parameters_reaches_the_network(compile):
    """Loading by assignment makes new parameters: the network gets them, and steps train them."""
    results = []
    for assign in (False, True):
        pair, _ = make()
        pair.initialise(X)
        state = {name: nn.Parameter(value + 0.125) for name, value in pair.state_dict().items()}
        pair.load_state_dict(state, assign=assign)
        run = fit(pair, X, steps=5, progress=False, log_every=1, compile=compile)
        results.append(([row["loss"] for row in run.history], [value.tolist() for value in pair.state_dict().values()]))
    assert results[0] == results[1]


def test_a_recording_leaves_the_network_its_own_parameters():
    pair, parameters = make()
    compiled_svi(pair, ELBO(), functools.partial(torch.optim.SGD, lr=0.1), X, compile="graph")(X)
    holders = [holder for holders in pair.pyro_params._parameters.holders.values() for holder in holders]
    found = {id(module._parameters[name]) for module, name in holders}
    assert found == {id(parameter) for parameter in parameters} == {id(parameter) for parameter in pair.parameters()}


def test_a_parameter_replaced_in_the_network_is_refused():
    torch.manual_seed(0)
    nets = Coder(4, 4, 3), Coder(2, 4, 3)
    pair = Pair.of(*programs(module(nets))).initialise(X)
    nets[0].gain = nn.Parameter(torch.zeros(4))
    with pytest.raises(
        PairError, match=r"parameter 'gain' of a Coder, which the pair trains as 'pyro_params.+coder\$\$\$gain'"
    ):
        fit(pair, X, steps=1, progress=False)


LIB = types.ModuleType("lib")


class Reaching(Pair):
    def model(self, x):
        pyro.module("shift", LIB.shift)
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(LIB.shift(x), pyro.param("scale", torch.ones(4))).to_event(1), obs=x)


def test_a_pair_is_copied_with_its_networks_or_not_at_all():
    LIB.shift = nn.Linear(4, 4)
    pair = Reaching()
    copies = [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))]
    for make_copy in copies:
        make_copy(pair).initialise(X)
    pair.initialise(X)
    for make_copy in copies:
        with pytest.raises(
            PairError, match=r"runs networks which are no attributes of it cannot be copied: .* the original"
        ):
            make_copy(pair)
        own = Plain().initialise(X)
        torch.testing.assert_close(make_copy(own).initialise(X).state_dict(), own.state_dict(), rtol=0, atol=0)


class Plain(Pair):
    def model(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(pyro.param("loc", torch.zeros(4)), 1.0).to_event(1), obs=x)


@pytest.mark.parametrize("hidden", [3, WIDE], ids=["fused steps", "steps"])
def test_a_gradient_that_the_graph_lacks_is_found(monkeypatch, hidden):
    """Without the search for such networks, the graph has their weights as constants."""
    monkeypatch.setattr(_PyroParams, "share", lambda self, parameters: None)
    step = compiled_svi(make(hidden=hidden)[0], ELBO(), functools.partial(torch.optim.Adam, lr=0.01), X, compile="graph")
    with pytest.raises(GraphMismatch, match=r"only the pair gives the parameter 'pyro_params.encoder\$\$\$gain' a gradient"):
        step(X)


def test_auto_falls_back_to_steps_that_train_what_the_graph_lacks(monkeypatch):
    expected = fitted(make(), False)
    monkeypatch.setattr(_PyroParams, "share", lambda self, parameters: None)
    pair, parameters = make()
    with pytest.warns(UserWarning, match="compile='auto' runs the pair itself: .* gives the parameter"):
        run = fit(pair, X, steps=12, lr=0.02, log_every=1, progress=False, compile="auto")
    assert [row["loss"] for row in run.history] == pytest.approx(expected[2], rel=1e-5)
    for seen, wanted in zip(parameters, expected[1], strict=True):
        torch.testing.assert_close(seen.detach(), wanted, rtol=1e-4, atol=1e-5)


def bare(ways):
    """A parameter that the model reads by `pyro.param`, past it by its own variable, or both."""
    shift = nn.Parameter(torch.zeros(4))

    def model(x):
        registered = pyro.param("shift", shift)
        with pyro.plate("data", len(x)):
            read = {"by name": registered, "past it": shift, "both": 0.5 * registered + 0.5 * shift}[ways]
            pyro.sample("x", dist.Normal(read, 1.0).to_event(1), obs=x)

    return Pair.of(model), [shift]


@pytest.mark.parametrize(("steps_per_call", "optimizer"), [(1, None), (1, torch.optim.SGD), (3, None)])
@pytest.mark.parametrize(
    ("ways", "message"),
    [
        ("by name", None),
        ("past it", r"only the pair gives the parameter 'pyro_params.shift' a gradient"),
        ("both", r"the gradient of 'pyro_params.shift' differs by"),
    ],
)
def test_a_parameter_that_is_no_networks_is_trained_or_refused(ways, message, steps_per_call, optimizer):
    options = {"lr": 0.02, "steps_per_call": steps_per_call}
    if optimizer is not None:
        options["optimizer"] = functools.partial(optimizer, lr=0.02)
    expected = bare(ways)
    fit(expected[0], X, steps=12, progress=False, **{**options, "steps_per_call": 1})
    assert not torch.equal(expected[1][0], torch.zeros(4))
    for compile in ("graph", "auto"):
        pair, parameters = bare(ways)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if message and compile == "graph":
                with pytest.raises(GraphMismatch, match=message):
                    fit(pair, X, steps=12, progress=False, compile=compile, **options)
                continue
            fit(pair, X, steps=12, progress=False, compile=compile, **options)
        assert any("runs the pair itself: " in str(warning.message) for warning in caught) == bool(message)
        torch.testing.assert_close(parameters[0].detach(), expected[1][0].detach(), rtol=1e-4, atol=1e-5)


class Sometimes(Pair):
    """Whether a parameter is reached is decided by Python; its gradient is zero if it is."""

    def __init__(self, hidden, reaches):
        super().__init__()
        self.loc, self.late = nn.Parameter(torch.zeros(4)), nn.Parameter(torch.zeros(hidden, hidden))
        self.reaches = reaches

    def model(self, x):
        late = self.late if self.reaches else self.late.detach()
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(self.loc + 0.0 * late.sum(), 1.0).to_event(1), obs=x)


@pytest.mark.parametrize("hidden", [3, WIDE], ids=["fused steps", "steps"])
@pytest.mark.parametrize("first", ["graph", "pair"])
def test_a_gradient_that_only_one_of_graph_and_pair_has_is_found(hidden, first):
    pair = Sometimes(hidden, reaches=first == "graph")
    step = compiled_svi(pair, ELBO(), functools.partial(torch.optim.Adam, lr=0.01), X, compile="graph")
    step(X)
    pair.reaches = not pair.reaches
    with pytest.raises(GraphMismatch, match=f"only the {first} gives the parameter 'late' a gradient"):
        step(X)
