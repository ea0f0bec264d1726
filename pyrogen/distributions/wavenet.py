"""The distribution of sequences whose conditionals a WaveNet gives."""

from __future__ import annotations

from pyrogen.nets.causal import WaveNet as WaveNetNetwork

from .autoregressive import Autoregressive

__all__ = ["WaveNet"]


class WaveNet(Autoregressive):
    """`Autoregressive` with a `pyrogen.nets.causal.WaveNet`.

    Reference:
        van den Oord, Dieleman, Zen, Simonyan, Vinyals, Graves, Kalchbrenner, Senior, Kavukcuoglu (2016), *WaveNet: A
        Generative Model for Raw Audio*, https://arxiv.org/abs/1609.03499.

    Args:
        network: a `pyrogen.nets.causal.WaveNet`.
        family: see `Autoregressive`.
        context: see `Autoregressive`.
        event_shape: see `Autoregressive`.

    Example:
        >>> import torch
        >>> sequences = WaveNet(WaveNetNetwork((16,), features=4, layers=3, context=2), context=torch.zeros(5, 2))
        >>> sequences.batch_shape, sequences.event_shape
        (torch.Size([5]), torch.Size([16]))
    """

    networks = (WaveNetNetwork,)
