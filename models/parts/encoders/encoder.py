"""What an encoder is, and the Gaussian ones: a network, and a head that makes a distribution of what it gives."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Independent, register_kl

from pyrogen.nets import positive_size

from ..part import Net, Part, elementwise, made_net, positive

__all__ = ["Encoder", "FullRankEncoder", "GaussianEncoder"]


class Encoder(Part):
    r"""An approximate posterior :math:`q(z \mid x)` whose parameters a network gives.

    To write one, say in ``super().__init__(net, latent, outputs)`` how many numbers it needs of a datum, and define `head`,
    which makes the distribution of them. The network is then made for it, whatever its architecture.

    Args:
        net: maps (..., features) to (..., outputs), or makes such a network from the number of outputs.
        latent: number of latent dimensions.
        outputs: how many numbers the head takes.

    Example:
        >>> from torch import nn
        >>> class PoissonEncoder(Encoder):
        ...     def __init__(self, net, latent):
        ...         super().__init__(net, latent, outputs=latent)
        ...     def head(self, outputs):
        ...         return dist.Poisson(outputs.exp()).to_event(1)
        >>> PoissonEncoder(lambda outputs: nn.Linear(5, outputs), latent=2)(torch.zeros(3, 5)).event_shape
        torch.Size([2])
    """

    def __init__(self, net: Net, latent: int, outputs: int) -> None:
        super().__init__()
        self.latent = positive_size("latent", latent)
        self.net = made_net(net, outputs)

    @abstractmethod
    def head(self, outputs: Tensor) -> dist.TorchDistribution:
        """The posterior of event shape (latent,) from what the network gives, shape (..., outputs)."""

    def forward(self, x: Tensor, *context: Any) -> dist.TorchDistribution:
        """The posterior of data of shape (..., features): batch shape (...), event shape (latent,)."""
        return self.head(self.net(x))


class GaussianEncoder(Encoder):
    r"""The diagonal Gaussian :math:`q(z \mid x) = \mathcal N(z; \mu(x), \operatorname{diag} \sigma(x)^2)`.

    The network gives :math:`\mu` and then the raw scale, which `positive` maps to :math:`\sigma`.

    Reference:
        Kingma, Welling (2014), *Auto-Encoding Variational Bayes*, https://arxiv.org/abs/1312.6114.

    Args:
        net: maps (..., features) to (..., 2 * latent), or makes such a network from the number of outputs.
        latent: number of latent dimensions.

    Example:
        >>> from torch import nn
        >>> GaussianEncoder(nn.Linear(5, 4), latent=2)(torch.zeros(3, 5)).event_shape
        torch.Size([2])
    """

    def __init__(self, net: Net, latent: int) -> None:
        super().__init__(net, latent, outputs=2 * latent)

    def head(self, outputs: Tensor) -> dist.TorchDistribution:
        """See `Encoder.head`."""
        loc, raw_scale = outputs.chunk(2, dim=-1)  # (..., latent) each
        return elementwise(dist.Normal(loc, positive(raw_scale)))


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
