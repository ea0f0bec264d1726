"""The distribution of images whose conditionals a PixelRNN gives."""

from __future__ import annotations

from pyrogen.nets.causal import pixelrnn

from .autoregressive import Autoregressive

__all__ = ["PixelRNN"]


class PixelRNN(Autoregressive):
    """`Autoregressive` with the network of a PixelRNN.

    Reference:
        van den Oord, Kalchbrenner, Kavukcuoglu (2016), *Pixel Recurrent Neural Networks*,
        https://arxiv.org/abs/1601.06759.

    Args:
        network: a `pyrogen.nets.causal.PixelRNN`.
        family: see `Autoregressive`.
        context: see `Autoregressive`.
        event_shape: see `Autoregressive`.

    Example:
        >>> import torch
        >>> from pyrogen.nets.causal import PixelRNN as Network
        >>> images = PixelRNN(Network((8, 8), hidden=4, layers=1, context=3), context=torch.zeros(5, 3))
        >>> images.batch_shape, images.event_shape
        (torch.Size([5]), torch.Size([1, 8, 8]))
    """

    networks = (pixelrnn.PixelRNN,)
