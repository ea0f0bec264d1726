"""The training loop's state and its one step.

`Trainer` holds what is carried from step to step: the pair, the optimizer, the scheduler, the generators, the place in the
data. All of it goes into a checkpoint, so that a resumed run is bit-equal to one that was never stopped.

With several processes a step is one of a batch as many times as large, of which each process takes its share. What a run
of the pair changes by itself (the running statistics of batch norm, running averages) goes on from a process's own share;
where it is measured or saved, all take over that of the first process.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pyrogen.batch import Batch
from pyrogen.errors import PairError
from pyrogen.pair import Pair
from pyrogen.processes import Processes

from ..graphs.internals import mark_as_stepped
from ..objectives.objective import Objective
from ..weights.terms import visit
from .checkpoints import generator_states, load_parameters, set_generator_states
from .fused_steps import WholeSteps, gains_from_whole_steps
from .optimizer_steps import OptimizerStep, clip_gradients
from .precision import Precision, computing_in
from .recorded_steps import Engine
from .sharing import share
from .training_rows import Rows

__all__ = ["Trainer"]

_STOP_EVERY = 20  # steps between looks at whether to stop, where a look waits for the device


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
        beta: float | Callable[[int], float],
        seed: int,
        device: torch.device,
        precision: Precision = "float32",
        engine: Engine | None = None,
        processes: Processes | None = None,
        steps_per_call: int = 1,
    ) -> None:
        self.pair, self.data, self.objective = pair, data, objective
        self.optimizer, self.scheduler = optimizer, scheduler
        self.batch_size, self.clip = batch_size, clip
        self.beta_varies = callable(beta) or beta != 1.0
        self.beta: Callable[[int], float] = beta if callable(beta) else lambda step: float(beta)
        self.seed, self.device, self.precision, self.engine = seed, device, precision, engine
        self.processes = processes or Processes()
        self.interrupted: Callable[[], bool] = lambda: False
        self.done = 0
        self.losses: list[Tensor] = []
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.steps_per_epoch = math.ceil(len(data) / (batch_size * self.processes.size))
        self._known = len(list(pair.parameters()))
        self._orders: dict[int, list[Tensor]] = {}
        self._index_device = getattr(data, "index_device", device)
        self._stop: Tensor | None = None
        self._update = None if engine is None else OptimizerStep(optimizer, [p for _, p in engine.trained])
        self.steps_per_call = steps_per_call
        self._whole: WholeSteps | None = None
        alone = engine is not None and self.processes.size == 1
        if engine is not None and alone and (steps_per_call > 1 or gains_from_whole_steps(engine, optimizer)):
            self._whole = WholeSteps(engine, optimizer, steps_per_call, clip)
            mark_as_stepped(optimizer)

    def step(self, limit: int = 1) -> None:
        """Take a step: draw a batch, take the gradient, clip it, update. Never waits for the device.

        Args:
            limit: how many steps may be taken; `steps_per_call` are where it allows for as many and their batches have
                one size, else one.
        """
        if self._whole is not None and self._takes_whole_steps(self._whole, limit):
            return
        rows, weight = self._rows()
        batch = self.data.draw(rows)
        if hasattr(self.data, "expect") and self.steps_per_epoch > 1:
            self.data.expect(self._rows(self.done + 1)[0])
        loss = self._step_of_pair(batch, weight) if self.engine is None else self._step_of_graph(self.engine, batch, weight)
        if self.scheduler is not None:
            self.scheduler.step()
        self.losses.append(loss.detach())
        self.done += 1
        self._refuse_late_parameters()

    def _refuse_late_parameters(self) -> None:
        if "pyro_params" in self.pair._modules and len(list(self.pair.parameters())) != self._known:
            raise PairError(
                f"a pyro.param statement ran for the first time at step {self.done - 1}, too late to be trained: "
                "reach all of them in every run of model and guide"
            )

    def _takes_whole_steps(self, whole: WholeSteps, limit: int) -> bool:
        """Take the next steps in one call, if that can be."""
        count = self.steps_per_call
        rows = [self._rows(self.done + i)[0] for i in range(count)] if limit >= count else []
        if not rows or len({None if part is None else len(part) for part in rows}) > 1:
            return False
        if rows[0] is None:
            whole_data = None if count == 1 else torch.arange(len(self.data), device=self._index_device).repeat(count)
            batch = self.data.draw(whole_data)
        else:
            batch = self.data.draw(torch.cat([part for part in rows if part is not None]) if count > 1 else rows[0])
        betas = None
        if self.beta_varies:
            betas = torch.tensor([self.beta(self.done + i) for i in range(count)], device=self.device)
        settings = None
        if self.scheduler is not None:
            settings = []
            for _ in range(count):
                settings.append(whole.settings())
                self.scheduler.step()
        losses = whole(batch, betas, settings)
        self.losses.extend(losses)
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
        """Take over from the first process what a step changes and the optimizer does not."""
        trained = {id(parameter) for parameter in self.parameters}
        others = [parameter for parameter in self.pair.parameters() if id(parameter) not in trained]
        self.processes.broadcast([*others, *self.pair.buffers()])

    def _step_of_pair(self, batch: Batch, weight: float) -> Tensor:
        with computing_in(self.precision, self.device):
            loss = self.objective.loss(self.pair, batch, **self._beta())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.processes.size > 1:
            gradients, loss = self._averaged([p.grad for p in self.parameters], self.parameters, loss, weight)
            for parameter, gradient in zip(self.parameters, gradients, strict=True):
                parameter.grad = gradient
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.clip)
        self.optimizer.step()
        return loss

    def _step_of_graph(self, engine: Engine, batch: Batch, weight: float) -> Tensor:
        beta = self.beta(self.done) if self.beta_varies else None
        loss, gradients = engine(batch, None if beta is None else torch.tensor(beta, device=self.device))
        if self.processes.size > 1:
            gradients, loss = self._averaged(gradients, [p for _, p in engine.trained], loss, weight)
        if self.clip is not None:
            clip_gradients(gradients, self.clip)
        self._update(gradients)  # type: ignore[misc]
        return loss

    def _averaged(
        self, gradients: Sequence[Tensor | None], parameters: Sequence[Tensor], loss: Tensor, weight: float
    ) -> tuple[list[Tensor | None], Tensor]:
        """The gradients and the loss of the batch of all processes; the gradient of what is not reached is zero."""
        present = [torch.zeros_like(p) if g is None else g for g, p in zip(gradients, parameters, strict=True)]
        (total, *means), self._stop = self.processes.average([loss, *present], weight, self.interrupted())
        return list(means), total

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
        if self.engine is not None:
            self.engine.forget()
        if self._whole is not None:
            self._whole.forget()

    def sites_not_finite(self) -> list[str]:
        """Run the next step's batch and name the sites whose log probability is not finite."""
        batch = self.data.draw(self._rows()[0])
        with torch.no_grad():
            both = visit(self.pair, batch, self.pair.structure(batch), self.objective.particles)
        sites = [site for program in both for site in program.visited.values()]
        return list(dict.fromkeys(s.name for s in sites if not bool(torch.isfinite(s.log_prob()).all())))

    def _beta(self) -> dict[str, float]:
        beta = self.beta(self.done)
        return {} if beta == 1.0 else {"beta": beta}

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
            count = len(self.data)
            order = torch.arange(count) if self.steps_per_epoch == 1 else torch.randperm(count, generator=generator)
            batches = list(torch.split(order.to(self._index_device), self.batch_size * size))
            self._orders = {known: self._orders[known] for known in self._orders if known == epoch - 1} | {epoch: batches}
        batch = self._orders[epoch][place]
        if size == 1:
            return batch, 1.0
        own = batch[share(len(batch), self.processes)]
        # A process for which no row is left runs on one that counts for nothing.
        return (own, len(own) / len(batch)) if len(own) else (batch[:1], 0.0)
