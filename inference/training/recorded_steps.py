"""The loss and the gradient of a training step, by recorded graphs."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pyrogen.batch import Batch
from pyrogen.errors import ConfigurationError
from pyrogen.pair import Pair

from ..graphs.batches import fixed_part
from ..graphs.compiled_function import Compile, CompiledFunction, CompileReport
from ..graphs.tracing import Graph, PureProgram, own_generators
from ..objectives.objective import Objective
from .graph_check import difference, first_difference
from .precision import Precision, require_precision
from .recorded_loss import GRADIENT, LOSS, STATE, Layout, LossAndGradient

__all__ = ["Engine"]

_KINDS = 8  # of what a batch holds beside tensors, kept at a time


class Engine:
    """The loss and gradient of an objective, by recorded graphs; see `CompiledFunction`.

    Args:
        pair: the pair; it has to stay on its device.
        objective: what is maximised; its state is carried on.
        compile: see `Compile`; not False.
        precision: what the pair is run in.
        steps: steps that are to come, by which ``"auto"`` decides whether compiling pays.
    """

    def __init__(
        self,
        pair: Pair,
        objective: Objective,
        compile: Compile = True,
        *,
        precision: Precision = "float32",
        steps: int | None = None,
    ) -> None:
        require_precision(precision)
        if compile is False:
            raise ConfigurationError("the engine records graphs: use compile=True, 'graph' or 'auto'")
        self.pair, self.objective, self.precision = pair, objective, precision
        self.compile, self.steps = compile, steps
        self.report = CompileReport()
        self.trained = [(name, p) for name, p in pair.named_parameters() if p.requires_grad]
        self._plain = (LOSS, *(f"{GRADIENT}{name}" for name, _ in self.trained))
        self._zeros: dict[str, Tensor] = {}
        self._warned = False
        self._kinds: dict[Any, tuple[Layout, CompiledFunction]] = {}

    def __call__(self, batch: Batch, beta: Tensor | None = None) -> tuple[Tensor, list[Tensor | None]]:
        """The loss, and a gradient for each parameter of `trained` (None where none reaches it).

        Args:
            batch: the data; its tensors have the dtypes and devices of the first call's.
            beta: factor of the divergence, a tensor; None where it is one throughout.
        """
        kind = (beta is None, fixed_part(batch))
        if kind not in self._kinds:
            self._kinds[kind] = self._prepare(batch, beta)
            if len(self._kinds) > _KINDS:
                self._drop_oldest_kind()
        layout, function = self._kinds[kind]
        inputs = layout.pack(batch, self.objective.state, beta)
        names, values = function(inputs, before_recording=partial(self.pair.structure, batch))
        if names == self._plain:
            return values[0], list(values[1:])
        named = dict(zip(names, values, strict=True))
        for name, value in named.items():
            if name.startswith(STATE):
                self.objective.state[name.removeprefix(STATE)] = value
        return named[LOSS], [named.get(f"{GRADIENT}{name}") for name, _ in self.trained]

    def forget(self) -> None:
        """The pair's tensors or the objective's state were replaced: look them up again, and check at the next step."""
        for layout, function in self._kinds.values():
            function.forget()
            self.restore_state(layout)

    def restore_state(self, layout: Layout) -> None:
        """Give a state from before the first step, which holds nothing yet, what a graph takes."""
        for name in layout.state:
            self.objective.state.setdefault(name, self._zeros[name])

    def graphs(self) -> list[Graph]:
        """The graphs that were recorded and are kept, one for each shape."""
        return [graph for _, function in self._kinds.values() for graph in function.graphs()]

    def prepare_state(self, batch: Batch, beta: Tensor | None) -> None:
        """Run the pair itself once, with validation, so that all that the objective will carry is there, as zeros."""
        self.pair.structure(batch)
        layout = Layout(batch, self.objective.state, with_beta=beta is not None)
        program = PureProgram(self.pair, LossAndGradient(self.objective, layout, self.precision))
        with own_generators(self.trained[0][1].device):
            copies = [tensor.detach().clone() for tensor in program.tensors()]
            outputs = program(copies, layout.pack(batch, self.objective.state, beta))
        for name, value in outputs.items():
            if name.startswith(STATE):
                zeros = self._zeros[name.removeprefix(STATE)] = torch.zeros_like(value)
                self.objective.state.setdefault(name.removeprefix(STATE), zeros)

    def _prepare(self, batch: Batch, beta: Tensor | None) -> tuple[Layout, CompiledFunction]:
        self.prepare_state(batch, beta)
        layout = Layout(batch, self.objective.state, with_beta=beta is not None)
        return layout, CompiledFunction(
            self.pair,
            LossAndGradient(self.objective, layout, self.precision),
            self.compile,
            self.report,
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
