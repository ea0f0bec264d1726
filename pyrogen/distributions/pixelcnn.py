"""The distribution of images whose conditionals a PixelCNN gives."""

from __future__ import annotations

from pyrogen.nets.causal import GatedPixelCNN, MaskedPixelCNN

from .autoregressive import Autoregressive

__all__ = ["PixelCNN"]


class PixelCNN(Autoregressive):
    """`Autoregressive` with the network of a PixelCNN.

    Reference:
        van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves, Kavukcuoglu (2016), *Conditional Image Generation with
        PixelCNN Decoders*, https://arxiv.org/abs/1606.05328.

    Args:
        network: a `GatedPixelCNN` or a `MaskedPixelCNN`.
        family: see `Autoregressive`.
        context: see `Autoregressive`.
        event_shape: see `Autoregressive`.

    Example:
        >>> import torch
        >>> images = PixelCNN(GatedPixelCNN((8, 8), features=4, layers=2, context=3), context=torch.zeros(5, 3))
        >>> images.batch_shape, images.event_shape
        (torch.Size([5]), torch.Size([1, 8, 8]))
    """

    networks = (GatedPixelCNN, MaskedPixelCNN)
