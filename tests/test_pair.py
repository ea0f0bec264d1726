"""Pairs: whatever way they are written, their parameters are a module's, and nobody else's."""

import copy
import functools
import io
import types

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.infer import autoguide as auto
from pyro.nn import PyroModule, PyroParam, PyroSample, pyro_method
from torch import nn
from torch.distributions import constraints

from pyrogen.errors import PairError
from pyrogen.inference import ELBO
from pyrogen.pair import Pair

GLOBAL_NET = nn.Linear(2, 3, dtype=torch.float64)
STRANGER = nn.Linear(1, 1)  # a global whose name is the name of an attribute below


def data(rows=6):
    return torch.randn(rows, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(rows))


def decode(net, x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(net(z), 1.0).to_event(1), obs=x)


def encode(net, x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(net(x), 0.5).to_event(1))


def linear(inputs, outputs):
    return nn.Linear(inputs, outputs, dtype=torch.float64)


def closures():
    decoder, encoder = linear(2, 3), linear(3, 2)

    def model(x):
        pyro.module("decoder", decoder)
        decode(decoder, x)

    def guide(x):
        pyro.module("encoder", encoder)
        encode(encoder, x)

    return model, guide


def params():
    first = torch.zeros(2, 3, dtype=torch.float64)

    def model(x):
        weight = pyro.param("net.weight", first)
        decode(lambda z: z @ weight, x)

    def guide(x):
        scale = pyro.param("half", x.new_tensor([0.5, 0.7]), constraint=constraints.positive)
        mix = pyro.param("mix", x.new_tensor([0.5, 0.3, 0.2]), constraint=constraints.simplex)
        tril = pyro.param("tril", torch.eye(2, dtype=x.dtype), constraint=constraints.lower_cholesky)
        slope = pyro.param("a/b", lambda: x.new_tensor(0.3), constraint=constraints.interval(0.1, 0.9))
        shift = pyro.param("a.b", lambda: torch.randn(2, dtype=x.dtype))
        with pyro.plate("data", len(x)):
            loc = slope * (x * mix).sum(-1, keepdim=True) + shift
            pyro.sample("z", dist.MultivariateNormal(loc, scale_tril=scale.diag() @ tril))

    return model, guide


def named_otherwise():
    """Networks that share a name, or come as a default, in a list, by a partial, under a handler, by a helper."""

    def make(inputs, outputs):
        net = linear(inputs, outputs)
        return lambda x: encode(net, x)

    def with_default(x, nets=(linear(2, 4), linear(4, 3)), *, extra=linear(3, 3)):  # noqa: B008
        decode(lambda z: extra(nets[1](nets[0](z))) + net(z), x)

    net = linear(2, 3)
    return poutine.scale(with_default, scale=1.0), functools.partial(make(3, 2))


def plain_object():
    holder = types.SimpleNamespace(decoder=linear(2, 3), STRANGER=linear(3, 2))

    class Owner:
        def __init__(self):
            self.STRANGER = holder.STRANGER

        def guide(self, x):
            encode(self.STRANGER, x)

    return lambda x: [decode(net, x) for net in (holder.decoder,)], Owner().guide


def methods():
    class VAE(nn.Module):  # written as the vae.py of Pyro's examples
        def __init__(self):
            super().__init__()
            self.encoder, self.decoder = linear(3, 4), linear(2, 3)

        def model(self, x):
            pyro.module("decoder", self.decoder)
            with pyro.plate("data", x.shape[0]):
                z = pyro.sample("latent", dist.Normal(x.new_zeros(len(x), 2), x.new_ones(len(x), 2)).to_event(1))
                pyro.sample("obs", dist.Normal(self.decoder.forward(z), 1.0).to_event(1), obs=x.reshape(-1, 3))

        def guide(self, x):
            pyro.module("encoder", self.encoder)
            with pyro.plate("data", x.shape[0]):
                loc, log_scale = self.encoder.forward(x).split(2, -1)
                pyro.sample("latent", dist.Normal(loc, log_scale.exp()).to_event(1))

    vae = VAE()
    return vae.model, vae.guide


