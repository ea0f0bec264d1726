"""`Autoregressive` under the names of its networks; the arguments are those of `Autoregressive`."""

from __future__ import annotations

from pyrogen.nets import causal
from pyrogen.nets.causal.order_agnostic_made import MADEMember

from .autoregressive import Autoregressive

__all__ = ["MADE", "CausalTransformer", "PixelCNN", "PixelRNN", "WaveNet"]


class MADE(Autoregressive):
    """`Autoregressive` with a `pyrogen.nets.causal.MADE`, or with a member of an `OrderAgnosticMADE`.

    For the average of all members see `Ensemble`.

    Reference:
        Germain, Gregor, Murray, Larochelle (2015), *MADE: Masked Autoencoder for Distribution Estimation*,
        https://arxiv.org/abs/1502.03509.

    Example:
        >>> import torch
        >>> images = MADE(causal.MADE((8, 8), hidden=(50,), context=3), context=torch.zeros(5, 3))
        >>> images.batch_shape, images.event_shape
        (torch.Size([5]), torch.Size([1, 8, 8]))
    """

    networks = (causal.MADE, MADEMember)


class PixelCNN(Autoregressive):
    """`Autoregressive` with a `GatedPixelCNN` or a `MaskedPixelCNN`.

    Reference:
        van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves, Kavukcuoglu (2016), *Conditional Image Generation with
        PixelCNN Decoders*, https://arxiv.org/abs/1606.05328.

    Example:
        >>> import torch
        >>> images = PixelCNN(causal.GatedPixelCNN((8, 8), features=4, layers=2, context=3), context=torch.zeros(5, 3))
        >>> images.batch_shape, images.event_shape
        (torch.Size([5]), torch.Size([1, 8, 8]))
    """

    networks = (causal.GatedPixelCNN, causal.MaskedPixelCNN)


class PixelRNN(Autoregressive):
    """`Autoregressive` with a `pyrogen.nets.causal.PixelRNN`.

    Reference:
        van den Oord, Kalchbrenner, Kavukcuoglu (2016), *Pixel Recurrent Neural Networks*,
        https://arxiv.org/abs/1601.06759.

    Example:
        >>> import torch
        >>> images = PixelRNN(causal.PixelRNN((8, 8), hidden=4, layers=1, context=3), context=torch.zeros(5, 3))
        >>> images.batch_shape, images.event_shape
        (torch.Size([5]), torch.Size([1, 8, 8]))
    """

    networks = (causal.PixelRNN,)


class WaveNet(Autoregressive):
    """`Autoregressive` with a `pyrogen.nets.causal.WaveNet`.

    Reference:
        van den Oord, Dieleman, Zen, Simonyan, Vinyals, Graves, Kalchbrenner, Senior, Kavukcuoglu (2016), *WaveNet: A
        Generative Model for Raw Audio*, https://arxiv.org/abs/1609.03499.

    Example:
        >>> import torch
        >>> sequences = WaveNet(causal.WaveNet((16,), features=4, layers=3, context=2), context=torch.zeros(5, 2))
        >>> sequences.batch_shape, sequences.event_shape
        (torch.Size([5]), torch.Size([16]))
    """

    networks = (causal.WaveNet,)


class CausalTransformer(Autoregressive):
    """`Autoregressive` with a `pyrogen.nets.causal.CausalTransformer`.

    Reference:
        Vaswani et al. (2017), *Attention Is All You Need*, https://arxiv.org/abs/1706.03762.

    Example:
        >>> import torch
        >>> network = causal.CausalTransformer((4, 4), width=8, layers=1, heads=2, context=3)
        >>> images = CausalTransformer(network, context=torch.zeros(5, 3))
        >>> images.batch_shape, images.event_shape
        (torch.Size([5]), torch.Size([1, 4, 4]))
    """

    networks = (causal.CausalTransformer,)
