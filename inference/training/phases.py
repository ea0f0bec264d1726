"""One phase of a training: its parameters, its optimizer and scheduler, and its step, by the pair or by recorded graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pyrogen.batch import Batch
from pyrogen.errors import ConfigurationError
from pyrogen.pair import Pair

from ..objectives.objective import Loss, Objective, Phase, State
from .optimizer_steps import OptimizerStep, clip_gradients
from .precision import Precision, computing_in
from .recorded_steps import RecordedLoss

__all__ = ["Averaging", "TrainedPhase", "parameters_of", "phases_of"]

Averaging = Callable[[Sequence[Tensor | None], Sequence[Tensor], Tensor], tuple[list[Tensor | None], Tensor]]
"""Takes gradients, their parameters and a loss, and gives the means over all processes."""


def phases_of(objective: Objective, pair: Pair, batch: Batch) -> list[Phase]:
    """The phases of an objective, checked.

    Raises:
        ConfigurationError: there is none, two share a name, or one has nothing to train.
    """
    phases = list(objective.phases(pair, batch))
    names = [phase.name for phase in phases]
    if not phases or len(set(names)) < len(names):
        raise ConfigurationError(
            f"{objective.name} has the phases {names}: it needs one at least, each with a name of its own"
        )
    for phase in phases:
        if phase.every < 1:
            raise ConfigurationError(f"phase '{phase.name}' is taken at every {phase.every}-th step: give it 1 or more")
        if not parameters_of(phase, pair, objective.networks):
            raise ConfigurationError(f"{type(pair).__name__} has no parameter to train in phase '{phase.name}'")
    return phases


def parameters_of(phase: Phase, pair: Pair, networks: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """The parameters that a phase trains, by name; those of the objective's networks begin with ``networks.``."""
    named = [*pair.named_parameters(), *((f"networks.{name}", p) for name, p in networks.named_parameters())]
    wanted = None if phase.parameters is None else {id(parameter) for parameter in phase.parameters}
    return [(name, p) for name, p in named if p.requires_grad and (wanted is None or id(p) in wanted)]


class TrainedPhase:
    """What is carried of one phase from step to step, and its step.

    Args:
        phase: the phase.
        pair: the pair.
        networks: the objective's own networks.
        optimizer: over the phase's parameters.
        scheduler: steps once a step of the phase.
        clip: largest global norm of the gradient.
        precision: what the pair is run in.
        recorded: computes loss and gradient by graphs; the pair is run where it is None.
    """

    def __init__(
        self,
        phase: Phase,
        pair: Pair,
        networks: nn.Module,
        optimizer: Optimizer,
        scheduler: LRScheduler | None,
        *,
        clip: float | None = None,
        precision: Precision = "float32",
        recorded: RecordedLoss | None = None,
    ) -> None:
        self.phase, self.pair, self.optimizer, self.scheduler = phase, pair, optimizer, scheduler
        self.clip, self.precision, self.recorded = clip, precision, recorded
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._trains_all = len(self.parameters) == len([p for p in pair.parameters() if p.requires_grad]) + len(
            [p for p in networks.parameters() if p.requires_grad]
        )
        self._update = None if recorded is None else OptimizerStep(optimizer, [p for _, p in recorded.trained])
        self.losses: list[tuple[int, Tensor]] = []
        """Steps since the last row of the history, and the loss of each."""
        self.measured: dict[str, list[Tensor]] = {}

    def step(self, number: int, batch: Batch, state: State, beta: Tensor | float | None, average: Averaging | None) -> State:
        """Take the step of that number: gradient, clipping, update. Never waits for the device.

        Args:
            number: steps done before.
            batch: this process's share of the data.
            state: what the objective carries.
            beta: factor of the divergence; None where it is one throughout.
            average: takes the means over all processes; None where there is one.

        Returns:
            What the objective carries on.
        """
        if self.recorded is None:
            found = self._by_pair(batch, state, beta, average)
        else:
            found = self._by_graph(self.recorded, batch, state, beta, average)
        if self.scheduler is not None:
            self.scheduler.step()
        self.keep(number, found.value, found.measured)
        return found.state

    def keep(self, number: int, loss: Tensor, measured: Mapping[str, Tensor]) -> None:
        """Keep the loss of a step, and what was measured, for the history."""
        self.losses.append((number, loss.detach()))
        for name, value in measured.items():
            self.measured.setdefault(name, []).append(value.detach())

    def _by_pair(self, batch: Batch, state: State, beta: Tensor | float | None, average: Averaging | None) -> Loss:
        with computing_in(self.precision, self.parameters[0].device):
            found = self.phase.loss(self.pair, batch, state, **({} if beta is None else {"beta": beta}))
        loss = found.value
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward(inputs=None if self._trains_all else self.parameters)  # type: ignore[no-untyped-call]
        if average is not None:
            gradients, loss = average([p.grad for p in self.parameters], self.parameters, loss)
            for parameter, gradient in zip(self.parameters, gradients, strict=True):
                parameter.grad = gradient
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.clip)
        self.optimizer.step()
        return found._replace(value=loss)

    def _by_graph(
        self, recorded: RecordedLoss, batch: Batch, state: State, beta: Tensor | float | None, average: Averaging | None
    ) -> Loss:
        if beta is not None and not isinstance(beta, Tensor):
            beta = torch.tensor(beta, device=self.parameters[0].device)
        found, gradients = recorded(batch, state, beta)
        if average is not None:
            gradients, loss = average(gradients, [p for _, p in recorded.trained], found.value)
            found = found._replace(value=loss)
        if self.clip is not None:
            clip_gradients(gradients, self.clip)
        self._update(gradients)  # type: ignore[misc]
        return found

    def state(self) -> dict[str, Any]:
        """All that is carried, as plain values and tensors."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            "losses": [list(entry) for entry in self.losses],
            "measured": self.measured,
        }

    def load(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Take over a state."""
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scheduler is not None and state["scheduler"] is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        self.losses = [(number, loss.to(device)) for number, loss in state["losses"]]
        self.measured = {name: [value.to(device) for value in values] for name, values in state["measured"].items()}
        if self.recorded is not None:
            self.recorded.forget()