class Bayesian(PyroModule):
    def __init__(self):
        super().__init__()
        self.net = linear(2, 3)
        self.scale = PyroParam(torch.ones(3, dtype=torch.float64), constraints.positive, event_dim=1)
        self.shift = PyroSample(lambda self: dist.Normal(self.scale.new_zeros(3), 1.0).to_event(1))

    def forward(self, x):
        shift, scale = self.shift, self.scale
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.net(z) + shift, scale).to_event(1), obs=x)

    @pyro_method
    def guide(self, x):
        pyro.sample("shift", dist.Normal(self.scale.log(), 1.0).to_event(1))
        encode(lambda x: x[:, :2] * self.scale[:2], x)


def pyro_module():
    module = Bayesian()
    return module, module.guide


def auto_guide(kind):
    def build():
        model = Bayesian()
        return model, kind(model)

    return build


def auto_list():
    model = Bayesian()
    guide = auto.AutoGuideList(model)
    guide.append(auto.AutoDelta(poutine.block(model, expose=["shift"])))
    guide.append(auto.AutoNormal(poutine.block(model, hide=["shift"])))
    return model, guide


def stranger_network():
    """A network that no function names: its parameters are found by `pyro.module`."""
    nets = {"fetch": (lambda net: lambda: net)(linear(2, 3)), "box": [[linear(3, 2)]]}

    def model(x):
        pyro.module("decoder", nets["fetch"]())
        decode(nets["fetch"](), x)

    def guide(x):
        pyro.module("encoder", nets["box"][0][0])
        encode(nets["box"][0][0], x)

    return model, guide


def made_anew():
    """A network that each run makes, with the values that the first one left in the store."""

    def model(x):
        decode(pyro.module("decoder", linear(2, 3), update_module_params=True), x)

    return model, lambda x: encode(lambda x: x[:, :2], x)


def global_network():
    torch.nn.init.normal_(GLOBAL_NET.weight)

    def model(x):
        return [decode(GLOBAL_NET, x) for _ in range(1)]

    def guide(x, net=linear(3, 2)):  # noqa: B008
        encode(net, x)

    return model, guide


AUTO = {
    name: auto_guide(getattr(auto, name))
    for name in (
        "AutoNormal",
        "AutoDiagonalNormal",
        "AutoMultivariateNormal",
        "AutoDelta",
        "AutoLowRankMultivariateNormal",
    )
}
WAYS = (closures, params, named_otherwise, plain_object, methods, pyro_module, auto_list, stranger_network, made_anew)
CASES = {build.__name__: build for build in WAYS} | AUTO
every_way = pytest.mark.parametrize("build", CASES.values(), ids=CASES)


def pair_of(build, seed=0):
    torch.manual_seed(seed)
    return Pair.of(*build(), fresh=True)


def train(pair, x, steps=range(3), lr=0.05, **options):
    for step in steps:
        torch.manual_seed(step)
        pair.zero_grad()
        ELBO(kl="sampled", **options).loss(pair, x).backward()
        with torch.no_grad():
            for parameter in pair.parameters():
                if parameter.grad is not None:
                    parameter -= lr * parameter.grad
    return copy.deepcopy(pair.state_dict())


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(autouse=True)
def global_store():
    """Whatever a test does, Pyro's global store stays as it was: its names, tensors, values and constraints."""
    store = pyro.get_param_store()
    store.clear()
    for name in ("half", "mix", "decoder$$$weight", "AutoNormal.locs.z"):  # names that the pairs use, too
        pyro.param(name, torch.ones(2), constraint=constraints.positive)
    state = store.get_state()
    values = {name: value.detach().clone() for name, value in state["params"].items()}
    yield
    after = store.get_state()
    assert list(after["params"]) == list(values)
    assert all(after["params"][name] is state["params"][name] for name in values)
    assert all(torch.equal(after["params"][name], value) for name, value in values.items())
    assert after["constraints"] == state["constraints"]
    store.clear()


@every_way
def test_parameters_are_the_modules_own_and_all_are_trained(build):
    pair = pair_of(build).initialise(data())
    before = copy.deepcopy(pair.state_dict())
    names = [name for name, _ in pair.named_parameters()]
    assert set(names) == set(before)
    after = train(pair, data())
    assert [name for name, _ in pair.named_parameters()] == names
    assert [name for name in names if torch.equal(before[name], after[name])] == []


