"""What fully visible models share: a causal network, an empty guide, and an evidence that is exact.

Named axes: data, event (a datum flattened), channels, grid (height, width) or (length,).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from types import MappingProxyType
from typing import Any

import pyro
import torch
from torch import Tensor

from pyrogen.distributions import Autoregressive
from pyrogen.distributions.families import Bernoulli, Categorical, DiscretizedLogisticMixture, Family, GaussianMixture
from pyrogen.errors import ConfigurationError
from pyrogen.nets import positive_sizes
from pyrogen.nets.causal import CausalNetwork
from pyrogen.pair import Pair
from pyrogen.registry.names import unknown

__all__ = ["FullyVisible", "channels_and_grid", "make_family", "network_and_family"]

_ROWS = 256
"""Data scored at once where no gradient is wanted, so that memory does not grow with them."""


class FullyVisible(Pair):
    r"""A model without latents: the product of the conditionals that a causal network gives.

    .. math::
        p(x) = \prod_i p\big(x_i \mid x_1, \dots, x_{i-1}\big).

    Its guide is empty, so that the ELBO is the evidence itself, and training by it is maximum likelihood.

    Args:
        network: a causal network; it holds the order.
        family: how a value is distributed given the network's outputs; `Bernoulli` if left out and if the network
            gives one output for each input.

    Raises:
        ConfigurationError: the network and the family don't fit one another.

    Example:
        >>> from pyrogen.nets.causal import CausalLinear
        >>> pair = FullyVisible(CausalLinear((3, 3)))
        >>> pair.log_evidence(torch.ones(5, 9)).shape, pair.generate(7).shape
        (torch.Size([5]), torch.Size([7, 9]))
    """

    def __init__(self, network: CausalNetwork, family: Family | None = None) -> None:
        super().__init__()
        self.network = network
        made = Autoregressive(network, family)
        self.family = made.family
        self.event = prod(made.event_shape)

    def distribution(self) -> Autoregressive:
        """The distribution of a datum, with event shape (event,) and no batch shape."""
        return Autoregressive(self.network, self.family, event_shape=(self.event,))

    def model(self, x: Tensor) -> None:
        """Site ``x``, observed; `x` has shape (data, event)."""
        with pyro.plate(self.data_plate, len(x), dim=-1):
            pyro.sample("x", self.distribution(), obs=x)

    def guide(self, x: Tensor) -> None:
        """No site, for there is no latent."""

    def log_evidence(self, x: Tensor) -> Tensor:
        """Exact log p(x) of data of shape (data, event), in nats, shape (data,)."""
        if torch.is_grad_enabled():
            return self.distribution().log_prob(x)
        parts = (x[start : start + _ROWS] for start in range(0, max(len(x), 1), _ROWS))
        return torch.cat([self.distribution().log_prob(part) for part in parts])

    def elbo(self, x: Tensor) -> Tensor:
        """The same as `log_evidence`: an empty guide loses nothing."""
        return self.log_evidence(x)

    def generate(self, count: int, **options: Any) -> Tensor:
        """Draws, shape (count, event); for the options see `Autoregressive.sample`."""
        return self.distribution().sample((count,), **options)

    def complete(self, x: Tensor, mask: Tensor, **options: Any) -> Tensor:
        """Data (..., event) with their unknown elements drawn; for mask and options see `Autoregressive.complete`."""
        return self.distribution().complete(x, mask, **options)


def channels_and_grid(shape: Sequence[int], *, image: str = "") -> tuple[int, tuple[int, ...]]:
    """The channels of a position and the grid of positions, from the shape of a datum.

    Args:
        shape: (channels, height, width), (height, width) or (length,).
        image: the model that needs an image, as the error names it, if one does.

    Raises:
        ConfigurationError: the shape is none of these, or no image where one is needed.

    Example:
        >>> channels_and_grid((3, 32, 32)), channels_and_grid((784,))
        ((3, (32, 32)), (1, (784,)))
    """
    sizes = positive_sizes("shape", shape)
    if not 1 <= len(sizes) <= 3:
        raise ConfigurationError(f"shape must be (channels, height, width), (height, width) or (length,), not {sizes}")
    if image and len(sizes) == 1:
        raise ConfigurationError(
            f"{image} needs the shape (channels, height, width) of an image, not {sizes}: for sequences and vectors take "
            "made, wavenet or transformer"
        )
    return (sizes[0], sizes[1:]) if len(sizes) == 3 else (1, sizes)


def network_and_family(
    make: Callable[[tuple[int, ...], int, int], CausalNetwork], shape: Sequence[int], likelihood: str, *, image: str = ""
) -> tuple[CausalNetwork, Family]:
    """A network, made from (grid, inputs, outputs), and its family; see `channels_and_grid` and `make_family`."""
    channels, grid = channels_and_grid(shape, image=image)
    family = make_family(likelihood, channels)
    return make(grid, family.inputs, family.outputs), family


def make_family(name: str, channels: int) -> Family:
    """A family of conditionals by its name in the table of `pyrogen.models.autoregressive`.

    Raises:
        ConfigurationError: no family has that name.

    Example:
        >>> make_family("categorical", channels=3).outputs
        768
    """
    if name not in _FAMILIES:
        raise unknown("likelihood of one position", name, _FAMILIES)
    return _FAMILIES[name](channels)


_FAMILIES: Mapping[str, Callable[[int], Family]] = MappingProxyType(
    {
        "bernoulli": lambda channels: Bernoulli(channels),
        "categorical": lambda channels: Categorical(256, channels),
        "logistic-mixture": lambda channels: DiscretizedLogisticMixture(channels=channels),
        "gaussian-mixture": lambda channels: GaussianMixture(channels=channels),
    }
)
