"""Whole steps in one call: loss, gradient, clipping and Adam, recorded together as one graph.

Where a step takes a few microseconds, what is around it costs more than the step. That is so for small models only: a graph
of k steps takes k times as long to compile, and larger models gain nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pyrogen.batch import Batch, index, length
from pyrogen.errors import ConfigurationError
from pyrogen.pair import Pair

from ..graphs.batches import fixed_part
from ..graphs.compiled_function import SITE, WRITTEN, CompiledFunction
from ..graphs.internals import mark_as_stepped
from ..graphs.tracing import Graph
from ..objectives.objective import Loss, State
from .graph_check import difference, first_difference
from .optimizer_steps import clip_gradients
from .phases import TrainedPhase
from .recorded_loss import GRADIENT, LOSS, MEASURED, STATE, UNSEEN, Layout, named
from .recorded_steps import RecordedLoss

__all__ = ["FusedSteps", "fused_steps", "gains_from_fusing", "is_recordable"]

_KNOWN = (torch.optim.Adam, torch.optim.AdamW)
_SMALL = 4096  # numbers in all parameters
_KINDS = 8  # of what a batch holds beside tensors, kept at a time


def is_recordable(optimizer: torch.optim.Optimizer) -> bool:
    """Whether the optimizer's arithmetic is known here: Adam or AdamW, with one group, without amsgrad or hooks."""
    groups = optimizer.param_groups
    hooked = optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks
    simple = len(groups) == 1 and not (groups[0].get("amsgrad") or groups[0].get("differentiable"))
    return type(optimizer) in _KNOWN and simple and not hooked


def gains_from_fusing(recorded: RecordedLoss, optimizer: torch.optim.Optimizer) -> bool:
    """Whether the parameters are so few that the optimizer's own call would take as long as its arithmetic."""
    few = sum(parameter.numel() for _, parameter in recorded.trained) <= _SMALL
    return few and is_recordable(optimizer) and _trains_all(recorded, optimizer)


def fused_steps(phases: Sequence[TrainedPhase], steps: int) -> FusedSteps | None:
    """Several steps in a call, where they were asked for; one, optimizer included, where that is faster; else None.

    Raises:
        ConfigurationError: several steps of several phases, or of an optimizer that is not known here.
    """
    phase, *others = phases
    if others and steps > 1:
        raise ConfigurationError(f"steps_per_call={steps} records one phase, and the objective has {len(phases)}: use 1")
    if others or phase.recorded is None or not (steps > 1 or gains_from_fusing(phase.recorded, phase.optimizer)):
        return None
    mark_as_stepped(phase.optimizer)
    return FusedSteps(phase.recorded, phase.optimizer, steps, phase.clip)


def _trains_all(recorded: RecordedLoss, optimizer: torch.optim.Optimizer) -> bool:
    given = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    return given == {id(parameter) for _, parameter in recorded.trained}


