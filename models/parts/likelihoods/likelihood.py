"""What a likelihood is."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..part import Net, Part, made_net

__all__ = ["Likelihood"]


class Likelihood(Part):
    """A part that maps a latent, and what else is known, to the distribution of a datum.

    To write one, say in ``super().__init__(net, outputs)`` how many numbers it needs for each element of a datum, and
    define ``forward``, which calls the network `net`; see `Part`. Its event is (event,).

    Args:
        net: maps (..., latent) to (..., outputs * event), or makes such a network from `outputs`.
        outputs: how many numbers an element takes.
    """

    def __init__(self, net: Net, outputs: int) -> None:
        super().__init__()
        self.net = made_net(net, outputs)

    def mean(self, z: Tensor, *context: Any) -> Tensor:
        """The mean datum given a latent, shape (..., event), in units of the data."""
        return self(z, *context).mean

    def picture(self, z: Tensor, *context: Any) -> Tensor:
        """What to show of a latent: the mean datum; of a likelihood that has none in closed form, a draw."""
        return self.mean(z, *context)
