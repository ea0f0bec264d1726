"""The training loop's state and its one step.

`Trainer` holds what is carried from step to step: the pair, the optimizer, the scheduler, the generators, the place in the
data. All of it goes into a checkpoint, so that a resumed run is bit-equal to one that was never stopped.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from pyrogen.batch import Batch, index, length, map_tensors
from pyrogen.errors import PairError
from pyrogen.pair import Pair

from .checkpoint import generator_states, load_parameters, set_generator_states
from .objective import Objective
from .weights import weigh

__all__ = ["Rows", "Trainer", "rows_of"]


class Rows(Protocol):
    """Data that training draws batches from; `pyrogen.data.Split` is one."""

    def __len__(self) -> int:
        """Number of data."""

    def draw(self, rows: Tensor | None = None) -> Batch:
        """A training batch of those rows."""


class _TensorRows:
    """A batch, as rows to draw from."""

    def __init__(self, batch: Batch) -> None:
        self.batch, self.count = batch, length(batch)

    def __len__(self) -> int:
        return self.count

    def draw(self, rows: Tensor | None = None) -> Batch:
        return self.batch if rows is None else index(self.batch, rows)


def rows_of(data: Any, device: torch.device) -> Rows:
    """Data on a device, as rows to draw batches from."""
    if hasattr(data, "draw"):
        moved: Rows = data.to(device)
        return moved
    return _TensorRows(map_tensors(data, lambda tensor: tensor.to(device)))


class Trainer:
    """What is carried from step to step, and the step."""

    def __init__(
        self,
        pair: Pair,
        data: Rows,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        scheduler: torch.optim.lr_scheduler.LRScheduler | None,
        *,
        batch_size: int,
        clip: float | None,
        beta: Callable[[int], float],
        seed: int,
        device: torch.device,
    ) -> None:
        self.pair, self.data, self.objective = pair, data, objective
        self.optimizer, self.scheduler = optimizer, scheduler
        self.batch_size, self.clip, self.beta = batch_size, clip, beta
        self.seed, self.device = seed, device
        self.done = 0
        self.losses: list[Tensor] = []
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.steps_per_epoch = math.ceil(len(data) / batch_size)
        self._known = len(list(pair.parameters()))
        self._order: tuple[int, list[Tensor]] | None = None

    def step(self) -> None:
        """One step: draw a batch, take the gradient, clip it, update. Never waits for the device."""
        batch = self.data.draw(self._rows())
        loss = self.objective.loss(self.pair, batch, **self._beta())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.clip)
        self.optimizer.step()
        if self.scheduler is not None:
            self.scheduler.step()
        self.losses.append(loss.detach())
        self.done += 1
        if "pyro_params" in self.pair._modules and len(list(self.pair.parameters())) != self._known:
            raise PairError(
                f"a pyro.param statement ran for the first time at step {self.done - 1}, too late to be trained: "
                "reach all of them in every run of model and guide"
            )

    def take_losses(self) -> Tensor:
        """The losses of the steps since the last call, on the host, (steps,), in nats per datum."""
        losses = torch.stack(self.losses).cpu()
        self.losses = []
        return losses

    def state(self) -> dict[str, Any]:
        """All that is carried, as plain values and tensors, copied."""
        return copy.deepcopy(
            {
                "pair": dict(self.pair.state_dict()),
                "optimizer": self.optimizer.state_dict(),
                "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
                "objective": {name: value.detach() for name, value in self.objective.state.items()},
                "generators": generator_states(self.device),
                "step": self.done,
                "losses": [loss.detach() for loss in self.losses],
            }
        )

    def load(self, state: dict[str, Any], source: str) -> None:
        """Take over a state."""
        state = copy.deepcopy(state)  # an optimizer keeps the tensors that it is given
        load_parameters(self.pair, state["pair"], source)
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scheduler is not None and state["scheduler"] is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        self.objective.state = {name: value.to(self.device) for name, value in state["objective"].items()}
        self.losses = [loss.to(self.device) for loss in state["losses"]]
        self.done = state["step"]
        set_generator_states(state["generators"], self.device)

    def sites_not_finite(self) -> list[str]:
        """Run the next step's batch and name the sites whose log probability is not finite."""
        batch = self.data.draw(self._rows())
        with torch.no_grad():
            weighed = weigh(self.pair, batch, self.pair.structure(batch), self.objective.particles)
        sites = [*weighed.guide.visited.values(), *weighed.model.visited.values()]
        return list(dict.fromkeys(s.name for s in sites if not bool(torch.isfinite(s.log_prob()).all())))

    def _beta(self) -> dict[str, float]:
        beta = self.beta(self.done)
        return {} if beta == 1.0 else {"beta": beta}

    def _rows(self) -> Tensor | None:
        """Rows of the next batch: each epoch has an order of its own, which depends on nothing but the seed."""
        if self.steps_per_epoch == 1:
            return None
        epoch, place = divmod(self.done, self.steps_per_epoch)
        if self._order is None or self._order[0] != epoch:
            generator = torch.Generator().manual_seed(hash((self.seed, epoch)) % 2**63)
            order = torch.randperm(len(self.data), generator=generator).to(self.device)
            self._order = (epoch, list(torch.split(order, self.batch_size)))
        return self._order[1][place]
