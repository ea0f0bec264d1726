"""The distribution of sequences and images whose conditionals a causal transformer gives."""

from __future__ import annotations

from pyrogen.nets.causal import CausalTransformer as CausalTransformerNetwork

from .autoregressive import Autoregressive

__all__ = ["CausalTransformer"]


class CausalTransformer(Autoregressive):
    """`Autoregressive` with a `pyrogen.nets.causal.CausalTransformer`.

    Reference:
        Vaswani et al. (2017), *Attention Is All You Need*, https://arxiv.org/abs/1706.03762.

    Args:
        network: a `pyrogen.nets.causal.CausalTransformer`.
        family: see `Autoregressive`.
        context: see `Autoregressive`.
        event_shape: see `Autoregressive`.

    Example:
        >>> import torch
        >>> network = CausalTransformerNetwork((4, 4), width=8, layers=1, heads=2, context=3)
        >>> images = CausalTransformer(network, context=torch.zeros(5, 3))
        >>> images.batch_shape, images.event_shape
        (torch.Size([5]), torch.Size([1, 4, 4]))
    """

    networks = (CausalTransformerNetwork,)
