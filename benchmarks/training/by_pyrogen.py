"""pyrogen: the objective's loss in a loop of one's own, the compiled step, and `fit` with its log and its batches."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pyro
import torch
from numpy.typing import NDArray

from pyrogen.inference import compiled_svi, fit

from .problem import DEVICE, Peer, Problem, Runner, TorchBatches, Workload

__all__ = ["peers"]


def peers(workload: Workload) -> list[Peer]:
    """Eager, compiled, and `fit` in both modes."""
    return [
        Peer("pyrogen eager", partial(_Eager, workload)),
        Peer("pyrogen fit", partial(_Fit, workload)),
        Peer("pyrogen compiled", partial(_Compiled, workload), compiler="inductor"),
        Peer("pyrogen fit, compiled", partial(_Fit, workload, compile=True), compiler="inductor", starts_anew=True),
    ]


class _Eager(Runner):
    """`Objective.loss`, its gradient, and a fused Adam."""

    def __init__(self, workload: Workload, problem: Problem) -> None:
        self.problem, self.batches = problem, TorchBatches(problem)
        self.objective = workload.objective()
        with DEVICE:
            self.pair = workload.pair()
        self.pair.initialise(_batch(self.batches.first))
        self.pair.train()
        self.optimizer = torch.optim.Adam(self.pair.parameters(), problem.lr, fused=True)

    def losses(self) -> NDArray[np.float64]:
        """See `Runner.losses`."""
        found = []
        with pyro.validation_enabled(False):
            for batch in self.batches:
                loss = self.objective.loss(self.pair, _batch(batch))
                self.optimizer.zero_grad(set_to_none=True)
                loss.backward()
                self.optimizer.step()
                found.append(loss.detach())
        return torch.stack(found).double().cpu().numpy()


class _Compiled(Runner):
    """`compiled_svi`: one traced and compiled graph for the loss and its gradient."""

    def __init__(self, workload: Workload, problem: Problem) -> None:
        self.problem, self.batches = problem, TorchBatches(problem)
        first = _batch(self.batches.first)
        with DEVICE:
            pair = workload.pair()
        pair.initialise(first)
        pair.train()
        optimizer = torch.optim.Adam(pair.parameters(), problem.lr, fused=True)
        self.step = compiled_svi(pair, workload.objective(), optimizer, first)

    def losses(self) -> NDArray[np.float64]:
        """See `Runner.losses`."""
        return torch.stack([self.step(_batch(batch)) for batch in self.batches]).double().cpu().numpy()


class _Fit(Runner):
    """`fit`, which draws its own batches; each turn is a run of its own, timed by its history from the second row on."""

    def __init__(self, workload: Workload, problem: Problem, **options: Any) -> None:
        self.workload, self.problem, self.options = workload, problem, options
        self.objective, self.batches = workload.objective(), TorchBatches(problem)
        self.seed = 0
        # A compiled step is checked against the pair at growing intervals: a longer run has its share of them.
        self.steps = problem.steps * (4 if options else 1)

    def losses(self) -> NDArray[np.float64]:
        """See `Runner.losses`."""
        return np.array([row["loss"] for row in self._history(self.problem.steps, 1)])

    def seconds(self) -> float:
        """See `Runner.seconds`."""
        rows = self._history(self.steps, max(1, self.steps // 4))
        return float((rows[-1]["seconds"] - rows[0]["seconds"]) / (rows[-1]["step"] - rows[0]["step"]))

    def _history(self, steps: int, log_every: int) -> list[Any]:
        self.seed += 1  # for `fit` seeds itself: the same seed would give the same draws again
        with DEVICE:
            pair = self.workload.pair()
        run = fit(
            pair,
            _batch(self.batches.data),
            objective=self.objective,
            steps=steps,
            batch_size=self.problem.count,
            lr=self.problem.lr,
            log_every=log_every,
            seed=self.seed,
            progress=False,
            device=DEVICE,
            **self.options,
        )
        return run.history


def _batch(tensors: tuple[torch.Tensor, ...]) -> Any:
    """A batch as pyrogen takes it: one tensor, or several."""
    return tensors[0] if len(tensors) == 1 else tensors
