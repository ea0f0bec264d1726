"""Recorded graphs: what is lifted, what is left out, where products go, and that they need no device to be recorded."""

from __future__ import annotations

import functools

import pyro
import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

from pyrogen.errors import NotTraceable
from pyrogen.inference import ELBO, IWAE, Renyi, compiled_svi
from pyrogen.inference.graphs import PureProgram, backend, passes, record
from pyrogen.inference.graphs.compiled_function import SITE
from pyrogen.inference.graphs.internals import has_onednn_linear
from pyrogen.inference.training.recorded_loss import GRADIENT, Layout, LossAndGradient
from pyrogen.models import VAE, DiscreteVAE, GlobalGaussian, LinearGaussianVAE

onednn = pytest.mark.skipif(not has_onednn_linear(), reason="this build of torch has no oneDNN")


def linear():
    torch.manual_seed(0)
    return LinearGaussianVAE((3,), latent=2)


def x(rows=5):
    return torch.randn(rows, 3, generator=torch.Generator().manual_seed(0))


def program(pair=None, objective=None, batch=None):
    batch = x() if batch is None else batch
    pair = (pair or linear()).initialise(batch)
    names = [name for name, parameter in pair.named_parameters() if parameter.requires_grad]
    loss, layout = (objective or ELBO()).compute, Layout(batch, {}, with_beta=False)
    return PureProgram(pair, LossAndGradient(loss, names, nn.ModuleDict(), layout))


def calls(graph):
    return [node.target for node in graph.module.graph.nodes if node.op == "call_function"]


def test_recording_moves_no_generator_and_writes_nothing():
    pair = VAE((3,), latent=2, hidden=(4,))
    pair.encoder.net.insert(1, nn.BatchNorm1d(4))
    batch = (x() > 0).float()
    made = program(pair, batch=batch)
    generator, before = torch.get_rng_state(), {name: value.clone() for name, value in pair.state_dict().items()}
    graph = record(made, [batch])
    assert torch.equal(generator, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in pair.state_dict().items())
    assert all(parameter.grad is None for parameter in pair.parameters())
    graph(*made.tensors(), *graph.constants, batch)
    assert not torch.equal(pair.encoder.net[1].running_mean, before["encoder.net.1.running_mean"])
    assert not torch.equal(generator, torch.get_rng_state())


def test_a_graph_draws_afresh_and_as_the_pair_does():
    made = program()
    graph = record(made, [x()])
    first, second = (graph(*made.tensors(), *graph.constants, x())[0] for _ in range(2))
    assert not torch.equal(first, second)
    torch.manual_seed(3)
    by_graph = dict(zip(graph.outputs, graph(*made.tensors(), *graph.constants, x()), strict=True))
    torch.manual_seed(3)
    by_pair = made(made.tensors(), [x()])
    assert by_graph.keys() == by_pair.keys()
    assert all(torch.equal(value, by_pair[name]) for name, value in by_graph.items())


def test_outputs_that_are_not_wanted_are_not_computed():
    graph = record(program(), [x()])
    assert any(name.startswith(SITE) for name in graph.outputs)
    code = graph.module.code
    bare = graph.without(SITE)
    assert bare.outputs == tuple(name for name in graph.outputs if not name.startswith(SITE))
    assert bare.operations < graph.operations
    assert graph.module.code == code
    loss_alone = bare.without(GRADIENT)
    assert loss_alone.outputs == ("loss",)
    assert loss_alone.operations < bare.operations
    made = program()
    values = []
    for one in (graph, bare, loss_alone):
        torch.manual_seed(0)
        values.append(one(*made.tensors(), *one.constants, x())[0])
    assert torch.equal(values[0], values[1])
    assert torch.equal(values[0], values[2])


