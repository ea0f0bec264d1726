"""Runs of a pair with the gradient of the log weight, on its batch and on batches of extreme values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pyrogen.batch import Batch, arguments, map_tensors
from pyrogen.programs.run import Site, Sites
from pyrogen.programs.traces import innermost, samples

from .snapshot import preserved_generators
from .subject import Subject, memoize

__all__ = [
    "ENLARGED",
    "GradientRun",
    "baseline_parameters",
    "flat_parameters",
    "run_on_batch",
    "runs_on_extreme_data",
    "scale_of",
]

_LARGE = 1000.0
ENLARGED = "the batch times a thousand"
"""What `GradientRun.batch` says of large data."""
_PROBES = 16


@dataclass(frozen=True)
class GradientRun:
    """A run of a pair and the gradient of its log weight."""

    batch: str
    """What the batch holds, in words for messages."""
    guide: Sites
    model: Sites
    gradients: dict[str, Tensor | None]
    """By the names of the parameters that require one; None for one that the log weight does not depend on."""

    def sites(self) -> Iterator[tuple[str, Site]]:
        """Yield the sites of guide and model, each with ``"guide"`` or ``"model"``."""
        yield from (("guide", site) for site in self.guide.visited.values())
        yield from (("model", site) for site in self.model.visited.values())

    def not_finite(self) -> tuple[str, Site, Tensor] | None:
        """Find the first site whose log density is not finite: program, site, log density."""
        for role, site in self.sites():
            log_prob = site.log_prob().detach()
            if not bool(torch.isfinite(log_prob).all()):
                return role, site, log_prob
        return None

    def gradients_not_finite(self) -> list[str]:
        """List the parameters whose gradient is not finite."""
        return [name for name, g in self.gradients.items() if g is not None and not bool(torch.isfinite(g).all())]


@memoize
def run_on_batch(subject: Subject) -> GradientRun:
    """Run the pair as it is, on its batch."""
    return _differentiate(subject, subject.batch, "the batch")


@memoize
def flat_parameters(subject: Subject) -> list[str]:
    """List the parameters that change the log weight and have a zero gradient, also at random values of all parameters.

    A parameter behind an initial zero or a dead unit has a gradient elsewhere, and a masked weight changes nothing: they are
    not listed.
    """
    parameters = {name: parameter for name, parameter in subject.pair.named_parameters() if parameter.requires_grad}
    names = _zero_gradients(run_on_batch(subject))
    with _put_back(list(parameters.values())) as before:
        for _ in range(_PROBES if names else 0):
            with torch.no_grad():
                for parameter, value in zip(parameters.values(), before, strict=True):
                    parameter.copy_(value + torch.randn_like(value))
            still = _zero_gradients(_differentiate(subject, subject.batch, "the batch"))
            names = [name for name in names if name in still]
            if not names:
                break
    return [name for name in names if _changes_with(subject, parameters[name])]


@memoize
def runs_on_extreme_data(subject: Subject) -> list[GradientRun]:
    """Run the pair on zeros, ones and data times a thousand, where the likelihoods' supports allow them.

    Only tensors that are observed are changed, not what else a batch holds.
    """
    known = [site.value for site in run_on_batch(subject).model.visited.values() if site.observed]
    args, kwargs = arguments(subject.batch)
    floats = [t for t in (*args, *kwargs.values()) if isinstance(t, Tensor) and t.is_floating_point()]
    data = [t for t in floats if any(_may_be(t, value) for value in known)]
    if len(data) > 1:
        data = [t for t in data if any(_may_be(t, value) and torch.equal(t.flatten(), value.flatten()) for value in known)]
    if not data:
        return []
    changes: dict[str, Callable[[Tensor], Tensor]] = {"zeros": torch.zeros_like, "ones": torch.ones_like}
    if any(bool((t < 0).any() | (t > 1).any()) for t in data):  # pixels and the like are never large
        changes[ENLARGED] = lambda tensor: tensor * _LARGE
    found = []
    for name, change in changes.items():

        def changed(tensor: Tensor, change: Callable[[Tensor], Tensor] = change) -> Tensor:
            return change(tensor) if any(tensor is values for values in data) else tensor

        batch = map_tensors(subject.batch, changed)
        try:
            run = _differentiate(subject, batch, name)
        except Exception:  # a program may refuse such data
            continue
        if all(_supported(site) for site in run.model.visited.values() if site.observed):
            found.append(run)
    return found


def baseline_parameters(subject: Subject) -> set[str]:
    """Name the parameters that the guide's baselines depend on; Pyro's score-function objectives train them."""
    parameters = dict(subject.pair.named_parameters())
    found: set[str] = set()
    with subject.running(gradients=True):
        guide, _ = subject.trace()
        for _, site in samples(guide):
            baseline: dict[str, Any] = site["infer"].get("baseline", {})
            network, value = baseline.get("nn_baseline"), baseline.get("baseline_value")
            own = {id(parameter) for parameter in network.parameters()} if isinstance(network, nn.Module) else set()
            found |= {name for name, parameter in parameters.items() if id(parameter) in own}
            if isinstance(value, Tensor) and value.requires_grad:
                gradients = torch.autograd.grad(value.sum(), list(parameters.values()), allow_unused=True, retain_graph=True)
                found |= {name for name, gradient in zip(parameters, gradients, strict=True) if gradient is not None}
    return found


def scale_of(site: Site) -> Tensor | None:
    """Return the scale of a site's distribution, with its gradient, or None if it has none."""
    scale = getattr(innermost(site.fn), "scale", None)
    return scale if isinstance(scale, Tensor) else None


def _differentiate(subject: Subject, batch: Batch, name: str) -> GradientRun:
    parameters = {n: p for n, p in subject.pair.named_parameters() if p.requires_grad}
    with subject.running(gradients=True):
        guide, model = subject.run(batch=batch)
        log_weight = subject.log_weight(guide, model)
        gradients: Any = [None] * len(parameters)
        if parameters and log_weight.requires_grad:
            gradients = torch.autograd.grad(log_weight, list(parameters.values()), allow_unused=True, retain_graph=True)
    return GradientRun(name, guide, model, dict(zip(parameters, gradients, strict=True)))


def _zero_gradients(run: GradientRun) -> list[str]:
    return [name for name, gradient in run.gradients.items() if gradient is not None and not bool(gradient.any())]


def _changes_with(subject: Subject, parameter: Tensor) -> bool:
    """Whether the log weight changes with a parameter, whatever its gradient."""
    weights = []
    with _put_back([parameter]) as (before,):
        for change in (torch.zeros_like(before), torch.randn_like(before)):
            with torch.no_grad():
                parameter.copy_(before + change)
            with subject.running(), preserved_generators(seed=0):
                weights.append(subject.log_weight(*subject.run()))
    return not torch.equal(*weights)


@contextmanager
def _put_back(parameters: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Copies of parameters, whose values are put back afterwards."""
    before = [parameter.detach().clone() for parameter in parameters]
    try:
        yield before
    finally:
        with torch.no_grad():
            for parameter, value in zip(parameters, before, strict=True):
                parameter.copy_(value)


def _may_be(tensor: Tensor, value: Tensor) -> bool:
    """Whether a site may observe all of a tensor, in another shape or binarized perhaps, and not a part of it."""
    return tensor.numel() == value.numel() and tensor.shape[:1] == value.shape[:1]


def _supported(site: Site) -> bool:
    try:
        return bool(innermost(site.fn).support.check(site.value).all())
    except (AttributeError, NotImplementedError):  # a distribution that does not know its support
        return False
