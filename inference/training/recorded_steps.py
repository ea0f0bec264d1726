"""The loss and the gradient of a training step, by recorded graphs."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pyrogen.batch import Batch
from pyrogen.errors import ConfigurationError
from pyrogen.pair import Pair
from pyrogen.randomness import forked

from ..graphs.batches import fixed_part
from ..graphs.compiled_function import Compile, CompiledFunction, CompileReport
from ..graphs.tracing import Graph, PureProgram
from ..objectives.objective import Loss, LossFunction, State
from .graph_check import difference, first_difference
from .precision import Precision, require_precision
from .recorded_loss import GRADIENT, LOSS, MEASURED, STATE, Layout, LossAndGradient, named

__all__ = ["RecordedLoss"]

_KINDS = 8  # of what a batch holds beside tensors, kept at a time


class RecordedLoss:
    """The loss and gradient of a phase, by recorded graphs; see `CompiledFunction`.

    Args:
        pair: the pair; it has to stay on its device.
        loss: the phase's loss.
        trained: the parameters whose gradient is wanted, by name; see `parameters_of`.
        compile: see `Compile`; not False.
        networks: the objective's own networks.
        precision: what the pair is run in.
        steps: steps that are to come, by which ``"auto"`` decides whether compiling pays.
        report: where to write down what was done; several phases share one.
    """

    def __init__(
        self,
        pair: Pair,
        loss: LossFunction,
        trained: list[tuple[str, nn.Parameter]],
        compile: Compile = True,
        *,
        networks: nn.Module | None = None,
        precision: Precision = "float32",
        steps: int | None = None,
        report: CompileReport | None = None,
    ) -> None:
        require_precision(precision)
        if compile is False:
            raise ConfigurationError("a loss is recorded as graphs: use compile=True, 'graph' or 'auto'")
        self.pair, self.loss, self.trained, self.precision = pair, loss, trained, precision
        self.networks = nn.ModuleDict() if networks is None else networks
        self.compile, self.steps = compile, steps
        self.report = CompileReport() if report is None else report
        self._plain = (LOSS, *(f"{GRADIENT}{name}" for name, _ in trained))
        self._zeros: dict[str, Tensor] = {}
        self._warned = False
        self._kinds: dict[Any, tuple[Layout, CompiledFunction]] = {}

    def __call__(self, batch: Batch, state: State, beta: Tensor | None = None) -> tuple[Loss, list[Tensor | None]]:
        """The loss, and a gradient for each parameter of `trained` (None where none reaches it).

        Args:
            batch: the data; its tensors have the dtypes and devices of the first call's.
            state: what the objective carries.
            beta: factor of the divergence, a tensor; None where it is one throughout.
        """
        kind = (beta is None, fixed_part(batch))
        if kind not in self._kinds:
            self._kinds[kind] = self._prepare(batch, state, beta)
            if len(self._kinds) > _KINDS:
                self._drop_oldest_kind()
        layout, function = self._kinds[kind]
        inputs = layout.pack(batch, {**self._zeros, **state}, beta)
        names, values = function(inputs, before_recording=partial(self.pair.structure, batch))
        if names == self._plain:
            return Loss(values[0], state), list(values[1:])
        outputs = dict(zip(names, values, strict=True))
        found = Loss(outputs[LOSS], {**state, **named(outputs, STATE)}, named(outputs, MEASURED))
        return found, [outputs.get(f"{GRADIENT}{name}") for name, _ in self.trained]

    def forget(self) -> None:
        """The pair's tensors or the objective's state were replaced: look them up again, and check at the next step."""
        for _, function in self._kinds.values():
            function.forget()

    def graphs(self) -> list[Graph]:
        """The graphs that were recorded and are kept, one for each shape."""
        return [graph for _, function in self._kinds.values() for graph in function.graphs()]

    def function(self, layout: Layout) -> LossAndGradient:
        """The loss and gradient as a function to record."""
        names, own = zip(*self.trained, strict=True)
        return LossAndGradient(self.loss, names, self.networks, layout, self.precision, own)

    def complete(self, batch: Batch, state: State, beta: Tensor | None) -> State:
        """The state with all that the objective will carry, as zeros where it is not there yet.

        The pair is run once, with validation, and left as it was.
        """
        self.pair.structure(batch)
        layout = Layout(batch, state, with_beta=beta is not None)
        program = PureProgram(self.pair, self.function(layout), self.networks)
        with forked(self.trained[0][1].device):
            copies = [tensor.detach().clone() for tensor in program.tensors()]
            outputs = program(copies, layout.pack(batch, state, beta))
        self._zeros.update((name, torch.zeros_like(value)) for name, value in named(outputs, STATE).items())
        return {**self._zeros, **state}

    def _prepare(self, batch: Batch, state: State, beta: Tensor | None) -> tuple[Layout, CompiledFunction]:
        layout = Layout(batch, self.complete(batch, state, beta), with_beta=beta is not None)
        return layout, CompiledFunction(
            self.pair,
            self.function(layout),
            self.compile,
            self.report,
            networks=self.networks,
            differs=partial(difference, precision=self.precision),
            sites=first_difference,
            calls=self.steps,
        )

    def _drop_oldest_kind(self) -> None:
        del self._kinds[next(iter(self._kinds))]
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"the batches' entries that are no tensors have taken more than {_KINDS} values, and each needs a graph "
                "of its own: pass what changes from step to step as a tensor",
                stacklevel=4,
            )
