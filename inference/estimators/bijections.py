"""Maps from an unconstrained space to the support of a latent."""

from __future__ import annotations

import math
from typing import Any

import torch
from pyro.distributions import SineBivariateVonMises
from pyro.distributions.transforms import CholeskyTransform
from torch import Tensor
from torch.distributions import ComposeTransform, Transform, VonMises, biject_to, constraints
from torch.distributions.transforms import CatTransform, IndependentTransform, StackTransform

from pyrogen.errors import PairError
from pyrogen.programs.run import Site
from pyrogen.programs.traces import innermost

__all__ = ["bijection", "is_discrete", "unconstrained"]

_MIXTURE = "MixtureSameFamilyConstraint"  # of torch's own, under no public name


def bijection(fn: Any, name: str) -> Transform | None:
    """The map from the unconstrained space to the support of a distribution; None where they are the same.

    A mixture has the support of its components. An angle lies between -pi and pi.

    Args:
        fn: the distribution of a latent.
        name: its site, for the message.

    Raises:
        PairError: there is no such map, as from a space to a sphere.
    """
    inner = innermost(fn)
    try:
        support = fn.support
        if isinstance(inner, VonMises | SineBivariateVonMises):
            support = constraints.interval(-math.pi, math.pi)  # type: ignore[no-untyped-call]
            support = constraints.independent(support, fn.event_dim) if fn.event_dim else support  # type: ignore[no-untyped-call]
        if _is_real(support):
            return None
        return _to(support)
    except (NotImplementedError, AttributeError) as error:
        raise PairError(
            f"latent '{name}' ({type(inner).__name__}) has no map from an unconstrained space to its support, by which a "
            f"gradient could move it: {error or 'its support is not known'}",
            remedy="use ImportanceSampling, which moves nothing, or give the distribution a `support` that "
            "torch.distributions.biject_to knows",
        ) from error


def unconstrained(site: Site) -> Tensor:
    """The value of a latent on the unconstrained space; see `bijection`."""
    transform = bijection(site.fn, site.name)
    return site.value if transform is None else transform.inv(site.value)


def is_discrete(fn: Any) -> bool:
    """Whether the values of a distribution are discrete; one that does not know its support is taken for continuous."""
    try:
        return bool(innermost(fn).support.is_discrete)
    except (NotImplementedError, AttributeError):
        return False


def _to(support: Any) -> Transform:
    if isinstance(support, constraints.independent):
        base: Transform = _to(support.base_constraint)
        extra = support.reinterpreted_batch_ndims
        return IndependentTransform(base, extra) if extra else base
    if type(support).__name__ == _MIXTURE:
        return _to(_of_all(support.base_constraint))
    if isinstance(support, constraints.cat):
        return CatTransform([_to(part) for part in support.cseq], support.dim, support.lengths)
    if isinstance(support, constraints.stack):
        return StackTransform([_to(part) for part in support.cseq], support.dim)
    if isinstance(support, type(constraints.positive_definite)):
        return ComposeTransform([_LowerCholesky(), CholeskyTransform().inv])
    if isinstance(support, type(constraints.lower_cholesky)):
        return _LowerCholesky()
    return biject_to(support)  # type: ignore[no-any-return]


def _of_all(support: Any, right: int = 0) -> Any:
    """The support that all components of a mixture share; they lie along the dimension before the last `right` ones."""
    if isinstance(support, constraints.independent):
        extra = support.reinterpreted_batch_ndims
        return constraints.independent(_of_all(support.base_constraint, right + extra), extra)  # type: ignore[no-untyped-call]
    bounds = {name: getattr(support, name) for name in ("lower_bound", "upper_bound") if hasattr(support, name)}
    for name, bound in bounds.items():
        if isinstance(bound, Tensor) and bound.dim() > right:
            bounds[name] = first = bound.select(-1 - right, 0)
            if not bool((bound == first.unsqueeze(-1 - right)).all()):
                raise NotImplementedError("the components of the mixture have different bounds")
    return type(support)(**bounds) if bounds else support


def _is_real(support: Any) -> bool:
    while isinstance(support, constraints.independent) or type(support).__name__ == _MIXTURE:
        support = support.base_constraint
    return support is constraints.real or support is constraints.real_vector


class _LowerCholesky(Transform):
    """A vector of n (n + 1) / 2 numbers as a lower triangular matrix with a positive diagonal, which it holds in logs."""

    domain = constraints.real_vector
    codomain = constraints.lower_cholesky
    bijective = True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _LowerCholesky)

    def __hash__(self) -> int:
        return hash(_LowerCholesky)

    def _call(self, x: Tensor) -> Tensor:
        size = _rows(x.shape[-1])
        row, column = torch.tril_indices(size, size, device=x.device)
        matrix = x.new_zeros(*x.shape[:-1], size, size)
        matrix[..., row, column] = torch.where(row == column, x.exp(), x)
        return matrix

    def _inverse(self, y: Tensor) -> Tensor:
        row, column = torch.tril_indices(y.shape[-1], y.shape[-1], device=y.device)
        values = y[..., row, column]
        return torch.where(row == column, values.log(), values)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Of a vector (..., n (n + 1) / 2) and its matrix (..., n, n): (...)."""
        return y.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        """The shape of the matrices of vectors of a shape."""
        size = _rows(shape[-1])
        return torch.Size((*shape[:-1], size, size))

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        """The shape of the vectors of matrices of a shape."""
        return torch.Size((*shape[:-2], shape[-1] * (shape[-1] + 1) // 2))


def _rows(length: int) -> int:
    return (math.isqrt(8 * length + 1) - 1) // 2