class FusedSteps:
    """A number of optimizer steps as one call of a recorded graph.

    The optimizer's own state is updated, so that a checkpoint is the same as that of steps taken one by one.

    Args:
        recorded: what records the loss.
        optimizer: `torch.optim.Adam` or `AdamW` with one group of parameters, without amsgrad.
        steps: steps in one call.
        clip: largest global norm of the gradient.

    Raises:
        ConfigurationError: another optimizer, or no step.
    """

    def __init__(self, recorded: RecordedLoss, optimizer: torch.optim.Optimizer, steps: int, clip: float | None) -> None:
        if not is_recordable(optimizer) or not _trains_all(recorded, optimizer):
            raise ConfigurationError(
                f"steps_per_call={steps} records the optimizer's arithmetic, known of torch.optim.Adam and AdamW with one "
                "group of all parameters that require a gradient and without amsgrad or hooks, not of this "
                f"{type(optimizer).__name__}: use one of these, or steps_per_call=1"
            )
        if steps < 1:
            raise ConfigurationError(f"steps_per_call must be at least 1, not {steps}")
        self.recorded, self.optimizer, self.steps, self.clip = recorded, optimizer, steps, clip
        self._functions: dict[Any, tuple[Layout, CompiledFunction, State]] = {}
        self._moments: list[Tensor] | None = None
        self._kept: tuple[Any, Tensor] | None = None

    def __call__(
        self,
        batch: Batch,
        state: State,
        betas: Tensor | None = None,
        settings: Sequence[Sequence[float]] | None = None,
    ) -> Loss:
        """Take all steps.

        Args:
            batch: the data of all steps, one after the other, (steps * size, ...).
            state: what the objective carries.
            betas: factors of the divergence, (steps,), or None where they are one throughout.
            settings: what `settings` says, for each step; the present ones in all steps if not given.

        Returns:
            The losses, (steps,), in nats per datum, and what was measured, each (steps,).
        """
        group = self.optimizer.param_groups[0]
        kind = (betas is None, fixed_part(batch), group["maximize"], group["weight_decay"] == 0)
        if kind not in self._functions:
            self._functions[kind] = self._prepare(batch, state, betas)
            if len(self._functions) > _KINDS:
                del self._functions[next(iter(self._functions))]
        layout, function, zeros = self._functions[kind]
        packed = layout.pack(batch, {**zeros, **state}, betas)
        leading = [*packed, self._as_tensor(settings or [self.settings()] * self.steps)]
        names, values = function(leading, self._own_moments(), before_recording=partial(self._look, batch))
        if names == (LOSS,):
            return Loss(values[0], state)
        outputs = dict(zip(names, values, strict=True))
        return Loss(outputs[LOSS], {**state, **named(outputs, STATE)}, named(outputs, MEASURED))

    def settings(self) -> tuple[float, ...]:
        """The optimizer's numbers that a scheduler may change: learning rate, both betas, eps, weight decay."""
        group = self.optimizer.param_groups[0]
        return float(group["lr"]), *group["betas"], group["eps"], group["weight_decay"]

    def graphs(self) -> list[Graph]:
        """The graphs that were recorded and are kept, one for each shape."""
        return [graph for _, function, _ in self._functions.values() for graph in function.graphs()]

    def forget(self) -> None:
        """The tensors of the pair or of the optimizer were replaced: look them up again, and check at the next call."""
        self._moments = None
        for _, function, _ in self._functions.values():
            function.forget()

    def _look(self, batch: Batch) -> None:
        """Have the pair's structure on a batch of one step known."""
        self.recorded.pair.structure(batch if self.steps == 1 else index(batch, slice(length(batch) // self.steps)))

    def _prepare(self, batch: Batch, state: State, betas: Tensor | None) -> tuple[Layout, CompiledFunction, State]:
        size = length(batch) // self.steps
        first = index(batch, slice(size)) if self.steps > 1 else batch
        zeros = {
            n: torch.zeros_like(v)
            for n, v in self.recorded.complete(first, state, None if betas is None else betas[0]).items()
        }
        layout = Layout(batch, zeros, with_beta=betas is not None)
        function = CompiledFunction(
            self.recorded.pair,
            _Program(self, layout),
            self.recorded.compile,
            self.recorded.report,
            differs=partial(self._differs, len(layout) + 1),
            sites=first_difference,
            calls=None if self.recorded.steps is None else self.recorded.steps // self.steps,
            networks=self.recorded.networks,
        )
        return layout, function, zeros

    def _differs(self, leading: int, graph: Mapping[str, Tensor], pair: Mapping[str, Tensor]) -> str | None:
        """What differs between two calls: loss, state, buffers, and the mean gradients in place of the parameters.

        Adam makes a whole step of a gradient that is nothing but rounding error, as that of a bias before a batch norm.
        A parameter without a gradient is one whose number of steps stays the same.
        """
        names, moments = [name for name, _ in self.recorded.trained], self._own_moments()

        def comparable(outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
            kept = {n: v for n, v in outputs.items() if not n.startswith(WRITTEN) and n.removeprefix("buffer.") not in names}
            stepped = [i for i in range(len(names)) if f"{WRITTEN}{leading + 2 * len(names) + i}" in outputs]
            return {**kept, **{f"{GRADIENT}{names[i]}": outputs.get(f"{WRITTEN}{leading + i}", moments[i]) for i in stepped}}

        return difference(comparable(graph), comparable(pair), self.recorded.precision)

    def _as_tensor(self, settings: Sequence[Sequence[float]]) -> Tensor:
        """Settings as a tensor (steps, 5) in double precision, the same one as long as they do not change."""
        if self._kept is None or self._kept[0] != settings:
            device = self.recorded.trained[0][1].device
            self._kept = settings, torch.tensor(settings, dtype=torch.float64, device=device)
        return self._kept[1]

    def _own_moments(self) -> list[Tensor]:
        """First and second moments and numbers of steps of all parameters, made as the optimizer's first step makes them."""
        parameters = [parameter for _, parameter in self.recorded.trained]
        if self._moments is None or self.optimizer.state[parameters[0]].get("exp_avg") is not self._moments[0]:
            group = self.optimizer.param_groups[0]
            for parameter in parameters:
                state = self.optimizer.state[parameter]
                if not state:
                    near = group["fused"] or group["capturable"]
                    state["step"] = torch.zeros((), device=parameter.device if near else "cpu")
                    state["exp_avg"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
                    state["exp_avg_sq"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
            states = [self.optimizer.state[parameter] for parameter in parameters]
            self._moments = [state[name] for name in ("exp_avg", "exp_avg_sq", "step") for state in states]
        return self._moments


class _Program:
    """The steps as a function of a pair: the data, beta, the objective's state, learning rates, the optimizer's state."""

    def __init__(self, fused: FusedSteps, layout: Layout) -> None:
        self.fused, self.layout = fused, layout
        self.one = fused.recorded.function(layout)

    def __call__(self, pair: Pair, *inputs: Tensor) -> dict[str, Tensor | None]:
        """Take all steps."""
        steps, count = self.fused.steps, len(self.fused.recorded.trained)
        moments, rest = inputs[len(inputs) - 3 * count :], inputs[: len(inputs) - 3 * count]
        *packed, settings = rest
        batch, betas, state = self.layout.unpack(packed)
        size = length(batch) // steps
        trained = self.one.parameters(pair)
        losses: list[Tensor] = []
        measured: list[dict[str, Tensor]] = []
        sites: dict[str, Tensor | None] = {}
        for step in range(steps):
            part = batch if steps == 1 else index(batch, slice(step * size, (step + 1) * size))
            beta = betas[step] if isinstance(betas, Tensor) else None
            found = self.one(pair, *self.layout.pack(part, state, beta))
            known = {name: value.detach() for name, value in found.items() if value is not None}
            state = named(known, STATE)
            sites.update({f"{name} (step {step} of the call)": v for name, v in known.items() if name.startswith(SITE)})
            sites.update({name: value for name, value in known.items() if name.startswith(UNSEEN)})
            losses.append(known[LOSS])
            measured.append(named(known, MEASURED))
            gradients = [found.get(f"{GRADIENT}{name}") for name in self.one.trained]
            with torch.no_grad():
                if self.fused.clip is not None:
                    clip_gradients(gradients, self.fused.clip)
                self._update(trained, gradients, settings[step], moments)
        return {
            LOSS: torch.stack(losses),
            **{f"{STATE}{name}": value for name, value in state.items()},
            **{f"{MEASURED}{name}": torch.stack([one[name] for one in measured]) for name in measured[0]},
            **sites,
        }

    def _update(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor | None], settings: Tensor, moments: Sequence[Tensor]
    ) -> None:
        """One step of Adam, in place.

        Reference:
            Kingma & Ba 2015, Adam, https://arxiv.org/abs/1412.6980
            Loshchilov & Hutter 2019, Decoupled Weight Decay Regularization, https://arxiv.org/abs/1711.05101
        """
        optimizer, count = self.fused.optimizer, len(parameters)
        group = optimizer.param_groups[0]
        rate, first, second, eps, decay = settings
        decoupled = type(optimizer) is torch.optim.AdamW or group.get("decoupled_weight_decay")
        for i, (parameter, given) in enumerate(zip(parameters, gradients, strict=True)):
            if given is None:
                continue
            gradient = -given if group["maximize"] else given
            mean, square, step = moments[i], moments[count + i], moments[2 * count + i]
            step.add_(1)
            if group["weight_decay"] and decoupled:
                parameter.mul_(1 - rate * decay)
            elif group["weight_decay"]:
                gradient = gradient + decay * parameter
            mean.mul_(first).add_((1 - first) * gradient)
            square.mul_(second).add_((1 - second) * gradient * gradient)
            corrections = [-torch.expm1(step.double() * beta.log()) for beta in (first, second)]
            scale = (square / corrections[1]).sqrt_().add_(eps)
            parameter.sub_(rate / corrections[0] * mean / scale)
