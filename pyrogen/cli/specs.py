"""Objectives, estimators, optimizers and schedules by a short text; see `pyrogen.registry.specs`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pyrogen.registry.specs import class_of, is_a, make, split

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from pyrogen.inference import Estimator, Objective

__all__ = ["make_estimators", "make_objective", "make_optimizer", "make_scheduler"]

_ALIASES = {"is": "importance-sampling", "ais": "annealed-importance", "smc": "tempered-smc"}


def make_objective(spec: str, gradient: str | None = None) -> Objective:
    """An objective by its text.

    Args:
        spec: such as ``"iwae:5"``.
        gradient: its gradient estimator, if not its own default.

    Raises:
        ConfigurationError: there is no such objective, or it does not take such arguments.
    """
    from pyrogen.inference import Objective

    extra = [] if gradient is None else [f"gradient={gradient}"]
    made: Objective = make("objective", spec, _members(Objective), Objective, extra=extra)
    return made


def make_estimators(specs: Sequence[str]) -> list[Estimator]:
    """Estimators by their texts.

    Args:
        specs: such as ``["elbo", "iwae:50", "is:5000", "exact"]``.

    Raises:
        ConfigurationError: there is no such estimator, or it does not take such arguments.
    """
    from pyrogen.inference import Estimator

    return [make("estimator", spec, _members(Estimator), Estimator) for spec in specs]


def make_optimizer(spec: str, lr: float) -> Callable[[Any], Optimizer]:
    """What makes an optimizer from parameters.

    Args:
        spec: a name in ``torch.optim`` or of code, with its arguments, such as ``"SGD:momentum=0.9"``.
        lr: the learning rate, if the text does not say it and the optimizer takes one.
    """
    from torch import optim

    known = {name: value for name, value in vars(optim).items() if is_a(value, optim.Optimizer)}
    target, _ = split(spec)
    takes_lr = "lr" in inspect.signature(class_of("optimizer", target, known, optim.Optimizer)).parameters
    extra = [f"lr={lr}"] if takes_lr else []  # before what the text says, which wins
    made: Callable[[Any], Optimizer] = make("optimizer", spec, known, optim.Optimizer, extra=extra, last="params")
    return made


def make_scheduler(spec: str) -> Literal["cosine"] | Callable[[Optimizer], LRScheduler]:
    """What makes a schedule of the learning rate from an optimizer.

    Args:
        spec: ``"cosine"``, which `fit` knows; or a name in ``torch.optim.lr_scheduler`` or of code, with its arguments,
            such as ``"StepLR:step_size=1000"``.
    """
    from torch.optim import lr_scheduler

    if spec == "cosine":
        return "cosine"
    known = {name: value for name, value in vars(lr_scheduler).items() if is_a(value, lr_scheduler.LRScheduler)}
    known["cosine"] = lr_scheduler.CosineAnnealingLR  # named for who misspells it
    made: Callable[[Any], LRScheduler] = make("scheduler", spec, known, lr_scheduler.LRScheduler, last="optimizer")
    return made


def _members(kind: type) -> dict[str, type]:
    """Those classes of `pyrogen.inference` that are of a kind, by their names in the form ``importance-sampling``."""
    from pyrogen import inference

    members = {
        re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower(): value
        for name in inference.__all__
        for value in [getattr(inference, name)]
        if is_a(value, kind)
    }
    return members | {alias: members[name] for alias, name in _ALIASES.items() if name in members}
