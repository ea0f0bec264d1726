"""Pyro: `SVI.step` with Pyro's own Adam, with validation (its default) and without."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pyro
from numpy.typing import NDArray
from pyro.infer import ELBO, SVI

from .problem import Peer, Problem, Runner, TorchBatches, Workload

__all__ = ["peers"]


def peers(workload: Workload) -> list[Peer]:
    """One for each of Pyro's objectives, and one without validation."""
    found = []
    for name, elbo in workload.pyro_elbos().items():
        title = f"Pyro SVI, {name}" if name else "Pyro SVI"
        found.append(Peer(title, partial(_SVI, workload, elbo, True)))
        if not name:
            found.append(Peer(f"{title}, no validation", partial(_SVI, workload, elbo, False)))
    return found


class _SVI(Runner):
    """`SVI.step`, which reads the loss in every step, with a parameter store of its own."""

    def __init__(self, workload: Workload, elbo: Callable[[], ELBO], validate: bool, problem: Problem) -> None:
        self.problem, self.batches, self.validate = problem, TorchBatches(problem), validate
        model, guide = workload.programs()
        self.svi = SVI(model, guide, pyro.optim.Adam({"lr": problem.lr}), elbo())
        self.store = {"params": {}, "constraints": {}}

    def losses(self) -> NDArray[np.float64]:
        """See `Runner.losses`."""
        with pyro.get_param_store().scope(self.store) as self.store, pyro.validation_enabled(self.validate):
            found = [self.svi.step(*batch) for batch in self.batches]
        return np.array(found) / self.problem.count
