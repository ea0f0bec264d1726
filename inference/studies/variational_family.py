"""What a guide's distribution at a site can be besides what the encoder makes of it: the same kind, its parameters shifted.

Axes: plates, event. A parameter's offset has the shape of the site's plates and of the parameter's own event; a leading
dimension of particles, where the guide's parameters depend on other latents, broadcasts against it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import torch
from pyro.distributions import ExpandedDistribution, MaskedDistribution, TransformedDistribution
from torch import Tensor
from torch.distributions import Independent, constraints, transform_to
from torch.distributions import TransformedDistribution as Transformed

from pyrogen.errors import PairError
from pyrogen.programs.run import Site

__all__ = ["VariationalFamily"]

_Change: TypeAlias = Callable[[Any, str, Tensor, Any, tuple[int, ...]], Tensor]
"""``change(fn, name, value, constraint, batch shape)``: what a parameter becomes."""

# Each says what the first says already.
_REDUNDANT = {"logits": ("probs",), "scale_tril": ("covariance_matrix", "precision_matrix")}


@dataclass
class VariationalFamily:
    """All distributions of one kind at one site: those that offsets to its unconstrained parameters can make.

    With offsets of zero it is the guide's own. A location is shifted in units of the guide's scale, and a positive
    parameter multiplied by the exponential of its offset, so that one step size suits all.

    Args:
        site: a latent of the guide, in a run without particles.

    Raises:
        PairError: the distribution cannot be built anew from its parameters; the message names the site.

    Example:
        >>> import pyro.distributions as dist
        >>> site = Site("z", dist.Normal(torch.zeros(3), 2.0), torch.zeros(3), False, False, 1.0, None, -1)
        >>> family = VariationalFamily(site)
        >>> shifted = family(site.fn, [torch.ones(3), torch.zeros(3)])
        >>> shifted.loc, shifted.scale
        (tensor([2., 2., 2.]), tensor([2., 2., 2.]))
    """

    site: Site
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    """Shape of each offset."""
    units: list[Tensor] = field(default_factory=list)
    keeps: bool = field(default=False, init=False)
    """Whether part of the distribution (its transforms) stays as the guide makes it."""

    def __post_init__(self) -> None:
        fn = self.site.fn
        where = f"site '{self.site.name}': the guide's {type(fn).__name__} cannot be refined"
        advice = "give the guide a distribution that is built from its parameters, such as Normal or MultivariateNormal"
        if any(_moves_its_support(part) for part in _layers(fn)):
            raise PairError(f"{where}, for the values it can take depend on its parameters: {advice}")
        try:
            again = _rebuilt(fn, tuple(fn.batch_shape), self._look)
            same = torch.allclose(again.log_prob(self.site.value), self.site.log_prob(), 1e-3, 1e-3, equal_nan=True)
        except (NotImplementedError, AttributeError, TypeError, ValueError, RuntimeError) as error:
            raise PairError(f"{where} ({type(error).__name__}: {error}): {advice}") from error
        if not same or not self.shapes:
            raise PairError(f"{where}, for its parameters do not determine it: {advice}")
        self.keeps = any(isinstance(part, Transformed) and not part.arg_constraints for part in _layers(fn))

    def __call__(self, fn: Any, offsets: Sequence[Tensor]) -> Any:
        """The site's distribution `fn`, which the guide has just made, with its parameters shifted."""
        return _rebuilt(fn, tuple(self.site.fn.batch_shape), partial(_shift, zip(offsets, self.units, strict=True)))

    def _look(self, fn: Any, name: str, value: Tensor, constraint: Any, shape: tuple[int, ...]) -> Tensor:
        event = constraint.event_dim
        self.shapes.append((*shape, *value.shape[value.dim() - event :]))
        unit = _unit(fn, name, value).detach()
        self.units.append(unit)
        return _shift(iter([(value.new_zeros(self.shapes[-1]), unit)]), fn, name, value, constraint, shape)


def _shift(
    offsets: Iterator[tuple[Tensor, Tensor]], fn: Any, name: str, value: Tensor, constraint: Any, shape: tuple[int, ...]
) -> Tensor:
    """A parameter, shifted on its unconstrained space by the next of the offsets."""
    offset, unit = next(offsets)
    transform = transform_to(constraint)
    result: Tensor = transform(transform.inv(value) + unit * offset)
    return result


def _rebuilt(fn: Any, shape: tuple[int, ...], change: _Change) -> Any:
    """A distribution like `fn`, of batch shape `shape` at least, each parameter of which has been changed."""
    if isinstance(fn, Independent):
        depth = fn.reinterpreted_batch_ndims
        inner = fn.base_dist.batch_shape[len(fn.base_dist.batch_shape) - depth :]
        return _rebuilt(fn.base_dist, (*shape, *inner), change).to_event(depth)
    if isinstance(fn, MaskedDistribution):
        return _rebuilt(fn.base_dist, shape, change).mask(fn._mask)
    if isinstance(fn, ExpandedDistribution):
        return _rebuilt(fn.base_dist, shape, change)
    if isinstance(fn, Transformed) and not fn.arg_constraints:
        return TransformedDistribution(_rebuilt(fn.base_dist, shape, change), fn.transforms)
    known: dict[str, Any] = dict(fn.arg_constraints)
    for name, others in _REDUNDANT.items():
        if name in known:
            known = {key: constraint for key, constraint in known.items() if key not in others}
    arguments = {name: getattr(fn, name) for name in known}
    device = next((value.device for value in arguments.values() if isinstance(value, Tensor)), torch.device("cpu"))
    for name, constraint in known.items():
        if not constraint.is_discrete:
            arguments[name] = change(fn, name, torch.as_tensor(arguments[name], device=device), constraint, shape)
    for name, parameter in inspect.signature(type(fn).__init__).parameters.items():
        required = parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        if required and name != "self" and name not in arguments:
            arguments[name] = getattr(fn, name)  # such as the temperature of a relaxed distribution
    return type(fn)(**arguments)


def _unit(fn: Any, name: str, value: Tensor) -> Any:
    """How far an offset of one shifts a parameter, on its unconstrained space."""
    if "scale_tril" in fn.arg_constraints:
        diagonal = fn.scale_tril.diagonal(dim1=-2, dim2=-1)  # (..., event)
        if name == "loc":
            return diagonal
        if name == "scale_tril":  # the logarithms on the diagonal, the rest in units of its row
            return torch.where(torch.eye(value.shape[-1], dtype=torch.bool, device=value.device), 1.0, diagonal[..., None])
    if name == "loc" and "cov_diag" in fn.arg_constraints:
        return fn.stddev
    if name == "loc" and fn.arg_constraints.get("scale") is constraints.positive:
        return fn.scale
    return value.new_ones(())


def _moves_its_support(fn: Any) -> bool:
    """Whether the values that a continuous distribution can take depend on its parameters, as a uniform one's do."""
    if isinstance(fn, Independent | ExpandedDistribution | MaskedDistribution) or fn.support.is_discrete:
        return False
    bounds = (getattr(fn.support, name, None) for name in ("lower_bound", "upper_bound"))
    return bool(fn.arg_constraints) and any(isinstance(bound, Tensor) for bound in bounds)


def _layers(fn: Any) -> Iterator[Any]:
    while fn is not None:
        yield fn
        fn = getattr(fn, "base_dist", None)
