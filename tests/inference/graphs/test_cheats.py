"""What Python decides would freeze in a graph: it is found, and named, or the pair itself is run."""

from __future__ import annotations

import functools
import inspect
import random
import warnings

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyrogen import Pair
from pyrogen.errors import GraphMismatch, NotTraceable
from pyrogen.inference import ELBO, compiled_svi

BATCHES = [torch.randn(6, 2, generator=torch.Generator().manual_seed(i)) for i in range(9)]
"""At steps 0, 1, 2, 4 and 8 the graph is compared with the pair."""


class Cheat(Pair):
    """z ~ N(0, 1), x ~ N(a z + b, 1) and a `factor` of z's scale that Python decides."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.t = (nn.Parameter(torch.tensor(value)) for value in (0.5, 0.1, 0.2))
        self.step, self.box, self.seen = 0, {"factor": 1.0}, []

    def factor(self, x):
        return 1.0

    def model(self, x):
        factor = self.factor(x)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Normal(factor * self.a * z + self.b, 1.0), obs=x[:, 0])

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.t * x[:, 0], 1.0))


class Honest(Cheat):
    def factor(self, x):
        return torch.where(x.sum() > 0, 1.0, 2.0)


class Selects(Cheat):
    """As many as there are: a shape that only the data know."""

    def factor(self, x):
        return x[x[:, 1] > 0].sum()


class Annealed(Cheat):
    def factor(self, x):
        self.step += 1
        return min(1.0, self.step / 100)


class Random(Cheat):
    def factor(self, x):
        return random.random()


class NumpyRandom(Cheat):
    def factor(self, x):
        return np.random.uniform()  # noqa: NPY002


class Numpy(Cheat):
    def factor(self, x):
        return float(x.numpy()[0, 1])


class NumpyMean(Cheat):
    """The same for any order of the rows, and another for the next batch."""

    def factor(self, x):
        return float(x.numpy().mean())


class Grows(Cheat):
    def factor(self, x):
        self.seen.append(1.0)
        return 1.0 + len(self.seen) / 10


class Mutable(Cheat):
    def factor(self, x):
        return self.box["factor"]


class InPlace(Cheat):
    """A counter that is a tensor, but no buffer."""

    def __init__(self):
        super().__init__()
        self.box = {"count": torch.zeros(())}

    def factor(self, x):
        return 1.0 + self.box["count"].add_(1) / 10


class OwnGenerator(Cheat):
    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def factor(self, x):
        return torch.rand((), generator=self.generator)


class Comes(Cheat):
    """A site that is there in every other run."""

    def model(self, x):
        super().model(x)
        self.step += self.training  # the probe runs in evaluation mode
        if self.training and self.step % 2:
            pyro.factor("visitor", -self.b.square())


class Goes(Cheat):
    def model(self, x):
        super().model(x)
        if self.box["factor"] == 1.0:
            pyro.factor("visitor", -self.b.square())


class Late(Cheat):
    """Frozen long after the start."""

    def factor(self, x):
        return self.box["factor"]


class Item(Cheat):
    def factor(self, x):
        return x.sum().item()


class Float(Cheat):
    def factor(self, x):
        return float(self.a.detach())


class Branch(Cheat):
    def factor(self, x):
        if x.sum() > 0:
            return 1.0
        return 2.0


def at(step, change):
    return lambda number, pair: change(pair) if number == step else None


def set_factor(pair):
    pair.box["factor"] = 2.0


FROZEN = {
    "annealed": (Annealed, "log probability of site 'x'"),
    "random": (Random, "log probability of site 'x'"),
    "numpy random": (NumpyRandom, "log probability of site 'x'"),
    "numpy": (Numpy, r"log probability of site 'x' .* at call 0"),
    "numpy mean": (NumpyMean, "log probability of site 'x'"),
    "a list that grows": (Grows, "log probability of site 'x'"),
    "mutable state": (Mutable, r"log probability of site 'x' .* at call 2"),
    "late": (Late, r"log probability of site 'x' .* at call 4"),
    "a tensor written to": (InPlace, "log probability of site 'x'"),
    "a generator of its own": (OwnGenerator, "log probability of site 'x'"),
    "a site that comes and goes": (Comes, "site 'visitor' was"),
    "a site that goes": (Goes, "site 'visitor' was there when the graph was recorded, and is not any more"),
}
CHANGES = {"mutable state": at(2, set_factor), "a site that goes": at(2, set_factor), "late": at(3, set_factor)}
UNTRACEABLE = {
    "item": (Item, "factor"),
    "float": (Float, "factor"),
    "if": (Branch, "factor"),
}


def steps(make, compile, change=None):
    torch.manual_seed(0)
    pair, losses = make(), []
    optimizer = torch.optim.SGD(pair.parameters(), lr=0.01)
    step = compiled_svi(pair, ELBO(kl="sampled"), optimizer, BATCHES[0], compile=compile) if compile else None
    torch.manual_seed(1)
    for number, x in enumerate(BATCHES):
        if change is not None:
            change(number, pair)
        if step is not None:
            losses.append(float(step(x)))
            continue
        with pyro.validation_enabled(False):
            loss = ELBO(kl="sampled").loss(pair, x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses, step


@pytest.mark.parametrize("case", FROZEN)
def test_what_would_freeze_is_found(case):
    make, fragment = FROZEN[case]
    with pytest.raises(GraphMismatch, match=fragment) as raised:
        steps(make, "graph", CHANGES.get(case))
    assert "keep it in a buffer" in str(raised.value)
    assert "compile=False" in str(raised.value)


@pytest.mark.parametrize("case", UNTRACEABLE)
def test_what_needs_a_value_on_the_host_is_found_with_its_line(case):
    make, where = UNTRACEABLE[case]
    with pytest.raises(NotTraceable) as raised:
        steps(make, "graph")
    source, first = inspect.getsourcelines(getattr(make, where))
    lines = [
        number for number, text in enumerate(source, first) if f"{__file__}:{number}: `{text.strip()}`" in str(raised.value)
    ]
    assert len(lines) == 1
    assert "needs the value of a tensor on the host" in str(raised.value)
    assert "torch.where" in str(raised.value)


@pytest.mark.parametrize("make", [Honest, Selects])
def test_an_honest_pair_is_not_blamed(make):
    assert steps(make, False)[0] == pytest.approx(steps(make, "graph")[0], rel=1e-5)


@pytest.mark.parametrize("case", ["mutable state", "late", "a site that goes", "numpy mean", *UNTRACEABLE])
def test_auto_runs_the_pair_itself(case):
    """Cheats that more runs do not disturb: from the step at which it is found, losses are those of the pair itself."""
    make = {**FROZEN, **UNTRACEABLE}[case][0]
    with pytest.warns(UserWarning, match="compile='auto' runs the pair itself") as caught:
        losses, step = steps(make, "auto", CHANGES.get(case))
    assert len(caught) == 1
    assert step.report.backend == "eager"
    assert step.report.fallback in str(caught[0].message)
    expected, _ = steps(make, False, CHANGES.get(case))
    same = slice(3) if case == "late" else slice(None)  # there, step 3 ran the graph that step 4 found out
    assert losses[same] == pytest.approx(expected[same], rel=1e-5)


@pytest.mark.parametrize("case", ["annealed", "random", "a list that grows", "a site that comes and goes"])
def test_auto_warns_of_cheats_that_change_with_every_run(case):
    with pytest.warns(UserWarning, match="compile='auto' runs the pair itself"):
        losses, step = steps(FROZEN[case][0], "auto")
    assert step.report.fallback is not None
    assert len(losses) == len(BATCHES)


def test_auto_takes_the_graph_of_an_honest_pair():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        losses, step = steps(Honest, "auto")
    assert step.report.backend == "graph"
    assert losses == pytest.approx(steps(Honest, False)[0], rel=1e-5)


def test_a_mismatch_leaves_parameters_and_generators_as_they_were():
    pair = Mutable()
    step = compiled_svi(pair, ELBO(), functools.partial(torch.optim.SGD, lr=0.1), BATCHES[0], compile="graph")
    step(BATCHES[0])
    set_factor(pair)
    before, generator = {name: value.clone() for name, value in pair.state_dict().items()}, torch.get_rng_state()
    with pytest.raises(GraphMismatch):
        step(BATCHES[1])
    assert all(torch.equal(value, before[name]) for name, value in pair.state_dict().items())
    assert torch.equal(generator, torch.get_rng_state())


def test_a_gradient_that_differs_is_found():
    """The value is the same; only its gradient is decided by Python."""

    class Detached(Cheat):
        def factor(self, x):
            return 1.0 if self.box["factor"] == 1.0 else (self.a / self.a.detach())

    with pytest.raises(GraphMismatch, match="the gradient of 'a' differs"):
        steps(Detached, "graph", at(2, set_factor))


def test_a_buffer_that_differs_is_found():
    class Writes(Cheat):
        def __init__(self):
            super().__init__()
            self.register_buffer("total", torch.zeros(()))

        def factor(self, x):
            self.total.add_(self.box["factor"])
            return 1.0

    with pytest.raises(GraphMismatch, match="buffer 'total' differs"):
        steps(Writes, "graph", at(2, set_factor))


def test_a_loss_that_is_not_finite_in_both_is_no_mismatch():
    class Overflows(Cheat):
        def factor(self, x):
            return (self.a * 1e30).exp()

    losses, step = steps(Overflows, "graph")
    assert not any(map(np.isfinite, losses))
    assert step.report.checks == 5
