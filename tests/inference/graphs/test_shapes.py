"""One graph for each shape and kind of batch, not too many of them, and none for another dtype or device."""

from __future__ import annotations

import functools

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyrogen import Pair
from pyrogen.errors import ConfigurationError, DataError
from pyrogen.inference import ELBO, compiled_svi
from pyrogen.inference.graphs.batches import fixed_part
from pyrogen.inference.graphs.compiled_function import _GRAPHS
from pyrogen.inference.training.recorded_loss import Layout
from pyrogen.inference.training.recorded_steps import _KINDS, RecordedLoss
from pyrogen.models import LinearGaussianVAE


def rows(count, seed=0):
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))


class Scaled(Pair):
    """A batch of data and of anything else."""

    def __init__(self):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(3))

    def model(self, x, what=1.0):
        factor = float(np.sum([float(part) for part in what]) if isinstance(what, list | tuple | np.ndarray) else what)
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(self.loc * factor, 1.0).to_event(1), obs=x)


def linear():
    return LinearGaussianVAE((3,), latent=2)


def test_a_graph_for_each_number_of_rows(train, assert_same):
    batches = [rows(count, seed) for seed, count in enumerate([8, 8, 8, 3, 8, 5, 3, 1, 8, 5])]
    optimizer = functools.partial(torch.optim.SGD, lr=0.01)
    by_pair, by_graph = (train(linear, ELBO, batches, compile=compile, optimizer=optimizer) for compile in (False, "graph"))
    assert_same(by_pair, by_graph)
    report = by_graph.report
    assert report.graphs == 4
    assert report.modes == {"8x3": "graph", "3x3": "graph", "5x3": "graph", "1x3": "graph"}
    assert report.compilations == 0
    assert report.checks == 4 + 2 + 2 + 1  # at calls 0, 1, 2 and 4 of each shape
    assert report.operations > 10


def test_rare_shapes_do_not_drive_out_the_common_one():
    pair, x = linear(), rows(8)
    step = compiled_svi(pair, ELBO(), functools.partial(torch.optim.SGD, lr=0.01), x, compile="graph")
    for count in range(1, _GRAPHS + 4):
        step(x)
        step(rows(20 + count))
    assert step.report.graphs == 1 + _GRAPHS + 3
    step(rows(20 + count))
    step(x)
    assert step.report.graphs == 1 + _GRAPHS + 3
    step(rows(21))  # dropped in the meantime
    assert step.report.graphs == 1 + _GRAPHS + 4
    ((_, function),) = step._recorded._kinds.values()
    assert len(function._entries) == _GRAPHS


@pytest.mark.parametrize(
    ("first", "second", "fragment"),
    [
        (rows(4), rows(4).double(), r"float64 on cpu.* where the first one held float32 on cpu"),
        (rows(4), rows(4).to("meta"), r"float32 on meta.* where the first one held float32 on cpu"),
        ((rows(4),), (rows(4).double(),), "float64"),
        ({"x": rows(4)}, {"x": rows(4).half()}, "float16"),
    ],
)
def test_another_dtype_or_device_is_refused(first, second, fragment):
    step = compiled_svi(
        linear() if isinstance(first, torch.Tensor) else Scaled(), ELBO(), torch.optim.Adam, first, compile="graph"
    )
    step(first)
    with pytest.raises(DataError, match=fragment):
        step(second)


CHANGING = {
    "floats": [1.0, 2.0, 1.0, 2.0],
    "true and one": [1, True, 1.0, True],
    "lists": [[1.0], [2.0], [1.0], [2.0]],
    "tuples": [(1, True), (1, 2), (1, True), (1.0, True)],
    "arrays": [np.arange(3000.0), np.arange(3000.0) + (np.arange(3000) == 1500), np.arange(3000.0), np.ones(2)],
}
"""Values that Python could take for one another."""


