"""PG204: nothing keeps a parameter of a distribution inside its constraint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributions import constraints
from torch.distributions.utils import lazy_property

from pyrogen.programs.run import run_guide, run_model
from pyrogen.programs.traces import innermost

from ..finding import Finding
from ..rule import Rule

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["UnconstrainedParameter"]

_BAD = """\
def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        scale = pyro.param("scale", torch.ones(3))
        pyro.sample("x", dist.Normal(decoder(z), scale).to_event(1), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(1))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""
_MENDED = _BAD.replace("torch.ones(3))", "torch.ones(3), constraint=constraints.positive)")
_SLACK = 1e-5


class UnconstrainedParameter(Rule):
    """Other values of the pair's parameters put an argument of a distribution outside its constraint."""

    code = "PG204"
    title = "nothing keeps an argument of a distribution inside its constraint"
    group = "support"
    severity = "warning"
    why = "One step of the optimizer can make a scale negative; from then on, often late in a run, the loss is NaN."
    remedy = "Pass it through nn.functional.softplus, exp, sigmoid or softmax, or use pyro.param with a constraint"
    bad = _BAD
    mended = _MENDED

    def look(self, subject: Subject) -> Iterator[Finding]:
        """Turn the parameters round, and shake them, and look at the arguments of all distributions."""
        seen: set[tuple[str, str]] = set()
        before = [parameter.detach().clone() for parameter in subject.pair.parameters()]
        with subject.running():
            for change in (_same, _turned, _turned, _shaken, _far):
                for parameter, value in zip(subject.pair.parameters(), before, strict=True):
                    if parameter.requires_grad:  # what is frozen stays as it is
                        parameter.copy_(change(value))
                for role, name, fn in _distributions(subject):
                    for argument, value, constraint in _arguments(fn):
                        zero = change in (_same, _turned) and _reaches_zero(constraint, value)
                        if (name, argument) in seen or not (zero or _violates(constraint, value)):
                            continue
                        seen.add((name, argument))
                        own = _own(subject.pair, value)
                        yield self.found(
                            f"other values of the parameters put {argument} of site '{name}' in the {role} outside its "
                            f"constraint, {_worded(constraint)}" + (f": it is the parameter '{own}' itself" if own else ""),
                            site=name,
                            shape=tuple(value.shape),
                            line=subject.line_of(name, guide=role == "guide"),
                        )


def _same(value: Tensor) -> Tensor:
    return value


def _turned(value: Tensor) -> Tensor:
    """With the sign of the whole tensor turned, or not."""
    return value if float(torch.rand(())) < 0.5 else -value


def _shaken(value: Tensor) -> Tensor:
    return value + torch.randn_like(value) if value.is_floating_point() else value


def _far(value: Tensor) -> Tensor:
    return value + 10.0 * torch.randn_like(value) if value.is_floating_point() else value


def _distributions(subject: Subject) -> list[tuple[str, str, Any]]:
    nesting = subject.structure.nesting
    try:
        guide = run_guide(subject.pair, subject.args, subject.kwargs, nesting=nesting, given=subject.draws)
        model = run_model(
            subject.pair, subject.args, subject.kwargs, guide.latents(), indices=guide.indices, nesting=nesting, draw=True
        )
    except Exception:  # a program may raise at parameters that are far from its own
        return []
    return [
        (role, site.name, innermost(site.fn))
        for role, sites in (("guide", guide), ("model", model))
        for site in sites.visited.values()
    ]


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
    """Whether a value lies outside a constraint by more than rounding, or than the limit of a function that respects it."""
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


def _worded(constraint: Any) -> str:
    low, high = getattr(constraint, "lower_bound", None), getattr(constraint, "upper_bound", None)
    if high is None and low == 0.0:
        return "positive"
    return str(constraint).removesuffix("()")


def _own(pair: nn.Module, value: Tensor) -> str | None:
    """The parameter whose memory an argument shares."""
    for name, parameter in pair.named_parameters():
        if parameter.untyped_storage().data_ptr() == value.untyped_storage().data_ptr():
            return name
    return None