@every_way
def test_training_two_pairs_by_turns_is_training_each_alone(build):
    x = data()
    alone = [train(pair_of(build, seed).initialise(x), x) for seed in (0, 1)]
    pairs = [pair_of(build, seed).initialise(x) for seed in (0, 1)]
    for step in range(3):
        turns = [train(pair, x, [step]) for pair in pairs]
    assert all(same(*states) for states in zip(alone, turns, strict=True))
    shapes = {name for name, value in turns[0].items() if value.numel() > 0}
    assert shapes == set(turns[0])


@every_way
@pytest.mark.parametrize("before_first_run", [True, False])
def test_a_state_loads_into_a_fresh_pair(build, before_first_run):
    x = data()
    trained = pair_of(build)
    state = train(trained, x)
    fresh = pair_of(build, seed=7)
    if isinstance(fresh._programs[1], auto.AutoGuide) and before_first_run:
        pytest.skip("an autoguide knows its parameters, by Pyro's design, once it has run")
    if not before_first_run:
        fresh.initialise(x)
    assert not same(fresh.state_dict(), state)
    fresh.load_state_dict(state)
    assert same(fresh.state_dict(), state)  # also if it is saved again before its first run
    assert same(train(fresh, x, range(3, 5)), train(trained, x, range(3, 5)))


@pytest.mark.parametrize("build", [closures, params, methods, pyro_module, AUTO["AutoNormal"]])
def test_what_replaces_parameters_is_seen_by_the_next_run(build):
    x = data()
    pair = pair_of(build).initialise(x)
    state = {name: value + 0.125 for name, value in pair.state_dict().items()}
    twin = pair_of(build).initialise(x)
    twin.load_state_dict(state)
    pair.load_state_dict({name: nn.Parameter(value) for name, value in state.items()}, assign=True)
    assert same(train(pair, x), train(twin, x))
    previous = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        pair.float().double()
        twin.float().double()
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(previous)
    assert same(train(pair, x), train(twin, x))


@every_way
def test_frozen_parameters_stay_frozen(build):
    pair = pair_of(build)
    for parameter in pair.parameters():
        parameter.requires_grad_(False)
    frozen = copy.deepcopy(pair.state_dict())
    pair.initialise(data())
    assert all(torch.equal(pair.state_dict()[name], value) for name, value in frozen.items())
    assert not any(parameter.requires_grad for name, parameter in pair.named_parameters() if name in frozen)


@pytest.mark.parametrize(
    "build", [closures, params, named_otherwise, methods, global_network, pyro_module, AUTO["AutoNormal"]]
)
def test_stock_pyro_comes_to_the_same_parameters(build):
    x, lr, steps = data(), 0.05, 5
    pair = pair_of(build).initialise(x)
    starts = copy.deepcopy(pair.state_dict())
    train(pair, x, range(steps), lr)
    with pyro.get_param_store().scope():
        torch.manual_seed(0)
        model, guide = build()
        svi = SVI(model, guide, pyro.optim.SGD({"lr": lr / len(x)}), Trace_ELBO())
        with torch.random.fork_rng():
            Trace_ELBO().loss(model, guide, x)
        store = pyro.get_param_store()
        with pair.scope():
            names = list(pyro.get_param_store().keys())
        assert set(names) == set(store.keys())
        with torch.no_grad():
            for name in names:
                path, key = pair._homes[name]
                store._params[name].copy_(starts[".".join((*path, key))])
        for step in range(steps):
            torch.manual_seed(step)
            svi.step(x)
        stock = {name: store[name].detach() for name in names}
    with pair.scope():
        for name in names:
            torch.testing.assert_close(pyro.param(name).detach(), stock[name], rtol=1e-9, atol=1e-9)


def test_constrained_parameters_stay_in_their_constraint():
    pair = pair_of(params).initialise(data())
    with pair.scope():
        first = {name: pyro.param(name).detach().clone() for name in ("half", "mix", "tril", "a/b")}
    train(pair, data(), range(20), lr=0.2)
    with pair.scope():
        for name, constraint in [
            ("half", constraints.positive),
            ("mix", constraints.simplex),
            ("tril", constraints.lower_cholesky),
            ("a/b", constraints.interval(0.1, 0.9)),
        ]:
            assert constraint.check(pyro.param(name)).all(), name
            assert not torch.allclose(pyro.param(name), first[name]), name
    assert {name for name, _ in pair.named_parameters()} == {
        f"pyro_params.{key}" for key in ("net/weight", "half%", "mix", "tril", "a%2Fb", "a/b")
    }