@pytest.mark.parametrize("case", CHANGING)
def test_what_is_no_tensor_chooses_the_graph(case, train, assert_same):
    values = CHANGING[case]
    scale = 1.0 if case != "arrays" else 1e-6
    batches = [(rows(4) * scale, value) for value in values]
    optimizer = functools.partial(torch.optim.SGD, lr=0.01 * scale**2)
    by_pair, by_graph = (train(Scaled, ELBO, batches, compile=c, optimizer=optimizer) for c in (False, "graph"))
    assert_same(by_pair, by_graph)
    assert by_graph.report.graphs == len({repr((type(v), v if not isinstance(v, np.ndarray) else v.sum())) for v in values})


def test_a_list_that_grows_is_another_value(train, assert_same):
    def batches():
        seen = []
        for _ in range(4):
            seen.append(1.0)
            yield rows(4), seen

    def steps(compile):
        torch.manual_seed(0)
        pair, losses = Scaled(), []
        step = None
        for batch in batches():
            if compile:
                step = step or compiled_svi(pair, ELBO(), functools.partial(torch.optim.SGD, lr=0.1), batch, compile="graph")
                losses.append(float(step(batch)))
            else:
                loss = ELBO().loss(pair, batch)
                (gradient,) = torch.autograd.grad(loss, [pair.loc])
                pair.loc.data -= 0.1 * gradient
                losses.append(loss.item())
        return losses

    assert steps(False) == pytest.approx(steps(True), rel=1e-5)


def test_too_many_values_are_warned_of_and_dropped(train):
    pair = Scaled()
    step = compiled_svi(pair, ELBO(), torch.optim.SGD, (rows(4), 0.5), compile="graph")
    for number in range(_KINDS):
        step((rows(4), float(number)))
    with pytest.warns(UserWarning, match=f"more than {_KINDS} values"):
        step((rows(4), 99.0))
    step((rows(4), 100.0))  # warned of once
    assert len(step._recorded._kinds) == _KINDS


@pytest.mark.parametrize(
    ("what", "fragment"), [([torch.ones(2)], "entry 1 of a batch is or holds a Tensor"), ({1, 2}, "a set"), ([{1}], "a set")]
)
def test_entries_that_no_graph_can_be_chosen_by(what, fragment):
    with pytest.raises(DataError, match=fragment):
        fixed_part((rows(4), what))
    with pytest.raises(DataError, match="entry 'what'"):
        fixed_part({"x": rows(4), "what": what})


@pytest.mark.parametrize(
    "batch", [rows(2), (rows(2),), (rows(2), 3, "word", None), [rows(2), 1.0], {"x": rows(2), "b": 2, "a": torch.ones(2)}]
)
@pytest.mark.parametrize("with_beta", [False, True])
def test_a_layout_unpacks_what_it_packs(batch, with_beta):
    state = {"one": torch.tensor(1.0), "two": torch.tensor(2.0)}
    layout = Layout(batch, state, with_beta=with_beta)
    beta = torch.tensor(0.3) if with_beta else None
    again, factor, carried = layout.unpack(layout.pack(batch, state, beta))
    assert factor is beta or (beta is None and factor == 1.0)
    assert carried == state
    if isinstance(batch, torch.Tensor):
        assert again is batch
    elif isinstance(batch, dict):
        assert again.keys() == batch.keys()
        assert all(again[name] is value for name, value in batch.items())
    else:
        assert isinstance(again, tuple)
        assert all(one is other for one, other in zip(again, batch, strict=True))


@pytest.mark.parametrize("compile", [1, 0, "yes", None, "inductor"])
def test_unknown_ways_to_compile(compile):
    with pytest.raises(ConfigurationError, match="unknown compile="):
        compiled_svi(linear(), ELBO(), torch.optim.Adam, rows(4), compile=compile)(rows(4))


def test_nothing_is_recorded_without_compiling():
    pair = linear()
    with pytest.raises(ConfigurationError, match="a loss is recorded as graphs"):
        RecordedLoss(pair, ELBO().compute, list(pair.named_parameters()), False)
