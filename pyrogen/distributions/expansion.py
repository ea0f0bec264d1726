"""What the distributions of this package have in common: `expand`, and the values of a grid."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from .unit_grid import UnitGrid, grid_values

__all__ = ["Expandable", "OnGrid"]

D = TypeVar("D", bound="Expandable")


class Expandable(TorchDistribution):
    """A distribution whose `expand` expands the parameters of `arg_constraints`, and keeps all other attributes."""

    def expand(self: D, batch_shape: Any, _instance: Any = None) -> D:
        """See `torch.distributions.Distribution.expand`."""
        batch_shape = torch.Size(batch_shape)
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
