"""torch alone: a loss written out, a fused Adam; eager, and with the loss under `torch.compile`."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from .problem import DEVICE, Peer, Problem, Runner, TorchBatches, Workload

__all__ = ["peers"]


def peers(workload: Workload) -> list[Peer]:
    """Eager and compiled."""
    return [
        Peer("torch by hand", partial(_Loop, workload, compiled=False)),
        Peer("torch by hand, compiled", partial(_Loop, workload, compiled=True), compiler="inductor"),
    ]


class _Loop(Runner):
    """The loop that anyone would write."""

    def __init__(self, workload: Workload, problem: Problem, *, compiled: bool) -> None:
        self.problem, self.batches = problem, TorchBatches(problem)
        with DEVICE:
            written = workload.by_hand()
        self.loss = torch.compile(written.loss, fullgraph=True) if compiled else written.loss
        self.optimizer = torch.optim.Adam(written.parameters, problem.lr, fused=True)

    def losses(self) -> NDArray[np.float64]:
        """See `Runner.losses`."""
        found = []
        for batch in self.batches:
            loss = self.loss(*batch)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            found.append(loss.detach())
        return torch.stack(found).double().cpu().numpy()
