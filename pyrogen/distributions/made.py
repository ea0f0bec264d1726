"""The distribution of data whose conditionals a MADE gives."""

from __future__ import annotations

from pyrogen.nets.causal import made, order_agnostic_made

from .autoregressive import Autoregressive

__all__ = ["MADE"]


class MADE(Autoregressive):
    """`Autoregressive` with the network of a MADE.

    Reference:
        Germain, Gregor, Murray, Larochelle (2015), *MADE: Masked Autoencoder for Distribution Estimation*,
        https://arxiv.org/abs/1502.03509.

    Args:
        network: a `pyrogen.nets.causal.MADE`, or a member of an `OrderAgnosticMADE`; for the average of all members see
            `Ensemble`.
        family: see `Autoregressive`.
        context: see `Autoregressive`.
        event_shape: see `Autoregressive`.

    Example:
        >>> import torch
        >>> from pyrogen.nets.causal import MADE as Network
        >>> images = MADE(Network((8, 8), hidden=(50,), context=3), context=torch.zeros(5, 3))
        >>> images.batch_shape, images.event_shape
        (torch.Size([5]), torch.Size([1, 8, 8]))
    """

    networks = (made.MADE, order_agnostic_made.MADEMember)
