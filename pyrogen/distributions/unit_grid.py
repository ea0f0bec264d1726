"""What the distributions of this package share: `expand`, and the grid of pixel values, ``{0, 1/(bins-1), ..., 1}``."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints, register_kl

from pyrogen.errors import ConfigurationError, DataError

__all__ = ["Expandable", "OnGrid", "UnitGrid", "expected_log_ratio", "grid_index", "grid_values"]


class UnitGrid(constraints.Constraint):
    """The support of values on ``{0, 1/(bins-1), ..., 1}``, to within the rounding of their dtype.

    8-bit pixels divided by 255 lie on the grid of 256 bins, binary pixels on that of 2.

    Example:
        >>> UnitGrid(3).check(torch.tensor([0.0, 0.25, 0.5, 1.0, 1.5]))
        tensor([ True, False,  True,  True, False])
    """

    is_discrete = True
    event_dim = 0

    def __init__(self, bins: int) -> None:
        self.bins = bins
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        """Whether each value lies on the grid."""
        last = self.bins - 1
        # A grid point is off by up to half a unit in the last place; a dtype too coarse to tell one bin
        # from the next (bfloat16 with 256 bins) is not excused.
        tolerance = min(0.25, 1e-3 + torch.finfo(value.dtype).eps * last) if value.is_floating_point() else 0.0
        index = (value.float() if value.dtype in (torch.float16, torch.bfloat16) else value) * last
        return ((index - index.round()).abs() <= tolerance) & (value >= 0) & (value <= 1)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(bins={self.bins})"


def grid_index(value: Tensor, bins: int) -> Tensor:
    """The index ``0, ..., bins - 1`` of the grid point next to each value, in the dtype of the value.

    Whole numbers in place of the values spare every formula on the grid the rounding of ``i / (bins - 1)``.
    """
    return (value * (bins - 1)).round().clamp(0, bins - 1)


def grid_values(bins: int, like: Tensor) -> Tensor:
    """All values of the grid, shape (bins,), of the dtype and on the device of a tensor."""
    return torch.arange(bins, dtype=like.dtype, device=like.device) / (bins - 1)


D = TypeVar("D", bound="Expandable")


class Expandable(TorchDistribution):
    """A distribution whose `expand` expands the parameters of `arg_constraints`, and keeps all other attributes."""

    def expand(self: D, batch_shape: Any, _instance: Any = None) -> D:
        """See `torch.distributions.Distribution.expand`.

        Raises:
            ConfigurationError: the batch shape does not expand to the one asked for.
        """
        batch_shape, own = torch.Size(batch_shape), self.batch_shape
        fits = zip(reversed(own), reversed(batch_shape), strict=False)
        if len(own) > len(batch_shape) or any(size not in (1, wanted) for size, wanted in fits):
            raise ConfigurationError(
                f"a {type(self).__name__} of batch shape {tuple(own)} does not expand to {tuple(batch_shape)}: only new "
                "dimensions on the left and those of size 1 can grow"
            )
        kind = next(kind for kind in type(self).__mro__ if "arg_constraints" in vars(kind))
        new: D = self._get_checked_instance(kind, _instance)  # type: ignore[no-untyped-call]
        # A method that was replaced for one object, as by those who watch it, stays with that object.
        kept = {name: value for name, value in vars(self).items() if not hasattr(type(self), name)}
        new.__dict__.update(
            kept, **self._expanded(batch_shape), _batch_shape=batch_shape, _validate_args=self._validate_args
        )
        return new

    def _expanded(self, batch_shape: torch.Size) -> dict[str, Any]:
        """The attributes that differ in another batch shape, by name."""
        found = {}
        for name, constraint in self.arg_constraints.items():
            value: Tensor = getattr(self, name)
            found[name] = value.expand(batch_shape + value.shape[value.dim() - constraint.event_dim :])
        return found

    def _leading(self, value: Tensor) -> torch.Size:
        """The leading dimensions of a value (..., *event), broadcast with the batch."""
        split = value.dim() - len(self.event_shape)
        if split < 0 or value.shape[split:] != self.event_shape:
            event = ", ".join(map(str, self.event_shape))
            raise DataError(f"a value must have shape (..., {event}), not {tuple(value.shape)}")
        try:
            return torch.Size(torch.broadcast_shapes(value.shape[:split], self.batch_shape))  # type: ignore[no-untyped-call]
        except RuntimeError:
            raise ConfigurationError(
                f"the batch {tuple(self.batch_shape)} of this {type(self).__name__} does not broadcast with the leading "
                f"dimensions {tuple(value.shape[:split])} of the value: give one context or parameter for each datum, or "
                "one that all share"
            ) from None


class OnGrid(Expandable):
    """A distribution of values on the unit grid of `bins`."""

    has_enumerate_support = True
    bins: int

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> UnitGrid:
        """The grid."""
        return UnitGrid(self.bins)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """See `torch.distributions.Distribution.enumerate_support`."""
        like = getattr(self, next(iter(self.arg_constraints)))
        values = grid_values(self.bins, like).reshape(-1, *(1 for _ in self.batch_shape))  # (bins, 1, ..., 1)
        return values.expand(-1, *self.batch_shape) if expand else values

    def entropy(self) -> Tensor:
        """The entropy, in nats, summed over the grid."""
        log_prob = self.log_prob(self.enumerate_support())  # (bins, ...)
        return -expected_log_ratio(log_prob, torch.zeros_like(log_prob), 0)


@register_kl(OnGrid, OnGrid)  # type: ignore[no-untyped-call, untyped-decorator]
def _divergence_on_grid(p: OnGrid, q: OnGrid) -> Tensor:
    """The Kullback-Leibler divergence, in nats, summed over the grid."""
    if p.bins != q.bins:
        raise ConfigurationError(f"grids of {p.bins} and {q.bins} bins share no support: there is no divergence")
    values = p.enumerate_support()
    return expected_log_ratio(p.log_prob(values), q.log_prob(values), 0)


def expected_log_ratio(log_p: Tensor, log_q: Tensor, dim: int) -> Tensor:
    r"""The sum :math:`\sum_i p_i (\log p_i - \log q_i)` along a dimension; its terms of probability 0 are 0.

    Example:
        >>> half = torch.tensor([0.5, 0.5, 0.0]).log()
        >>> expected_log_ratio(half, torch.zeros(3), 0)  # minus the entropy of a coin
        tensor(-0.6931)
    """
    possible = log_p > -torch.inf
    ratio = torch.where(possible, log_p, 0) - torch.where(possible, log_q, 0)
    return (log_p.exp() * ratio).sum(dim)
