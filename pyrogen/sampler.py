"""What draws data but has no density of its own: a generator, a Markov chain."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

__all__ = ["Sampler"]


@runtime_checkable
class Sampler(Protocol):
    """What draws data.

    To write one, subclass `Pair` and define `draw` in place of `model`. It is a Pyro program: each of its random numbers is
    a sample site in the data plate, so that they can be replayed and inferred. It is saved, checked and sampled from as any
    pair is, and trained by an objective that compares draws with data (its own `Objective.loss`); what needs log p(x)
    refuses it. With an observation part, `pyrogen.models.Observed`, it becomes a pair with a density.

    Example:
        >>> import pyro, torch
        >>> import pyro.distributions as dist
        >>> from pyrogen import Pair
        >>> class Generator(Pair):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.net = torch.nn.Linear(2, 5)
        ...     def draw(self, count):
        ...         with pyro.plate(self.data_plate, count, dim=-1):
        ...             z = pyro.sample("z", dist.Normal(self.net.weight.new_zeros(2), 1.0).to_event(1))
        ...         return self.net(z)
        >>> generator = Generator()
        >>> generator.has_density, generator.draw(3).shape
        (False, torch.Size([3, 5]))
    """

    def draw(self, count: int) -> Any:
        """Data, shape (count, event); under particles, (particles, count, event)."""
