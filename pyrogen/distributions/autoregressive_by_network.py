"""`Autoregressive` under the names of its networks, whose docstrings name the papers; the arguments are the same."""

from __future__ import annotations

from pyrogen.nets import causal
from pyrogen.nets.causal.order_agnostic_made import MADEMember

from .autoregressive import Autoregressive

__all__ = ["MADE", "CausalTransformer", "PixelCNN", "PixelRNN", "WaveNet"]


class MADE(Autoregressive):
    """`Autoregressive` with a `pyrogen.nets.causal.MADE`, or a member of an `OrderAgnosticMADE` (for all see `Ensemble`).

    Example:
        >>> import torch
        >>> images = MADE(causal.MADE((8, 8), hidden=(50,), context=3), context=torch.zeros(5, 3))
        >>> images.batch_shape, images.event_shape
        (torch.Size([5]), torch.Size([1, 8, 8]))
    """

    networks = (causal.MADE, MADEMember)


class PixelCNN(Autoregressive):
    """`Autoregressive` with a `GatedPixelCNN` or a `MaskedPixelCNN`.

    Example:
        >>> import torch
        >>> images = PixelCNN(causal.GatedPixelCNN((8, 8), features=4, layers=2, context=3), context=torch.zeros(5, 3))
        >>> images.batch_shape, images.event_shape
        (torch.Size([5]), torch.Size([1, 8, 8]))
    """

    networks = (causal.GatedPixelCNN, causal.MaskedPixelCNN)


class PixelRNN(Autoregressive):
    """`Autoregressive` with a `pyrogen.nets.causal.PixelRNN`.

    Example:
        >>> import torch
        >>> images = PixelRNN(causal.PixelRNN((8, 8), hidden=4, layers=1, context=3), context=torch.zeros(5, 3))
        >>> images.batch_shape, images.event_shape
        (torch.Size([5]), torch.Size([1, 8, 8]))
    """

    networks = (causal.PixelRNN,)


class WaveNet(Autoregressive):
    """`Autoregressive` with a `pyrogen.nets.causal.WaveNet`.

    Example:
        >>> import torch
        >>> sequences = WaveNet(causal.WaveNet((16,), features=4, layers=3, context=2), context=torch.zeros(5, 2))
        >>> sequences.batch_shape, sequences.event_shape
        (torch.Size([5]), torch.Size([16]))
    """

    networks = (causal.WaveNet,)


class CausalTransformer(Autoregressive):
    """`Autoregressive` with a `pyrogen.nets.causal.CausalTransformer`.

    Example:
        >>> import torch
        >>> network = causal.CausalTransformer((4, 4), width=8, layers=1, heads=2, context=3)
        >>> images = CausalTransformer(network, context=torch.zeros(5, 3))
        >>> images.batch_shape, images.event_shape
        (torch.Size([5]), torch.Size([1, 4, 4]))
    """

    networks = (causal.CausalTransformer,)
