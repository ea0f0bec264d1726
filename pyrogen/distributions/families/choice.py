"""A choice among several, made from one uniform number by the inverse of the distribution function."""

from __future__ import annotations

from torch import Tensor

__all__ = ["choose"]


def choose(logits: Tensor, noise: Tensor, dim: int) -> Tensor:
    """The index at which the distribution function passes a uniform number.

    Args:
        logits: unnormalized log probabilities along `dim`.
        noise: uniform numbers in [0, 1), of size 1 along `dim`.
        dim: the dimension of the choices.

    Returns:
        indices, of size 1 along `dim`.

    Example:
        >>> import torch
        >>> choose(torch.zeros(4), torch.tensor([0.6]), dim=0)
        tensor([2])
    """
    reached = logits.softmax(dim).cumsum(dim)
    last = logits.shape[dim] - 1
    # The sum may differ from 1 by rounding: the noise is scaled with it, or a last choice could be drawn too often.
    return (reached <= noise * reached.narrow(dim, last, 1)).sum(dim, keepdim=True).clamp(max=last)