def test_pairs_that_start_from_one_tensor_go_different_ways():
    start = torch.zeros(2, dtype=torch.float64)

    def make():
        def guide(x):
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(pyro.param("loc", start), 1.0).to_event(1))

        return Pair.of(lambda x: decode(lambda z: z @ x.new_ones(2, 3), x), guide).initialise(data())

    first, second = make(), make()
    train(first, data())
    assert not torch.equal(first.pyro_params.loc, start)
    assert torch.equal(second.pyro_params.loc, start)
    assert torch.equal(start, torch.zeros(2, dtype=torch.float64))


class Shift(Pair):
    """A pair that is a class, and names a parameter in its guide all the same."""

    def __init__(self):
        super().__init__()
        self.decoder = nn.Sequential(linear(2, 3), nn.Dropout(0.5))

    def model(self, x):
        decode(self.decoder, x)

    def guide(self, x):
        loc = pyro.param("loc", lambda: torch.randn(2, dtype=x.dtype))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, 1.0).to_event(1))


def test_a_class_can_be_copied_and_saved():
    pair = Shift().initialise(data())
    twin = copy.deepcopy(pair)
    before = copy.deepcopy(twin.state_dict())
    train(pair, data())
    assert same(twin.state_dict(), before)
    assert same(train(twin, data()), pair.state_dict())
    buffer = io.BytesIO()
    torch.save(pair, buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False)
    assert same(train(loaded, data(), [4]), train(pair, data(), [4]))


def test_a_pair_of_functions_refuses_to_be_copied():
    with pytest.raises(PairError, match="go on using the networks of the original; build a second pair"):
        copy.deepcopy(pair_of(closures))


def test_a_random_start_follows_the_seed_and_uses_up_no_random_number():
    starts = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        pair = Shift()
        state = torch.get_rng_state()
        pair.initialise(data())
        assert torch.equal(torch.get_rng_state(), state)
        starts.append(pair.pyro_params.loc.detach())
        assert not torch.equal(starts[-1], torch.randn(2, dtype=torch.float64))
    assert torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[0], starts[2])


def test_networks_are_found_by_what_the_code_means():
    pair = pair_of(named_otherwise)
    assert [name for name, _ in pair.named_children()] == ["net", "nets_0", "nets_1", "extra", "guide_net"]
    pair = pair_of(plain_object)
    assert {name for name, _ in pair.named_children()} == {"decoder", "STRANGER"}
    assert STRANGER not in list(pair.modules())  # a global of the attribute's name
    pair = pair_of(global_network)
    assert next(pair.children()) is GLOBAL_NET

    def model(x):
        return later(x)

    assert list(Pair.of(model).children()) == []  # a variable without a value yet
    later = GLOBAL_NET
    assert list(Pair.of(model).children()) == [later]


def test_programs_may_set_parameters_nest_scopes_and_run_other_pairs():
    pair = Shift().initialise(data())
    with pair.scope():
        pyro.get_param_store()["loc"] = torch.ones(2, dtype=torch.float64)
        pyro.param("outer", torch.zeros(1))
        with pair.scope():
            pyro.param("inner", torch.zeros(3))
            assert "outer" in pyro.get_param_store()
        assert "inner" in pyro.get_param_store()
        with pair_of(params).scope():
            assert len(pyro.get_param_store()) == 0
    assert torch.equal(pair.pyro_params.loc, torch.ones(2, dtype=torch.float64))
    assert pair.pyro_params.inner.shape == (3,)
    other = Pair.of(pair.model, pair.guide).initialise(data())
    assert [id(p) for p in other.parameters()] == [id(p) for p in pair.parameters()]


