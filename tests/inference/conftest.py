"""Training by the pair itself and by recorded graphs, from one state of the generators."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import pyro
import pytest
import torch
from torch import Tensor

from pyrogen.inference import CompileReport, compiled_svi


@dataclass
class Trained:
    """What a few steps have left."""

    losses: list[Tensor]
    parameters: dict[str, Tensor]
    state: dict[str, Tensor]
    generator: Tensor
    report: CompileReport | None = None
    before: dict[str, Tensor] = field(default_factory=dict)


def _train(make, objective, batches, *, compile=False, optimizer=None, clip=None, betas=None, change=None) -> Trained:
    """Take a step on each batch; `change(step, pair)` may meddle before each."""
    torch.manual_seed(0)
    pair, objective = make(), objective()
    pair.initialise(batches[0])
    pair.train()
    before = {name: value.detach().clone() for name, value in pair.state_dict().items()}
    trained = [p for p in pair.parameters() if p.requires_grad]
    optimizer = (optimizer or (lambda p: torch.optim.Adam(p, lr=0.01, fused=True)))(trained)
    step: Any = compiled_svi(pair, objective, optimizer, batches[0], compile=compile, clip=clip) if compile else None
    torch.manual_seed(1)
    losses, state = [], {}
    for number, batch in enumerate(batches):
        if change is not None:
            change(number, pair)
        beta = {} if betas is None else {"beta": torch.tensor(betas[number])}
        if step is not None:
            losses.append(step(batch, **beta).clone())
            continue
        with pyro.validation_enabled(False):
            loss, state, _ = objective.compute(pair, batch, state, **beta)
        optimizer.zero_grad()
        loss.backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(trained, clip)
        optimizer.step()
        losses.append(loss.detach())
    after = {name: value.detach().clone() for name, value in pair.state_dict().items()}
    report, state = (None, state) if step is None else (step.report, step.state)
    return Trained(losses, after, dict(state), torch.get_rng_state(), report, before)


@pytest.fixture
def train():
    return _train


@pytest.fixture
def assert_same():
    """Whether two trainings agree to the rounding of single precision."""

    def check(first: Trained, second: Trained, **tolerance: float) -> None:
        tolerance = tolerance or {"rtol": 1e-4, "atol": 1e-5}
        torch.testing.assert_close(torch.stack(first.losses), torch.stack(second.losses), **tolerance)
        for one, other in ((first.parameters, second.parameters), (first.state, second.state)):
            assert one.keys() == other.keys()
            for name, value in one.items():
                torch.testing.assert_close(value, other[name], **tolerance, msg=lambda text, name=name: f"{name}: {text}")
        assert torch.equal(first.generator, second.generator), "another number of random numbers was drawn"

    return check


@pytest.fixture
def inductor():
    """torch's compiler, whose first import warns of what torch itself still uses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import torch._inductor.compile_fx
        import torch._inductor.config
    return torch._inductor
