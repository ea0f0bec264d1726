"""The training loop's state and its one step.

`Trainer` holds what is carried from step to step: the pair, the phases with their optimizers, what the objective carries,
the generators, the place in the data. All of it goes into a checkpoint, so that a resumed run is bit-equal to one that was
never stopped.

With several processes a step is one of a batch as many times as large, of which each process takes its share. What a run
of the pair changes by itself (the running statistics of batch norm, running averages) goes on from a process's own share;
where it is measured or saved, all take over that of the first process.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pyrogen.batch import Batch, index, length
from pyrogen.errors import PairError
from pyrogen.pair import Pair
from pyrogen.processes import Processes

from ..estimators.shares import share
from ..objectives.objective import Objective, State
from ..weights.terms import visit
from .checkpoints import generator_states, load_parameters, set_generator_states
from .fused_steps import FusedSteps
from .loader_batches import LoaderBatches
from .phases import TrainedPhase
from .training_rows import Rows

__all__ = ["Trainer", "steps_per_epoch"]

_STOP_EVERY = 20  # steps between looks at whether to stop, where a look waits for the device


class Trainer:
    """What is carried from step to step, and the step.

    Args:
        pair: the pair.
        data: where batches come from.
        objective: what is minimised.
        phases: its phases, in their order.
        batch_size: data per step, of each process; a loader's batches have its own.
        beta: factor of the divergence, fixed or by step.
        seed: seeds the order of the data.
        device: where the pair is.
        processes: those that share a step.
        fused: takes several steps of the one phase in a call, optimizer included.
    """

    def __init__(
        self,
        pair: Pair,
        data: Rows | LoaderBatches,
        objective: Objective,
        phases: Sequence[TrainedPhase],
        *,
        batch_size: int,
        beta: float | Callable[[int], float],
        seed: int,
        device: torch.device,
        processes: Processes | None = None,
        fused: FusedSteps | None = None,
    ) -> None:
        self.pair, self.data, self.objective, self.phases = pair, data, objective, list(phases)
        self.batch_size = batch_size
        self.beta_varies = callable(beta) or beta != 1.0
        self.beta: Callable[[int], float] = beta if callable(beta) else lambda step: float(beta)
        self.seed, self.device = seed, device
        self.processes = processes or Processes()
        self.interrupted: Callable[[], bool] = lambda: False
        self.done = 0
        self.carried: State = {}
        """What the objective carries to the next step."""
        self.steps_per_epoch = steps_per_epoch(data, batch_size, self.processes)
        self._count = 0 if isinstance(data, LoaderBatches) else len(data)
        self._known = len(list(pair.parameters()))
        self._orders: dict[int, list[Tensor]] = {}
        self._index_device = getattr(data, "index_device", device)
        self._stop: Tensor | None = None
        self._fused = fused

    def step(self, limit: int = 1) -> None:
        """Take a step of each phase whose turn it is, on one batch. Never waits for the device.

        Args:
            limit: how many steps may be taken; those of a fused call are where it allows for as many and their batches have
                one size, else one.
        """
        if self._fused is not None and self._takes_fused_steps(self._fused, limit):
            return
        batch, weight = self._batch()
        beta = self.beta(self.done) if self.beta_varies else None
        average = partial(self._averaged, weight) if self.processes.size > 1 else None
        for phase in self.phases:
            if self.done % phase.phase.every == 0:
                self.carried = phase.step(self.done, batch, self.carried, beta, average)
        self.done += 1
        self._refuse_late_parameters()

    def _batch(self) -> tuple[Batch, float]:
        """This process's share of the batch of the next step, and the share's weight."""
        if isinstance(self.data, LoaderBatches):
            batch = self.data.at(self.done)
            if self.processes.size == 1:
                return batch, 1.0
            own, weight = self._share(torch.arange(length(batch), device=self.device))
            return index(batch, own), weight
        rows, weight = self._rows()
        batch = self.data.draw(rows)
        if hasattr(self.data, "expect") and self.steps_per_epoch > 1:
            self.data.expect(self._rows(self.done + 1)[0])
        return batch, weight

    def _refuse_late_parameters(self) -> None:
        if "pyro_params" in self.pair._modules and len(list(self.pair.parameters())) != self._known:
            raise PairError(
                f"a pyro.param statement ran for the first time at step {self.done - 1}, too late to be trained: "
                "reach all of them in every run of model and guide"
            )

    def _takes_fused_steps(self, fused: FusedSteps, limit: int) -> bool:
        """Take the next steps in one call, if that can be."""
        if isinstance(self.data, LoaderBatches):
            return False
        count, phase = fused.steps, self.phases[0]
        rows = [self._rows(self.done + i)[0] for i in range(count)] if limit >= count else []
        if not rows or len({None if part is None else len(part) for part in rows}) > 1:
            return False
        if rows[0] is None:
            every_row = None if count == 1 else torch.arange(self._count, device=self._index_device).repeat(count)
            batch = self.data.draw(every_row)
        else:
            batch = self.data.draw(torch.cat([part for part in rows if part is not None]) if count > 1 else rows[0])
        betas = None
        if self.beta_varies:
            betas = torch.tensor([self.beta(self.done + i) for i in range(count)], device=self.device)
        settings = None
        if phase.scheduler is not None:
            settings = []
            for _ in range(count):
                settings.append(fused.settings())
                phase.scheduler.step()
        losses, self.carried, measured = fused(batch, self.carried, betas, settings)
        for i in range(count):
            phase.keep(self.done + i, losses[i], {name: values[i] for name, values in measured.items()})
        self.done += count
        self._refuse_late_parameters()
        return True

    def stopping(self) -> bool:
        """Whether to stop after this step: every process comes to the same answer."""
        if self.processes.size == 1:
            return self.interrupted()
        if self._stop is None or (self._stop.device.type != "cpu" and self.done % _STOP_EVERY):
            return False
        return bool(self._stop > 0)

    def align(self) -> None:
        """Take over from the first process what a step changes and the optimizers do not."""
        trained = {id(parameter) for phase in self.phases for parameter in phase.parameters}
        networks = self.objective.networks
        others = [p for p in (*self.pair.parameters(), *networks.parameters()) if id(p) not in trained]
        self.processes.broadcast([*others, *self.pair.buffers(), *networks.buffers()])

    def _averaged(
        self, weight: float, gradients: Sequence[Tensor | None], parameters: Sequence[Tensor], loss: Tensor
    ) -> tuple[list[Tensor | None], Tensor]:
        """The gradients and the loss of the batch of all processes; the gradient of what is not reached is zero."""
        present = [torch.zeros_like(p) if g is None else g for g, p in zip(gradients, parameters, strict=True)]
        (total, *means), self._stop = self.processes.average([loss, *present], weight, self.interrupted())
        return list(means), total

    def first_not_finite(self) -> tuple[int, str] | None:
        """The first step since the last row of the history whose loss is not finite, and its phase; None where all are."""
        bad: list[tuple[int, str]] = []
        for phase in self.phases:
            if phase.losses:
                finite = torch.isfinite(torch.stack([loss for _, loss in phase.losses])).cpu()
                bad += [(phase.losses[int(i)][0], phase.phase.name) for i in (~finite).nonzero()[:1, 0]]
        return min(bad, default=None)

    def take_means(self) -> dict[str, float | None]:
        """Means of the losses, in nats per datum, and of what was measured, since the last call: columns of the history."""
        found: dict[str, float | None] = {}
        for phase in self.phases:
            column = "loss" if len(self.phases) == 1 else f"loss.{phase.phase.name}"
            found[column] = _mean([loss for _, loss in phase.losses])
        for phase in self.phases:
            found.update((name, _mean(values)) for name, values in phase.measured.items())
            phase.losses, phase.measured = [], {name: [] for name in phase.measured}
        return found

    def state(self) -> dict[str, Any]:
        """All that is carried, as plain values and tensors, copied."""
        return copy.deepcopy(
            {
                "pair": dict(self.pair.state_dict()),
                "networks": dict(self.objective.networks.state_dict()),
                "phases": {phase.phase.name: phase.state() for phase in self.phases},
                "objective": {name: value.detach() for name, value in self.carried.items()},
                "generators": generator_states(self.device),
                "step": self.done,
            }
        )

    def load(self, state: Mapping[str, Any], source: str) -> None:
        """Take over a state."""
        state = copy.deepcopy(dict(state))  # an optimizer keeps the tensors that it is given
        load_parameters(self.pair, state["pair"], source)
        load_parameters(self.objective.networks, state["networks"], source)
        for phase in self.phases:
            phase.load(state["phases"][phase.phase.name], self.device)
        self.carried = {name: value.to(self.device) for name, value in state["objective"].items()}
        self.done = state["step"]
        set_generator_states(state["generators"], self.device)
        if self._fused is not None:
            self._fused.forget()

    def sites_not_finite(self) -> list[str]:
        """Run the next step's batch and name the sites whose log probability is not finite."""
        if self.objective.needs == "draws":
            return []
        batch, _ = self._batch()
        with torch.no_grad():
            both = visit(self.pair, batch, self.pair.structure(batch), self.objective.particles)
        sites = [site for program in both for site in program.visited.values()]
        return list(dict.fromkeys(s.name for s in sites if not bool(torch.isfinite(s.log_prob()).all())))

    def _rows(self, step: int | None = None) -> tuple[Tensor | None, float]:
        """Rows of this process's share of the batch of a step, the next one if not given, and the share's weight.

        Each epoch has an order of its own, which depends on nothing but the seed.
        """
        size = self.processes.size
        if self.steps_per_epoch == 1 and size == 1:
            return None, 1.0
        epoch, place = divmod(self.done if step is None else step, self.steps_per_epoch)
        if epoch not in self._orders:
            generator = torch.Generator().manual_seed(hash((self.seed, epoch)) % 2**63)
            count = self._count
            whole = self.steps_per_epoch == 1
            order = torch.arange(count, device="cpu") if whole else torch.randperm(count, generator=generator, device="cpu")
            pinned = self._index_device.type == "cuda"  # the host need not wait for the copy
            order = (order.pin_memory() if pinned else order).to(self._index_device, non_blocking=pinned)
            batches = list(torch.split(order, self.batch_size * size))
            self._orders = {known: self._orders[known] for known in self._orders if known == epoch - 1} | {epoch: batches}
        batch = self._orders[epoch][place]
        return (batch, 1.0) if size == 1 else self._share(batch)

    def _share(self, batch: Tensor) -> tuple[Tensor, float]:
        """This process's share of row numbers, and its weight."""
        own = batch[share(len(batch), self.processes)]
        # A process for which no row is left runs on one that counts for nothing.
        return (own, len(own) / len(batch)) if len(own) else (batch[:1], 0.0)


def steps_per_epoch(data: Rows | LoaderBatches, batch_size: int, processes: Processes) -> int:
    """Steps of a pass over the data, by all processes together."""
    if isinstance(data, LoaderBatches):
        return data.steps_per_epoch
    return math.ceil(len(data) / (batch_size * processes.size))


def _mean(values: Sequence[Tensor]) -> float | None:
    return float(torch.stack(list(values)).cpu().double().mean()) if values else None