def test_tensors_from_outside_are_lifted_once():
    outside, other = torch.ones(3), torch.tensor(2.0)
    made = PureProgram(
        linear(), lambda pair, x: {"sum": (x * outside).sum() + (x + outside).sum() * other + torch.tensor(5.0)}
    )
    graph = record(made, [x()])
    assert len(graph.constants) == 2
    assert {id(value) for value in graph.constants} == {id(outside), id(other)}
    assert [node.op for node in graph.module.graph.nodes].count("get_attr") <= 1  # the number made in the run

    def value():
        return float(graph(*made.tensors(), *graph.constants, x())[0])

    before = value()
    outside.add_(1)
    other.mul_(3)
    expected = float((x() * outside).sum() + (x() + outside).sum() * other + 5.0)
    assert value() == pytest.approx(expected, rel=1e-5)
    assert value() != pytest.approx(before, rel=1e-3)


def test_what_cannot_be_recorded_names_the_user_s_line():
    def reads(pair, x):
        return {"sum": x * int(x.sum())}

    with pytest.raises(NotTraceable, match=r"test_graphs\.py:\d+: `return \{\"sum\": x \* int\(x\.sum\(\)\)\}`"):
        record(PureProgram(linear(), reads), [x()])


def layouts():
    """Both operands of a product, each as it lies in memory, turned, and cut out of something larger."""
    generator = torch.Generator().manual_seed(0)
    for one in ("plain", "turned", "cut"):
        for other in ("plain", "turned", "cut"):
            yield one, other, lay(one, 6, 7, generator), lay(other, 7, 5, generator)


def lay(how, rows, columns, generator):
    if how == "plain":
        return torch.randn(rows, columns, generator=generator)
    if how == "turned":
        return torch.randn(columns, rows, generator=generator).t()
    return torch.randn(rows + 2, columns + 3, generator=generator)[1:-1, 2:-1]


def graph_of(function, *tensors):
    return make_fx(function)(*tensors)


@onednn
@pytest.mark.parametrize("bias", ["none", "vector", "row", "matrix", "scaled"])
def test_products_are_those_of_torch(bias):
    for one, other, first, second in layouts():
        vector = torch.randn(5, generator=torch.Generator().manual_seed(1))

        def product(first, second, vector):
            if bias == "none":
                return first @ second
            if bias == "scaled":
                return torch.addmm(vector, first, second, alpha=0.5)
            shape = {"vector": (5,), "row": (1, 5), "matrix": (6, 5)}[bias]
            return torch.addmm(vector.expand(*shape), first, second)

        module = graph_of(product, first, second, vector)
        count = passes.use_onednn(module, 0.0)
        assert count == (bias in ("none", "vector")), (one, other)
        seen, expected = module(first, second, vector), product(first, second, vector)
        torch.testing.assert_close(seen, expected, rtol=1e-5, atol=1e-5)
        assert seen.stride() == expected.stride()


@onednn
def test_small_products_stay_where_they_are():
    first, second = torch.randn(6, 7), torch.randn(7, 5)
    for from_flops, count in ((2 * 6 * 7 * 5 + 1, 0), (2 * 6 * 7 * 5, 1), (float("inf"), 0)):
        module = graph_of(lambda a, b: a @ b, first, second)
        assert passes.use_onednn(module, from_flops) == count
        assert (torch.ops.pyrogen.linear.default in [n.target for n in module.graph.nodes]) == bool(count)
    double = graph_of(lambda a, b: a @ b, first.double(), second.double())
    assert passes.use_onednn(double, 0.0) == 0


@onednn
@pytest.mark.parametrize("threshold", [0.0, float("inf")])
def test_products_of_a_whole_step(monkeypatch, threshold):
    monkeypatch.setattr(backend, "least_flops", lambda threads: threshold)
    batch, losses = (torch.rand(8, 6, generator=torch.Generator().manual_seed(0)) < 0.5).float(), {}
    torch.manual_seed(0)
    pair = VAE((6,), latent=2, hidden=(8,))
    optimizer = functools.partial(torch.optim.SGD, lr=0.1)
    step = compiled_svi(pair, ELBO(), optimizer, batch, compile="graph")
    torch.manual_seed(1)
    losses = [float(step(batch)) for _ in range(4)]
    assert (step.report.products > 3) == (threshold == 0.0)
    torch.manual_seed(0)
    pair = VAE((6,), latent=2, hidden=(8,))
    made = optimizer(pair.parameters())
    torch.manual_seed(1)
    for expected in losses:
        loss = ELBO().loss(pair, batch)
        assert float(loss.detach()) == pytest.approx(expected, rel=1e-4)
        made.zero_grad()
        loss.backward()
        made.step()


