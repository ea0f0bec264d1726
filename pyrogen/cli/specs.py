"""Objectives, estimators, optimizers and schedules by a short text: ``NAME[:VALUE|:NAME=VALUE]...``.

``iwae:50`` is ``IWAE(50)``, ``renyi:0.5:5`` is ``Renyi(0.5, 5)``, ``torch.optim.SGD:momentum=0.9`` is
``SGD(momentum=0.9)``, ``file.py:MyEstimator:draws=10`` is ``MyEstimator(draws=10)`` of that file.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pyrogen.errors import ConfigurationError

from .construct import check
from .names import is_code, resolve, unknown

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
    made: Objective = _made("objective", spec, _members(Objective), Objective, extra=extra)
    return made


def make_estimators(specs: Sequence[str]) -> list[Estimator]:
    """Estimators by their texts.

    Args:
        specs: such as ``["elbo", "iwae:50", "is:5000", "exact"]``.

    Raises:
        ConfigurationError: there is no such estimator, or it does not take such arguments.
    """
    from pyrogen.inference import Estimator

    return [_made("estimator", spec, _members(Estimator), Estimator) for spec in specs]


def make_optimizer(spec: str, lr: float) -> Callable[[Any], Optimizer]:
    """What makes an optimizer from parameters.

    Args:
        spec: a name in ``torch.optim`` or of code, with its arguments, such as ``"SGD:momentum=0.9"``.
        lr: the learning rate, if the text does not say it and the optimizer takes one.
    """
    from torch import optim

    known = {name: value for name, value in vars(optim).items() if _is_a(value, optim.Optimizer)}
    target, _ = split(spec)
    takes_lr = "lr" in inspect.signature(_class_of("optimizer", target, known, optim.Optimizer)).parameters
    extra = [f"lr={lr}"] if takes_lr else []  # before what the text says, which wins
    made: Callable[[Any], Optimizer] = _made("optimizer", spec, known, optim.Optimizer, extra=extra, last="params")
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
    known = {name: value for name, value in vars(lr_scheduler).items() if _is_a(value, lr_scheduler.LRScheduler)}
    known["cosine"] = lr_scheduler.CosineAnnealingLR  # named for who misspells it
    made: Callable[[Any], LRScheduler] = _made("scheduler", spec, known, lr_scheduler.LRScheduler, last="optimizer")
    return made


def split(spec: str) -> tuple[str, list[str]]:
    """The name in a text, and its arguments.

    Example:
        >>> split("renyi:0.5:5")
        ('renyi', ['0.5', '5'])
        >>> split("my/own.py:Mine:draws=10")
        ('my/own.py:Mine', ['draws=10'])
        >>> split("package.module:Mine")
        ('package.module:Mine', [])
    """
    match = re.fullmatch(r"(.+\.py:[^:]*)(?::(.*))?", spec)
    if match is not None:
        return match[1], match[2].split(":") if match[2] else []
    name, *arguments = spec.split(":")
    if is_code(name) and arguments and arguments[0].isidentifier():
        name = f"{name}:{arguments.pop(0)}"
    return name, arguments


def _made(
    what: str, spec: str, known: Mapping[str, type], kind: type, *, extra: Sequence[str] = (), last: str | None = None
) -> Any:
    """The object of a text, or, where the argument called `last` is still to come, what makes the object from it."""
    target, arguments = split(spec)
    constructor = _class_of(what, target, known, kind)
    skip = frozenset() if last is None else frozenset({last})
    places = [
        name
        for name, parameter in inspect.signature(constructor).parameters.items()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and name not in skip
    ]
    tokens = []
    for number, text in enumerate(arguments):
        if "=" not in text and number >= len(places):
            takes = f"{', '.join(places)}, and more as NAME=VALUE" if places else "NAME=VALUE alone"
            raise ConfigurationError(f"{spec}: too many values: {constructor.__name__} takes {takes}")
        tokens.append(text if "=" in text else f"{places[number]}={text}")
    made = check(constructor, {}, [*extra, *tokens], skip=skip).make()
    if last is None:
        return constructor(**made)
    factory = partial(constructor, **made)
    factory.__name__ = constructor.__name__  # type: ignore[attr-defined]  # what fit records
    return factory


def _class_of(what: str, name: str, known: Mapping[str, type], kind: type) -> type:
    if name in known:
        return known[name]
    if not is_code(name):
        raise unknown(what, name, known)
    found = resolve(name)
    if len(found) != 1 or not _is_a(found[0], kind):
        raise ConfigurationError(f"{name} is no {what}: name a subclass of {kind.__module__}.{kind.__name__}")
    constructor: type = found[0]
    return constructor


def _members(kind: type) -> dict[str, type]:
    """Those classes of `pyrogen.inference` that are of a kind, by their names in the form ``importance-sampling``."""
    from pyrogen import inference

    members = {
        re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower(): value
        for name in inference.__all__
        for value in [getattr(inference, name)]
        if _is_a(value, kind)
    }
    return members | {alias: members[name] for alias, name in _ALIASES.items() if name in members}


def _is_a(value: Any, kind: type) -> bool:
    return isinstance(value, type) and issubclass(value, kind) and value is not kind and not inspect.isabstract(value)
