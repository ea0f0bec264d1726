"""The Gaussian encoder with a full covariance."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Independent, register_kl

from ..part import Net, positive
from .encoder import Encoder

__all__ = ["FullRankEncoder"]


class FullRankEncoder(Encoder):
    r"""The Gaussian :math:`q(z \mid x) = \mathcal N(z; \mu(x), L(x) L(x)^\top)` with lower triangular :math:`L`.

    It can follow a posterior whose dimensions depend on each other. Its divergence from a diagonal Gaussian prior has a
    closed form.

    Reference:
        Kingma, Welling (2019), *An Introduction to Variational Autoencoders*, section 2.5.1,
        https://arxiv.org/abs/1906.02691.

    Args:
        net: maps (..., features) to (..., 2 * latent + latent * (latent - 1) / 2), or makes such a network from the number
            of outputs: the mean, the raw diagonal of L, which `positive` maps, and its other elements row by row.
        latent: number of latent dimensions.

    Example:
        >>> from torch import nn
        >>> FullRankEncoder(nn.Linear(5, 9), latent=3)(torch.zeros(7, 5)).covariance_matrix.shape
        torch.Size([7, 3, 3])
    """

    places: Tensor

    def __init__(self, net: Net, latent: int) -> None:
        super().__init__(net, latent, outputs=2 * latent + latent * (latent - 1) // 2)
        # Where each element of L stands among a zero, the diagonal, and the others.
        places = torch.zeros(latent, latent, dtype=torch.long)
        places.diagonal().copy_(1 + torch.arange(latent))
        rows, columns = torch.tril_indices(latent, latent, -1)
        places[rows, columns] = 1 + latent + torch.arange(len(rows))
        self.register_buffer("places", places, persistent=False)

    def head(self, outputs: Tensor) -> dist.TorchDistribution:
        """See `Encoder.head`."""
        loc, raw_diagonal, others = outputs.tensor_split((self.latent, 2 * self.latent), dim=-1)
        elements = torch.cat([torch.zeros_like(loc[..., :1]), positive(raw_diagonal), others], -1)
        return _FullRankNormal(loc, scale_tril=elements[..., self.places])  # (..., latent, latent)


class _FullRankNormal(dist.MultivariateNormal):
    """A type of its own, so that its divergence concerns no other model's."""


@register_kl(_FullRankNormal, Independent)  # type: ignore[no-untyped-call, untyped-decorator]
def _kl_from_diagonal(q: _FullRankNormal, p: Independent[Any]) -> Tensor:
    """The divergence of q from a diagonal Gaussian p, in nats."""
    normal = p.base_dist
    if not isinstance(normal, torch.distributions.Normal) or p.reinterpreted_batch_ndims != 1:
        raise NotImplementedError
    second_moment = q.scale_tril.square().sum(-1) + (q.loc - normal.loc).square()  # (..., latent), around p's mean
    ratio = normal.scale / q.scale_tril.diagonal(dim1=-2, dim2=-1)
    return (ratio.log() + (second_moment / normal.scale.square() - 1) / 2).sum(-1)