@pytest.mark.parametrize("where", ["model", "guide"])
def test_the_global_store_comes_back_when_a_program_raises(where):
    def program(x):
        pyro.param("half", torch.zeros(()))
        raise KeyError("no such thing")

    def sound(x):
        decode(lambda z: z @ x.new_ones(2, 3), x)

    pair = Pair.of(program, lambda x: encode(lambda x: x[:, :2], x)) if where == "model" else Pair.of(sound, program)
    with pytest.raises(PairError, match=f"the {where} does not run on this batch: KeyError: 'no such thing'"):
        pair.initialise(data())
    assert list(pair.parameters()) == []
    with pytest.raises(KeyError), pair.scope():
        getattr(pair, where)(data())


def renamed(shape=(), name="scale"):
    def guide(x):
        pyro.param(name, torch.ones(shape, dtype=x.dtype))
        encode(lambda x: x[:, :2], x)

    return lambda x: decode(lambda z: z @ x.new_ones(2, 3), x), guide


@pytest.mark.parametrize(
    ("saved", "fresh", "message"),
    [
        (renamed(), renamed(name="sigma"), r"'pyro_params\.scale', which no pyro.param statement of the first run names"),
        (renamed(), renamed((2,)), r"pyro.param\('scale'\) has shape \(2,\), and the state that was loaded holds \(\)"),
        (params(), renamed(), r"'pyro_params\.a%2Fb', which no pyro.param"),
        ((renamed()[0], lambda x: encode(lambda x: x[:, :2], x)), renamed(), "scale', which the loaded state lacks"),
    ],
)
def test_a_state_of_another_pair_is_refused(saved, fresh, message):
    state = Pair.of(*saved, fresh=True).initialise(data()).state_dict()
    pair = Pair.of(*fresh)
    pair.load_state_dict(state)
    for _ in range(2):
        with pytest.raises(PairError, match=message):
            pair.initialise(data())
    with pytest.raises(RuntimeError, match=r"size mismatch|Unexpected key|Missing key"):
        Pair.of(*fresh, fresh=True).initialise(data()).load_state_dict(state)


@pytest.mark.parametrize(
    ("model", "guide", "message"),
    [
        (3, None, "the model must be a callable Pyro program, not int"),
        (None, None, "the model must be a callable Pyro program, not NoneType"),
        (print, "guide", "the guide must be a callable Pyro program, not str"),
    ],
)
def test_what_is_no_program_is_refused(model, guide, message):
    with pytest.raises(PairError, match=message):
        Pair.of(model, guide)


@pytest.fixture
def store():
    """Another store in the place of Pyro's own, for a test to train in."""
    with pyro.get_param_store().scope():
        yield pyro.get_param_store()


def trained_by_pyro(build, seed=0, x=None):
    """What `build` gives, after Pyro's own SVI; the values are in the store."""
    torch.manual_seed(seed)
    model, guide = build()
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.05}), Trace_ELBO())
    for _ in range(5):
        svi.step(data() if x is None else x)
    return model, guide


def held(store):
    """All that a store holds, to be compared later."""
    return {name: (id(value), value.tolist(), store._constraints[name]) for name, value in store.named_parameters()}


def densities(model, guide):
    """Log densities under Pyro's own handlers, of the second run, for the first may set the guide up."""
    for _ in range(2):
        with torch.random.fork_rng():
            torch.manual_seed(3)
            drawn = poutine.trace(guide).get_trace(data())
            run = poutine.trace(poutine.replay(model, trace=drawn)).get_trace(data())
    return [float(trace.log_prob_sum().detach()) for trace in (drawn, run)]


@every_way
def test_what_pyro_has_trained_is_evaluated_as_trained(build, store):
    model, guide = trained_by_pyro(build)
    before, expected = held(store), densities(model, guide)
    pair = Pair.of(model, guide)
    live = {id(parameter) for parameter in pair.parameters()}
    pair.initialise(data())
    assert live == {id(parameter) for name, parameter in pair.named_parameters() if "pyro_params" not in name}
    with pair.scope():
        assert densities(model, guide) == expected
        assert set(store.keys()) == set(before)
    assert held(store) == before
    fresh = pair_of(build).initialise(data())
    assert not before or densities_of(fresh) != expected  # networks that no statement names are not trained by SVI
    assert {name: value.shape for name, value in fresh.named_parameters()} == {
        name: value.shape for name, value in pair.named_parameters()
    }


def densities_of(pair):
    with pair.scope():
        return densities(pair.model, pair.guide)


