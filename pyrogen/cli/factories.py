"""Objectives, estimators, optimizers and schedules by a short text; see `pyrogen.registry.specs`.

A text that names none, or gives arguments that it does not take, is a `ConfigurationError`.
"""

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
    """An objective by its text, such as ``"iwae:5"``, and the name of its gradient estimator, if not its own default."""
    from pyrogen.inference import Objective

    extra = [] if gradient is None else [f"gradient={gradient}"]
    return make("objective", spec, _members(Objective), Objective, extra=extra)  # type: ignore[no-any-return]


def make_estimators(specs: Sequence[str]) -> list[Estimator]:
    """Estimators by their texts, such as ``["elbo", "iwae:50", "is:5000", "exact"]``."""
    from pyrogen.inference import Estimator

    return [make("estimator", spec, _members(Estimator), Estimator) for spec in specs]


def make_optimizer(spec: str, lr: float) -> Callable[[Any], Optimizer]:
    """What makes an optimizer from parameters: one of ``torch.optim`` or of code, such as ``"SGD:momentum=0.9"``.

    `lr` is its learning rate if the text does not say it and the optimizer takes one.
    """
    from torch import optim

    known = {name: value for name, value in vars(optim).items() if is_a(value, optim.Optimizer)}
    target, _ = split(spec)
    takes_lr = "lr" in inspect.signature(class_of("optimizer", target, known, optim.Optimizer)).parameters
    extra = [f"lr={lr}"] if takes_lr else []  # before what the text says, which wins
    return make("optimizer", spec, known, optim.Optimizer, extra=extra, last="params")  # type: ignore[no-any-return]


def make_scheduler(spec: str) -> Literal["cosine"] | Callable[[Optimizer], LRScheduler]:
    """What makes a schedule of the learning rate from an optimizer: ``"cosine"``, which `fit` knows, or one by its text.

    The latter is of ``torch.optim.lr_scheduler`` or of code, such as ``"StepLR:step_size=1000"``.
    """
    from torch.optim import lr_scheduler

    if spec == "cosine":
        return "cosine"
    known = {name: value for name, value in vars(lr_scheduler).items() if is_a(value, lr_scheduler.LRScheduler)}
    known["cosine"] = lr_scheduler.CosineAnnealingLR  # named for who misspells it
    kind = lr_scheduler.LRScheduler
    return make("scheduler", spec, known, kind, last="optimizer")  # type: ignore[no-any-return]


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
