"""What runs as a pair: the two programs, their data plate and their parameters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

from torch import nn

__all__ = ["Program"]


class Program(Protocol):
    """A model and a guide of the same signature that a run needs to know; `pyrogen.Pair` is one."""

    data_plate: str
    """Name of the plate that holds the data."""
    differentiates: bool
    """Whether the programs differentiate within themselves."""

    @property
    def has_density(self) -> bool:
        """Whether there is a density of the data; see `pyrogen.sampler.Sampler`."""

    def model(self, *args: Any, **kwargs: Any) -> Any:
        """The generative program ``p(x, z)``."""

    def guide(self, *args: Any, **kwargs: Any) -> Any:
        """The variational program ``q(z | x)``."""

    def scope(self) -> AbstractContextManager[None]:
        """Make ``pyro.param`` statements inside see the parameters of these programs."""

    def modules(self) -> Iterator[nn.Module]:
        """Itself and all modules below it, as `torch.nn.Module.modules`."""

    def eval(self) -> Any:
        """Put all modules into evaluation mode, as `torch.nn.Module.eval`."""

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """All parameters, as `torch.nn.Module.parameters`."""
