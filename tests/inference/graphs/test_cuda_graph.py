"""Calls captured as CUDA graphs, acted out on a CPU: memory of their own, and checked before they are used."""

from __future__ import annotations

import pytest
import torch

from pyrogen.inference import ELBO, compiled_svi, fit
from pyrogen.inference.graphs import compiled_function
from pyrogen.models import VAE


class Played:
    """Runs on the tensors of the capture, as a CUDA graph does."""

    wrong = 0.0
    made = 0

    def __init__(self, call, tensors, given):
        self.call, self.given = call, given
        self.tensors = [t.clone() if i in given else t for i, t in enumerate(tensors)]
        self.places = [t.data_ptr() for t in self.tensors]
        type(self).made += 1

    def holds(self, tensors):
        fixed = [i for i in range(len(tensors)) if i not in self.given]
        return all(self.places[i] == tensors[i].data_ptr() for i in fixed)

    def __call__(self, *tensors):
        for i in self.given:
            self.tensors[i].copy_(tensors[i])
        self.tensors[self.given[0]].add_(self.wrong)
        return [value.clone() for value in self.call(*self.tensors)]


@pytest.fixture
def played(monkeypatch):
    monkeypatch.setattr(compiled_function, "CudaGraph", Played)
    monkeypatch.setattr(compiled_function, "capturable", lambda tensors: True)
    monkeypatch.setattr(Played, "wrong", 0.0)
    monkeypatch.setattr(Played, "made", 0)


DATA = torch.rand(60, 6, generator=torch.Generator().manual_seed(0)).round()


def trained(steps=30, **options):
    torch.manual_seed(0)
    run = fit(VAE((6,), 2, (5,)), DATA, batch_size=20, steps=steps, compile="graph", progress=False, log_every=1, **options)
    return run, [row["loss"] for row in run.history], run.pair.state_dict()


def test_captured_steps_are_those_of_the_graph(played, monkeypatch):
    run, losses, state = trained()
    assert (run.compiled.cuda_graphs, Played.made) == (1, 1)
    assert run.compiled.checks > 5  # those of the captured one among them leave the state as it was
    monkeypatch.setattr(compiled_function, "capturable", lambda tensors: False)
    plain, expected, parameters = trained()
    assert plain.compiled.cuda_graphs == 0
    assert losses == expected
    assert all(torch.equal(state[name], parameters[name]) for name in parameters)


def test_a_captured_graph_that_computes_something_else_is_never_used(played, monkeypatch):
    monkeypatch.setattr(Played, "wrong", 0.01)
    run, losses, _ = trained()
    assert (run.compiled.cuda_graphs, Played.made) == (0, 1)
    monkeypatch.setattr(compiled_function, "capturable", lambda tensors: False)
    assert losses == trained()[1]


def test_what_cannot_be_captured_runs_all_the_same(played, monkeypatch):
    def refuse(*arguments):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(compiled_function, "CudaGraph", refuse)
    assert trained()[0].compiled.cuda_graphs == 0


def test_tensors_that_were_replaced_are_captured_anew(played):
    torch.manual_seed(0)
    pair = VAE((6,), 2, (5,))
    step = compiled_svi(pair, ELBO(), torch.optim.Adam(pair.parameters(), 1e-2), DATA[:20], compile="graph")
    for _ in range(8):
        step(DATA[:20])
    for parameter in pair.parameters():
        parameter.data = parameter.data.clone()
    before = [parameter.clone() for parameter in pair.parameters()]
    step(DATA[:20])
    assert Played.made == 2
    assert all(not torch.equal(old, new) for old, new in zip(before, pair.parameters(), strict=True))
