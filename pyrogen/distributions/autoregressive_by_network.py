"""`Autoregressive` under the names of its networks, whose docstrings name the papers; the arguments are the same.

Example:
    >>> import torch
    >>> images = MADE(causal.MADE((8, 8), hidden=(50,), context=3), context=torch.zeros(5, 3))
    >>> images.batch_shape, images.event_shape
    (torch.Size([5]), torch.Size([1, 8, 8]))
    >>> PixelCNN(causal.GatedPixelCNN((8, 8), features=4, layers=2, context=3), context=torch.zeros(5, 3)).event_shape
    torch.Size([1, 8, 8])
    >>> PixelRNN(causal.PixelRNN((8, 8), hidden=4, layers=1, context=3), context=torch.zeros(5, 3)).event_shape
    torch.Size([1, 8, 8])
    >>> WaveNet(causal.WaveNet((16,), features=4, layers=3, context=2), context=torch.zeros(5, 2)).event_shape
    torch.Size([16])
    >>> CausalTransformer(causal.CausalTransformer((4, 4), heads=2, context=3), context=torch.zeros(5, 3)).event_shape
    torch.Size([1, 4, 4])
"""

from __future__ import annotations

from pyrogen.nets import causal
from pyrogen.nets.causal.order_agnostic_made import MADEMember

from .autoregressive import Autoregressive

__all__ = ["MADE", "CausalTransformer", "PixelCNN", "PixelRNN", "WaveNet"]


class MADE(Autoregressive):
    """`Autoregressive` with a `pyrogen.nets.causal.MADE`, or a member of an `OrderAgnosticMADE` (for all see `Ensemble`)."""

    networks = (causal.MADE, MADEMember)


class PixelCNN(Autoregressive):
    """`Autoregressive` with a `GatedPixelCNN` or a `MaskedPixelCNN`."""

    networks = (causal.GatedPixelCNN, causal.MaskedPixelCNN)


class PixelRNN(Autoregressive):
    """`Autoregressive` with a `pyrogen.nets.causal.PixelRNN`."""

    networks = (causal.PixelRNN,)


class WaveNet(Autoregressive):
    """`Autoregressive` with a `pyrogen.nets.causal.WaveNet`."""

    networks = (causal.WaveNet,)


class CausalTransformer(Autoregressive):
    """`Autoregressive` with a `pyrogen.nets.causal.CausalTransformer`."""

    networks = (causal.CausalTransformer,)
