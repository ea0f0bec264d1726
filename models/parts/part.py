r"""What a part of a model is: a module that maps a context to a Pyro distribution.

A prior without a context, an encoder :math:`q(z \mid x)`, a likelihood :math:`p(x \mid z)`: each can be replaced by another.

Named axes: ``...`` any leading dimensions, ``latent``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeAlias

import pyro.distributions as dist
from torch import Tensor, nn

from pyrogen.registry.rebuilding import Rebuildable

__all__ = ["SCALE_FLOOR", "Net", "Part", "elementwise", "made_net", "positive"]

SCALE_FLOOR = 1e-4
"""Least scale that `positive` gives."""

Net: TypeAlias = nn.Module | Callable[[int], nn.Module]
"""A network, or what makes one from a number of outputs."""


class Part(Rebuildable, nn.Module, ABC):
    """A module whose call returns a Pyro distribution.

    To write one, subclass, make the networks in ``__init__``, and define ``forward(*context)``. It must

    - return a distribution whose event is one datum: independent elements are declared with ``.to_event``;
    - keep every leading dimension of its context, of which there may be any number, as batch dimensions;
    - make tensors from its context or its own parameters and buffers (``x.new_zeros``), never on the default device.

    A model that makes a part by its name gives it those of the model's arguments that the part's constructor names; all
    others are options of the part's own, as in ``"mixture:components=5"``. A size that cannot be used is refused with a
    `ConfigurationError`.

    Example:
        >>> import torch
        >>> class Shifted(Part):
        ...     def forward(self, context):
        ...         return dist.Normal(context, 1.0).to_event(1)
        >>> Shifted()(torch.zeros(5, 7, 2)).batch_shape
        torch.Size([5, 7])
    """

    __call__: Callable[..., dist.TorchDistribution]

    @abstractmethod
    def forward(self, *context: Any) -> dist.TorchDistribution:
        """The distribution given the context, such as data (..., features) or latents (..., latent)."""

    def share(self, **others: nn.Module) -> None:
        """Use modules that belong to another part, as attributes of the given names.

        They are no submodules of this one, so that a pair that holds both parts has them in its ``state_dict`` once.

        Example:
            >>> class Aggregate(Part):
            ...     def __init__(self, encoder):
            ...         super().__init__()
            ...         self.share(encoder=encoder)
            ...     def forward(self, *context):
            ...         return self.encoder(*context)
            >>> list(Aggregate(nn.Linear(2, 3)).parameters())
            []
        """
        self.__dict__.update(others)


def made_net(net: Net, outputs: int) -> nn.Module:
    """The network itself, or the one that is made for so many outputs."""
    return net if isinstance(net, nn.Module) else net(outputs)


def elementwise(elements: Any) -> dist.TorchDistribution:
    """Independent elements as one event: the last batch dimension becomes that of the event.

    Example:
        >>> import torch
        >>> elementwise(dist.Normal(torch.zeros(3, 2), 1.0)).event_shape
        torch.Size([2])
    """
    event: dist.TorchDistribution = elements.to_event(1)  # typed here, for Pyro leaves it untyped
    return event


def positive(raw: Tensor) -> Tensor:
    r"""A positive scale from an unconstrained number, :math:`\log(1 + e^r) + 10^{-4}`.

    Unlike an exponential, it grows linearly: no step of an optimizer multiplies a scale by thousands, and the derivative of
    the log scale stays within (0, 1]. The floor, `SCALE_FLOOR`, keeps the density of an element that is predicted exactly
    finite, such as a pixel that is always black.

    Example:
        >>> import torch
        >>> positive(torch.tensor([-1e9, 0.0, 1e9]))
        tensor([1.0000e-04, 6.9325e-01, 1.0000e+09])
    """
    return nn.functional.softplus(raw) + SCALE_FLOOR