@every_way
def test_programs_built_anew_get_what_pyro_would_give_them(build, store):
    trained_by_pyro(build)
    before = held(store)
    state = {"params": {n: v.detach().clone() for n, v in store.named_parameters()}, "constraints": dict(store._constraints)}
    torch.manual_seed(7)
    with store.scope(state):
        expected = densities(*build())
    torch.manual_seed(7)
    pair = Pair.of(*build()).initialise(data())
    assert densities_of(pair) == expected
    values = copy.deepcopy(pair.state_dict())
    assert not [
        name for name, value in train(pair, data()).items() if torch.equal(value, values[name])
    ]  # each has influence
    assert held(store) == before


@pytest.mark.parametrize("build", [params, auto_guide(auto.AutoNormal), made_anew])
def test_the_pair_says_what_it_has_taken_over(build, store):
    model, guide = build()
    assert "parameter store" not in repr(Pair.of(model, guide).initialise(data()))
    trained_by_pyro(build)
    said = repr(Pair.of(*build()).initialise(data()))
    names = [name for name in store if "$$$" not in name or build is made_anew]  # a known network stays as it is
    assert "from Pyro's parameter store: " in said
    assert all(f"{name} {tuple(store._params[name].shape)}" in said for name in names)


class Direct(PyroModule):
    """A module with a parameter of its own that is no `PyroParam`: Pyro registers it, and uses what the module has."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, 3, dtype=torch.float64))

    def forward(self, x):
        decode(lambda z: z @ self.weight, x)


@pytest.mark.parametrize(
    ("build", "name", "weight"),
    [(closures, "decoder$$$weight", "decoder.weight"), (lambda: (Direct(), encode_first), "weight", "model_module.weight")],
)
def test_another_network_of_a_name_keeps_its_values(build, name, weight, store):
    model, guide = build()
    pyro.param(name, torch.ones(2, dtype=torch.float64), constraint=constraints.positive)
    pair = Pair.of(model, guide)
    own = pair.get_parameter(weight)
    pair.initialise(data())
    assert pair.get_parameter(weight) is own
    assert "pyro_params" not in dict(pair.named_children())
    assert "parameter store" not in repr(pair)
    with pair.scope():
        assert pyro.param(name) is own


def encode_first(x):
    encode(lambda x: x[:, :2], x)


def test_one_run_is_enough_for_a_network_that_is_updated_from_the_store(store):
    net = linear(2, 3)
    replaced = list(net.parameters())

    def updated():
        return lambda x: decode(pyro.module("decoder", net, update_module_params=True), x), encode_first

    trained_by_pyro(made_anew)
    trained = {name: value.detach().clone() for name, value in store.items()}
    for build in (updated, made_anew):
        pair = Pair.of(*build())
        with pair.scope():
            pair.model(data())
        with pair.scope():
            assert same(dict(store.items()), trained)
            assert all(pyro.param(name) is not value for name in store for value in replaced)
        assert sum(1 for _ in pair.parameters()) == 2


def test_two_pairs_each_take_a_copy(store):
    model, guide = trained_by_pyro(params)
    before = held(store)
    first, second = (Pair.of(model, guide).initialise(data()) for _ in range(2))
    start = copy.deepcopy(second.state_dict())
    assert same(first.state_dict(), start)
    assert not same(train(first, data()), start)
    assert same(second.state_dict(), start)
    assert held(store) == before


def test_a_fresh_pair_ignores_the_store(store):
    untrained = copy.deepcopy(pair_of(params).initialise(data()).state_dict())
    trained_by_pyro(params)
    torch.manual_seed(0)
    assert same(Pair.of(*params(), fresh=True).initialise(data()).state_dict(), untrained)
    torch.manual_seed(0)
    assert not same(Pair.of(*params()).initialise(data()).state_dict(), untrained)


@pytest.mark.parametrize("shape", [(), (2,)])
@pytest.mark.parametrize("loading", [{}, {"strict": False}])
def test_a_loaded_state_comes_before_the_store(shape, loading, store):
    state = {"pyro_params.scale": torch.tensor(3.0, dtype=torch.float64)}
    pyro.param("scale", torch.full(shape, 5.0, dtype=torch.float64))
    pair = Pair.of(*renamed())
    pair.load_state_dict(state, **loading)
    pair.initialise(data())
    assert same(pair.state_dict(), state)
    pair = Pair.of(*renamed()).initialise(data())
    assert torch.equal(pair.pyro_params.scale, store["scale"])
    if shape == ():
        pair.load_state_dict(state, **loading)
        assert same(pair.state_dict(), state)
        assert "parameter store" not in repr(pair)


def per_datum():
    def guide(x):
        loc = pyro.param("locs", lambda: x.new_zeros(len(x), 2))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, 1.0).to_event(1))

    return lambda x: decode(lambda z: z @ x.new_ones(2, 3), x), guide


@pytest.mark.parametrize("rows", [6, 5000])  # of many rows the first run is of a part
def test_parameters_of_each_datum_fit_the_data_that_they_were_trained_on_only(rows, store):
    model, guide = trained_by_pyro(per_datum, x=data(rows))
    pair = Pair.of(model, guide).initialise(data(rows))
    assert torch.equal(pair.pyro_params.locs, store["locs"])
    with pytest.raises(PairError, match=rf"holds a value of shape \({rows}, 2\) for pyro.param\('locs'\), whose.* \(4, 2\)"):
        Pair.of(model, guide).initialise(data(4))
    assert Pair.of(model, guide, fresh=True).initialise(data(4)).pyro_params.locs.shape == (4, 2)


def test_an_error_that_the_store_has_no_part_in_is_left_alone(store):
    pyro.param("scale", torch.ones(()))
    model, guide = renamed()
    with pytest.raises(PairError, match=r"^the model does not run on this batch: ZeroDivisionError"):
        Pair.of(lambda x: model(x / (1 // 0)), guide).initialise(data())


def test_each_parameter_is_taken_over_when_it_is_first_met(store):
    def guide(x, y=None):
        shift = pyro.param("late", torch.zeros(2, dtype=x.dtype)) if y is not None else x.new_zeros(2)
        loc = pyro.param("loc", torch.zeros(2, dtype=x.dtype))
        encode(lambda x: x[:, :2] + loc + shift, x)

    for name in ("loc", "late"):
        pyro.param(name, torch.full((2,), 4.0, dtype=torch.float64))
    pair = Pair.of(lambda x, y=None: decode(lambda z: z @ x.new_ones(2, 3), x), guide).initialise(data())
    assert [name for name, _ in pair.named_parameters()] == ["pyro_params.loc"]
    train(pair, data())
    trained = pair.pyro_params.loc.detach().clone()
    pair.initialise((data(), data()))
    assert torch.equal(pair.pyro_params.late, store["late"])
    assert torch.equal(pair.pyro_params.loc, trained)


def test_a_run_within_another_pairs_takes_the_global_values(store):
    pyro.param("loc", torch.full((2,), 4.0, dtype=torch.float64))
    outer, inner = Shift().initialise(data()), Shift()
    train(outer, data())
    with outer.scope(), inner.scope():
        inner.guide(data())
    assert torch.equal(inner.pyro_params.loc, store["loc"])


def test_a_parameter_that_the_program_deletes_begins_anew(store):
    pyro.param("loc", torch.full((2,), 4.0, dtype=torch.float64))

    def guide(x):
        if "loc" in pyro.get_param_store():
            del pyro.get_param_store()["loc"]
        encode(lambda x: x[:, :2] + pyro.param("loc", x.new_zeros(2)), x)

    pair = Pair.of(lambda x: decode(lambda z: z @ x.new_ones(2, 3), x), guide)
    with pair.scope():
        pair.guide(data())
    assert pair.pyro_params.loc.tolist() == [0.0, 0.0]
    assert store["loc"].tolist() == [4.0, 4.0]


@pytest.mark.parametrize("fresh", [False, True])
def test_a_class_takes_over_the_values_of_its_statements_too(fresh, store):
    class Own(Shift):
        pass

    Own.fresh = fresh
    pair = Own()
    torch.manual_seed(0)
    svi = SVI(pair.model, pair.guide, pyro.optim.Adam({"lr": 0.05}), Trace_ELBO())
    for _ in range(3):
        svi.step(data())
    pair.initialise(data())
    assert torch.equal(pair.pyro_params.loc, store["loc"]) is not fresh
