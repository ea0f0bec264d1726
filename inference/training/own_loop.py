"""Compiled stochastic variational inference for those who keep a training loop of their own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pyrogen.batch import Batch
from pyrogen.errors import ConfigurationError
from pyrogen.pair import Pair

from ..graphs.compiled_function import Compile, CompileReport
from ..graphs.tracing import Graph
from ..objectives.objective import Objective, State
from .fused_steps import FusedSteps, gains_from_fusing
from .optimizer_steps import OptimizerStep, clip_gradients
from .phases import parameters_of, phases_of
from .precision import Precision
from .recorded_steps import RecordedLoss

__all__ = ["CompiledSVI", "compiled_svi"]


class CompiledSVI:
    """One optimizer step a call; made by `compiled_svi`."""

    def __init__(self, recorded: RecordedLoss, optimizer: torch.optim.Optimizer, clip: float | None) -> None:
        self._recorded, self._clip = recorded, clip
        self._update = OptimizerStep(optimizer, [parameter for _, parameter in recorded.trained])
        self._fused = FusedSteps(recorded, optimizer, 1, clip) if gains_from_fusing(recorded, optimizer) else None
        self.state: State = {}
        """What the objective carries from step to step."""

    def __call__(self, batch: Batch, *, beta: Tensor | None = None) -> Tensor:
        """Take one step.

        Args:
            batch: the data, of the dtypes and device of the first batch; a new shape makes a further graph.
            beta: factor of the divergence in an ELBO (KL warm-up), a tensor of shape () on the pair's device.

        Returns:
            The loss before the step, (), in nats per datum, on the device. Reading it waits for the device.
        """
        if self._fused is not None:
            losses, self.state, _ = self._fused(batch, self.state, None if beta is None else beta.reshape(1))
            return losses[0]
        (loss, self.state, _), gradients = self._recorded(batch, self.state, beta)
        if self._clip is not None:
            clip_gradients(gradients, self._clip)
        self._update(gradients)
        return loss

    @property
    def graphs(self) -> list[Graph]:
        """The graphs recorded so far; ``print(graph.module.code)`` reads as Python, `dot` draws one."""
        return self._recorded.graphs() if self._fused is None else self._fused.graphs()

    @property
    def report(self) -> CompileReport:
        """What was recorded and compiled."""
        return self._recorded.report


def compiled_svi(
    pair: Pair,
    objective: Objective,
    optimizer: torch.optim.Optimizer | Callable[[list[Tensor]], torch.optim.Optimizer],
    batch: Batch,
    *,
    compile: Compile = True,
    clip: float | None = None,
    precision: Precision = "float32",
) -> CompiledSVI:
    """Compile a pair's training step.

    The pair's Python is run once, recorded as a graph of tensor operations, and compiled. From then on the graph runs
    in its place; at steps 0, 1, 2, 4, 8, ... it is compared with the pair itself.

    Args:
        pair: the pair, in the mode (training or evaluation) in which it is to be run, on its device.
        objective: what to maximise: `ELBO`, `IWAE`, `Renyi`, or one of Pyro's own as `PyroLoss`.
        optimizer: an optimizer over the pair's parameters, or what makes one from them.
        batch: a batch like those to come.
        compile: True; ``"graph"`` for the recorded graph without a compiler; ``"auto"`` to fall back to the pair itself
            with a warning where it cannot be compiled.
        clip: largest global norm of the gradient.
        precision: ``"float32"``, ``"tf32"`` or ``"bf16"``.

    Returns:
        ``step``, with ``loss = step(batch)`` and ``step.report``.

    Raises:
        PairError: the pair does not fit the batch.
        ConfigurationError: the objective has several phases, or nothing to train.
        NotTraceable: at the first step: the pair's run needs a value on the host; says which line asked for it.
        GraphMismatch: at a step: the graph is not what the pair computes any more.
        CompilerMissing: at the first step: there is no C++ compiler.

    Example:
        >>> from functools import partial
        >>> from pyrogen.inference import ELBO
        >>> from pyrogen.models import LinearGaussianVAE
        >>> x = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
        >>> pair = LinearGaussianVAE((4,), latent=2)
        >>> step = compiled_svi(pair, ELBO(), partial(torch.optim.Adam, lr=1e-3), x, compile="graph")
        >>> losses = [step(x) for _ in range(3)]
        >>> step.report.graphs
        1
    """
    pair.structure(batch)
    phase, *others = phases_of(objective, pair, batch)
    if others:
        raise ConfigurationError(
            f"{objective.name} has several phases, each with an optimizer of its own: train it with fit"
        )
    trained = parameters_of(phase, pair, objective.networks)
    if not isinstance(optimizer, torch.optim.Optimizer):
        optimizer = optimizer([parameter for _, parameter in trained])
    recorded = RecordedLoss(pair, phase.loss, trained, compile, networks=objective.networks, precision=precision)
    return CompiledSVI(recorded, optimizer, clip)