def test_without_onednn_all_stays_as_it_is(monkeypatch):
    monkeypatch.setattr(passes, "has_onednn_linear", lambda: False)
    passes.least_flops.cache_clear()
    assert passes.least_flops(1) == float("inf")
    passes.least_flops.cache_clear()


def test_the_advantage_is_measured_once_for_each_number_of_threads(monkeypatch):
    measured = []
    monkeypatch.setattr(passes, "least_seconds", lambda *calls, **_: measured.append(1) or [1.0, 2.0])
    monkeypatch.setattr(passes, "has_onednn_linear", lambda: True)
    passes.least_flops.cache_clear()
    assert passes.least_flops(1) == float("inf")  # torch's own is faster for the largest
    assert passes.least_flops(1) == float("inf")
    assert len(measured) == 1
    monkeypatch.setattr(passes, "least_seconds", lambda *calls, **_: [2.0, 1.0])
    assert passes.least_flops(2) == min(2.0 * a * b * c for a, b, c in passes._SIZES)
    passes.least_flops.cache_clear()


META = {
    "vae": (lambda: VAE((9,), latent=2, hidden=(8,)), ELBO()),
    "vae, iwae": (lambda: VAE((9,), latent=2, hidden=(8,)), IWAE(3)),
    "conv vae": (lambda: VAE((1, 3, 3), latent=2, hidden=(8,), architecture="conv"), ELBO(2, kl="sampled")),
    "linear, doubly reparameterized": (lambda: LinearGaussianVAE((9,)), IWAE(3, gradient="doubly-reparameterized")),
    "linear, renyi": (lambda: LinearGaussianVAE((9,), guide="full"), Renyi(0.5, 3)),
    "discrete": (lambda: DiscreteVAE((9,), latent=2), ELBO(kl="sampled")),
    "discrete, vimco": (lambda: DiscreteVAE((9,), latent=2), IWAE(3)),
    "global": (lambda: GlobalGaussian((9,)), ELBO()),
}


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
@pytest.mark.parametrize("case", META)
def test_a_step_by_graph_on_the_meta_device(case, kind):
    """A tensor made on the default device, or a read of the device by the host, raises there."""
    make, objective = META[case]
    batch = torch.ones(4, 9)
    pair = make().initialise(batch).to("meta")
    optimizer = functools.partial(kind, foreach=True)
    with pyro.validation_enabled(False):
        step = compiled_svi(pair, objective, optimizer, batch.to("meta"), compile="graph", clip=1.0)
        for _ in range(3):
            loss = step(batch.to("meta"))
    assert loss.is_meta
    assert loss.shape == ()
    assert step.report.backend == "graph"
    assert all(parameter.is_meta for parameter in pair.parameters())
    if kind is torch.optim.SGD:  # the arithmetic of Adam may be part of the graph
        assert all(parameter.grad is None or parameter.grad.is_meta for parameter in pair.parameters())
        assert any(parameter.grad is not None for parameter in pair.parameters())


def test_what_is_made_on_the_default_device_fails_on_the_meta_device():
    class Careless(LinearGaussianVAE):
        def model(self, x):
            super().model(x + torch.zeros(x.shape[0], 1, device="cpu"))

    pair = Careless((3,), latent=2).initialise(x()).to("meta")
    with pyro.validation_enabled(False), pytest.raises((RuntimeError, NotTraceable)):
        compiled_svi(pair, ELBO(), torch.optim.SGD, x().to("meta"), compile="graph")(x().to("meta"))
