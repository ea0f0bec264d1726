"""Rules of support: whether draws, data and arguments of distributions stay where densities are defined."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from pyro.distributions import Delta
from torch import Tensor, nn
from torch.distributions import constraints
from torch.distributions.utils import lazy_property

from pyrogen.programs import faults
from pyrogen.programs.faults import Fault
from pyrogen.programs.matching import grey
from pyrogen.programs.run import run_guide, run_model
from pyrogen.programs.traces import innermost

from ..examples import RIGHT, changed
from ..rule import Seen, rule
from ..subject import Subject

_DRAWS = 64
_LEAST_SHARE = 0.005
_SLACK = 1e-5

_UNIT_INTERVAL = """\
def model(x):
    with pyro.plate("data", len(x)):
        rate = pyro.sample("rate", dist.HalfNormal(x.new_ones(())))
        pyro.sample("x", dist.Poisson(rate), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("rate", dist.Beta(x + 1.0, 2.0))

pair, batch = Pair.of(model, guide), torch.arange(8.0)
"""


@rule(
    Fault(
        "PG202",
        "warning",
        "the guide's support does not cover the prior's",
        why="What the guide cannot draw is missing from every estimate: importance sampling is then biased, whatever the "
        "number of particles, and no diagnostic shows it.",
        remedy="Give the guide a distribution of the prior's support",
    ),
    bad=_UNIT_INTERVAL,
    fixed=changed(_UNIT_INTERVAL, ("dist.Beta", "dist.Gamma")),
)
def prior_not_covered(subject: Subject) -> Iterator[Seen]:
    """Draw latents from the prior, and count those outside the support of the guide's distributions."""
    structure, nesting = subject.structure, subject.structure.nesting
    particles = _DRAWS if structure.loop is None else None
    outside: dict[str, list[float]] = {}
    with subject.running():
        for _ in range(8 if particles is None else 1):
            at: dict[str, Any] = {"particles": particles, "nesting": nesting}
            prior = run_model(subject.pair, subject.args, subject.kwargs, {}, draw=True, **at)
            at["indices"] = prior.indices
            guide = run_guide(subject.pair, subject.args, subject.kwargs, given=prior.latents(), **at)
            for name in structure.latents:
                site = guide.visited.get(name)
                if site is None or isinstance(innermost(site.fn), Delta):
                    continue
                try:
                    valid = innermost(site.fn).support.check(prior.visited[name].value)
                except (AttributeError, NotImplementedError):  # a distribution that does not know its support
                    continue
                outside.setdefault(name, []).append(float((~valid).to(torch.float64).mean()))
    for name, shares in outside.items():
        share = sum(shares) / len(shares)
        if share > _LEAST_SHARE:
            prior_name, guide_name = (type(innermost(s[name]["fn"])).__name__ for s in (subject.model, subject.guide))
            yield Seen(
                f"{share:.1%} of draws of '{name}' from the prior ({prior_name}) lie outside the support of the guide's "
                f"{guide_name}",
                name,
                line=subject.line_of(name, guide=True),
            )


_GREY = changed(
    RIGHT,
    ("dist.Normal(decoder(z), 1.0)", "dist.Bernoulli(logits=decoder(z))"),
    ("torch.randn(8, 3)", "torch.rand(8, 3)"),
)


@rule(faults.GREY_PIXELS, bad=_GREY, fixed=changed(_GREY, ("torch.rand(8, 3)", "torch.rand(8, 3).round()")))
def grey_pixels(subject: Subject) -> Iterator[Seen]:
    """Look for Bernoulli sites whose observed values lie between 0 and 1."""
    for name, site in subject.model.items():
        if site["is_observed"] and grey(site["fn"], site["value"]):
            yield Seen(f"site '{name}' observes values between 0 and 1 under a Bernoulli", name)


_UNCONSTRAINED = changed(
    RIGHT,
    (
        '        pyro.sample("x", dist.Normal(decoder(z), 1.0)',
        '        scale = pyro.param("scale", torch.ones(3))\n        pyro.sample("x", dist.Normal(decoder(z), scale)',
    ),
)


@rule(
    faults.UNCONSTRAINED_ARGUMENT,
    bad=_UNCONSTRAINED,
    fixed=changed(_UNCONSTRAINED, ("torch.ones(3))", "torch.ones(3), constraint=constraints.positive)")),
)
def unconstrained_argument(subject: Subject) -> Iterator[Seen]:
    """Change the parameters' signs and add noise to them, and check the arguments of all distributions."""
    seen: set[tuple[str, str]] = set()
    before = [parameter.detach().clone() for parameter in subject.pair.parameters()]
    with subject.running():
        for change in (_same, _maybe_negated, _maybe_negated, _with_noise, partial(_with_noise, scale=10.0)):
            for parameter, value in zip(subject.pair.parameters(), before, strict=True):
                if parameter.requires_grad:  # a frozen one keeps its value
                    parameter.copy_(change(value))
            for role, name, fn in _distributions(subject):
                for argument, value, constraint in _arguments(fn):
                    zero = change in (_same, _maybe_negated) and _reaches_zero(constraint, value)
                    if (name, argument) in seen or not (zero or _violates(constraint, value)):
                        continue
                    seen.add((name, argument))
                    own = _parameter_of(subject.pair, value)
                    yield Seen(
                        f"other values of the parameters put {argument} of site '{name}' in the {role} outside its "
                        f"constraint, {_in_words(constraint)}" + (f": it is the parameter '{own}' itself" if own else ""),
                        name,
                        tuple(value.shape),
                        subject.line_of(name, guide=role == "guide"),
                    )


def _same(value: Tensor) -> Tensor:
    return value


def _maybe_negated(value: Tensor) -> Tensor:
    return value if float(torch.rand(())) < 0.5 else -value


def _with_noise(value: Tensor, scale: float = 1.0) -> Tensor:
    return value + scale * torch.randn_like(value) if value.is_floating_point() else value


def _distributions(subject: Subject) -> list[tuple[str, str, Any]]:
    """Program, site and distribution of each site, of single elements."""
    try:
        at: dict[str, Any] = {"indices": subject.indices, "nesting": subject.structure.nesting}
        guide = run_guide(subject.pair, subject.args, subject.kwargs, given=subject.draws, **at)
        model = run_model(subject.pair, subject.args, subject.kwargs, guide.latents(), draw=True, **at)
    except Exception:  # a program may raise at parameters that are far from its own
        return []
    programs = (("guide", guide), ("model", model))
    return [(role, site.name, innermost(site.fn)) for role, sites in programs for site in sites.visited.values()]


def _arguments(fn: Any) -> Iterator[tuple[str, Tensor, Any]]:
    """Arguments with which a distribution was made, and their constraints."""
    try:
        known = dict(fn.arg_constraints)
    except NotImplementedError:
        return
    for name, constraint in known.items():
        if name not in vars(fn) and isinstance(getattr(type(fn), name, None), lazy_property):
            continue
        value = getattr(fn, name, None)
        if isinstance(value, Tensor) and value.is_floating_point():
            yield name, value, constraint


def _violates(constraint: Any, value: Tensor) -> bool:
    """Whether a value is outside a constraint by more than rounding."""
    finite = value[value.isfinite()] if not value.isfinite().all() else value
    if hasattr(constraint, "base_constraint"):  # of each of several
        return _violates(constraint.base_constraint, value)
    low, high = getattr(constraint, "lower_bound", None), getattr(constraint, "upper_bound", None)
    if low is not None or high is not None:
        below = low is not None and bool((finite < low - _SLACK).any())
        return below or (high is not None and bool((finite > high + _SLACK).any()))
    if constraint is constraints.simplex:
        return bool((value < -_SLACK).any()) or bool(((value.sum(-1) - 1.0).abs() > 1e-3).any())
    if constraint is constraints.lower_cholesky and value.dim() >= 2:
        return bool((value.diagonal(dim1=-2, dim2=-1) < -_SLACK).any())
    return False


def _reaches_zero(constraint: Any, value: Tensor) -> bool:
    """Whether what must be above zero is zero at ordinary parameters, as a relu makes it, and not an underflow."""
    if hasattr(constraint, "base_constraint"):
        return _reaches_zero(constraint.base_constraint, value)
    above_zero = type(constraint) is type(constraints.positive) and constraint.lower_bound == 0.0
    return above_zero and bool((value == 0).any())


def _in_words(constraint: Any) -> str:
    low, high = getattr(constraint, "lower_bound", None), getattr(constraint, "upper_bound", None)
    return "positive" if high is None and low == 0.0 else str(constraint).removesuffix("()")


def _parameter_of(pair: nn.Module, value: Tensor) -> str | None:
    """The parameter whose memory an argument shares."""
    for name, parameter in pair.named_parameters():
        if parameter.untyped_storage().data_ptr() == value.untyped_storage().data_ptr():
            return name
    return None
