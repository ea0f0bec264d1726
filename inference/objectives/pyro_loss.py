"""Pyro's own objectives, as objectives of pyrogen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from pyro.ops.provenance import detach_provenance
from torch import Tensor

from pyrogen.batch import Batch, arguments, length
from pyrogen.errors import ConfigurationError, PairError
from pyrogen.pair import Pair

from .objective import Loss, Objective, State

__all__ = ["PyroLoss"]

_BASELINE = "__baseline_avg_downstream_cost_"


class PyroLoss(Objective):
    """An objective of `pyro.infer`, to train with.

    It brings what only Pyro has: enumeration of discrete sites (``TraceEnum_ELBO``), score-function gradients with
    the baselines that the guide's ``infer={"baseline": ...}`` asks for (``TraceGraph_ELBO``). Its value is no
    estimate of ``log p(x)`` for each datum, so that it is not reported.

    Args:
        elbo: an instance of one of Pyro's objectives.

    Raises:
        ConfigurationError: it is none.

    Example:
        >>> from pyro.infer import Trace_ELBO
        >>> from pyrogen.models import LinearGaussianVAE
        >>> loss = PyroLoss(Trace_ELBO()).loss(LinearGaussianVAE((4,), latent=2), torch.zeros(3, 4))
        >>> loss.shape
        torch.Size([])
    """

    divides_by = "batch"

    def __init__(self, elbo: Any) -> None:
        if isinstance(elbo, type) or not hasattr(elbo, "loss_and_grads"):
            seen = f"the class {elbo.__name__}" if isinstance(elbo, type) else type(elbo).__name__
            raise ConfigurationError(f"PyroLoss takes an instance such as pyro.infer.TraceEnum_ELBO(), not {seen}")
        if type(elbo).__name__.startswith("Jit"):
            raise ConfigurationError(
                f"{type(elbo).__name__} rests on torch.jit.trace: pass {type(elbo).__name__.removeprefix('Jit')} and "
                "fit with compile=True"
            )
        super().__init__()
        self.elbo = elbo
        self.name = type(elbo).__name__

    def compute(self, pair: Pair, batch: Batch, state: State, *, beta: float | Tensor = 1.0) -> Loss:
        """See `Objective.compute`."""
        if isinstance(beta, Tensor) or beta != 1.0:
            raise ConfigurationError(f"{self.name} is Pyro's own and knows no beta: use ELBO for KL warm-up")
        pair.initialise(batch)
        args, kwargs = arguments(batch)
        frozen = [parameter for parameter in pair.parameters() if not parameter.requires_grad]
        with pair.scope(), _running_averages(state) as carried:
            if hasattr(self.elbo, "differentiable_loss"):
                loss: Tensor = self.elbo.differentiable_loss(pair.model, pair.guide, *args, **kwargs)
            else:
                loss = self._from_gradients(pair, args, kwargs)
        for parameter in frozen:  # Pyro's store makes every parameter that it meets require a gradient
            parameter.requires_grad_(False)
        return Loss(loss / length(batch), carried)

    def _from_gradients(self, pair: Pair, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """A loss with the gradient that ``loss_and_grads`` has left in the parameters, which get their own back."""
        before = {parameter: parameter.grad for parameter in pair.parameters()}
        for parameter in before:
            parameter.grad = None
        loss = torch.as_tensor(self.elbo.loss_and_grads(pair.model, pair.guide, *args, **kwargs))
        total = loss.detach()
        for parameter in pair.parameters():
            if parameter.grad is not None:
                gradient = parameter.grad.detach()
                total = total + ((parameter - parameter.detach()) * gradient).sum()
            parameter.grad = before.get(parameter)
        if not total.requires_grad and not before:
            raise PairError(f"{self.name} found no parameter to train: see that model or guide has one")
        return total


@contextmanager
def _running_averages(state: State) -> Iterator[dict[str, Tensor]]:
    """Hand Pyro its running averages where it looks for them, among the parameters, and take the new ones out again."""
    store = pyro.get_param_store()
    carried: dict[str, Tensor] = {}
    for name, value in state.items():
        store[name] = value.detach()
    try:
        yield carried
    finally:
        for name in [name for name in store.keys() if name.startswith(_BASELINE)]:  # noqa: SIM118
            carried[name] = detach_provenance(store[name]).detach()
            del store[name]
