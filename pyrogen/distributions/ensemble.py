"""Ensembles: distributions averaged in probability."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from pyrogen.errors import ConfigurationError

from .unit_grid import Expandable

__all__ = ["Ensemble"]


class Ensemble(Expandable):
    r"""The average of the probabilities, or of the densities, of several distributions of the same events.

    .. math::
        p(x) = \frac1M \sum_m p_m(x).

    By Jensen's inequality its log probability is at least the average of the members'.

    Args:
        members: distributions with the same batch and event shapes, such as `Autoregressive` ones with networks of
            several orders.

    Raises:
        ConfigurationError: there are no members, or their shapes differ.

    Example:
        >>> import pyro.distributions as dist
        >>> coins = Ensemble([dist.Bernoulli(torch.tensor(0.2)), dist.Bernoulli(torch.tensor(0.6))])
        >>> coins.log_prob(torch.tensor(1.0)).exp()
        tensor(0.4000)
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 - as torch has it

    def __init__(self, members: Sequence[TorchDistribution], validate_args: bool | None = None) -> None:
        self.members = tuple(members)
        shapes = [(tuple(member.batch_shape), tuple(member.event_shape)) for member in self.members]
        if len(set(shapes)) != 1:
            raise ConfigurationError(f"an ensemble needs members of the same batch and event shapes, not {shapes}")
        first = self.members[0]
        super().__init__(first.batch_shape, first.event_shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False)
    def support(self) -> constraints.Constraint | None:
        """The support of the first member; the others must have the same."""
        return self.members[0].support

    def _expanded(self, batch_shape: torch.Size) -> dict[str, Any]:
        return {"members": tuple(member.expand(batch_shape) for member in self.members)}

    def log_prob(self, value: Tensor) -> Tensor:
        """Log of the average probability, in nats; see `torch.distributions.Distribution.log_prob`."""
        self._leading(value)
        each = torch.stack([member.log_prob(value) for member in self.members])  # (members, ...)
        return each.logsumexp(0) - math.log(len(self.members))

    @property
    def mean(self) -> Tensor:
        """The average of the members' means."""
        return torch.stack([member.mean for member in self.members]).mean(0)

    @property
    def variance(self) -> Tensor:
        """The average of the members' variances, and the variance of their means."""
        within = torch.stack([member.variance for member in self.members]).mean(0)
        return within + torch.stack([member.mean for member in self.members]).var(0, correction=0)

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008 - an immutable, as torch has it
        """Draw from a member drawn at random for each datum; see `torch.distributions.Distribution.sample`."""
        sample_shape = torch.Size(sample_shape)
        leading = sample_shape + self.batch_shape
        first = self.members[0].sample(sample_shape) if self.batch_shape else self.members[0].sample((1,))
        chosen = torch.randint(len(self.members), leading, device=first.device)
        if self.batch_shape:  # every element of the batch has a distribution of its own: draw from all, and choose
            drawn = first
            for number, member in enumerate(self.members[1:], 1):
                here = (chosen == number).reshape(leading + (1,) * len(self.event_shape))  # (*leading, 1, ..., 1)
                drawn = torch.where(here, member.sample(sample_shape), drawn)
            return drawn
        result = first.new_empty(leading.numel(), *self.event_shape)
        flat = chosen.flatten()  # (N,)
        for number, member in enumerate(self.members):
            places = (flat == number).nonzero().squeeze(-1)
            if len(places):
                result[places] = member.sample((len(places),))
        return result.reshape(leading + self.event_shape)  # (*leading, *event)
