"""The linear Gaussian model: evidence, posterior and ELBO in closed form, for continuous latents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from math import prod
from typing import Literal

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrogen.errors import ConfigurationError
from pyrogen.nets import positive_size, positive_sizes
from pyrogen.pair import Pair

from .parts import StandardNormal, elementwise

__all__ = ["LinearGaussianVAE"]

# Named axes: particles, data, latent, event.


class LinearGaussianVAE(Pair):
    r"""Factor analysis: a VAE whose decoder and encoder are linear, so that everything about it is known.

    .. math::
        z \sim \mathcal N(0, I), \qquad x \sim \mathcal N(W z + b, \Psi), \qquad
        q(z \mid x) = \mathcal N(A x + c, T T^\top)

    with diagonal :math:`\Psi`, and :math:`T` diagonal or lower triangular. The evidence is
    :math:`\mathcal N(x; b, W W^\top + \Psi)`, the posterior has precision :math:`I + W^\top \Psi^{-1} W`.

    Reference:
        Dai, Wang, Aston, Hua, Wipf (2018), *Connections with Robust PCA and the Role of Emergent Sparsity in
        Variational Autoencoder Models*, https://www.jmlr.org/papers/v19/17-704.html.

    Args:
        shape: shape of a datum; data arrive flattened.
        latent: number of latent dimensions.
        noise: initial standard deviation of the noise, in units of the data.
        guide: ``"diagonal"``, the mean-field guide, or ``"full"``, which can be the exact posterior.

    Example:
        >>> pair = LinearGaussianVAE((5,), latent=2, guide="full")
        >>> pair.set_exact_guide()
        >>> x = torch.zeros(3, 5)
        >>> bool(torch.allclose(pair.elbo(x), pair.log_evidence(x), atol=1e-5))
        True
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 2,
        noise: float = 0.5,
        guide: Literal["diagonal", "full"] = "diagonal",
    ) -> None:
        super().__init__()
        event = prod(positive_sizes("shape", shape))
        latent = positive_size("latent", latent)
        if not 0 < noise < math.inf:
            raise ConfigurationError(f"noise must be a positive number, not {noise!r}")
        if guide not in ("diagonal", "full"):
            raise ConfigurationError(f"no guide '{guide}': choose 'diagonal' or 'full'")
        self.prior = StandardNormal(latent)
        self.weight = nn.Parameter(torch.randn(event, latent) / math.sqrt(latent))  # W
        self.bias = nn.Parameter(torch.zeros(event))  # b
        self.log_noise = nn.Parameter(torch.full((event,), math.log(noise)))
        self.encoder = nn.Linear(event, latent)  # A, c
        self.log_scale = nn.Parameter(torch.zeros(latent))  # the diagonal of T
        self.lower = nn.Parameter(torch.zeros(latent, latent)) if guide == "full" else None

    def model(self, x: Tensor) -> None:
        """Sites ``z``, of event shape (latent,), and ``x``, observed; `x` has shape (data, event)."""
        with pyro.plate(self.data_plate, len(x), dim=-1):
            z = pyro.sample("z", self.prior())  # (..., data, latent)
            loc = z @ self.weight.mT + self.bias  # (..., data, event)
            pyro.sample("x", elementwise(dist.Normal(loc, self.log_noise.exp())), obs=x)

    def guide(self, x: Tensor) -> None:
        """Site ``z``."""
        loc = self.encoder(x)  # (data, latent)
        with pyro.plate(self.data_plate, len(x), dim=-1):
            if self.lower is None:
                pyro.sample("z", elementwise(dist.Normal(loc, self.log_scale.exp())))
            else:
                pyro.sample("z", dist.MultivariateNormal(loc, scale_tril=self._scale_tril()))

    def log_evidence(self, x: Tensor) -> Tensor:
        """Exact log p(x) of data (data, event), in nats, shape (data,)."""
        evidence = dist.LowRankMultivariateNormal(self.bias, self.weight, (2 * self.log_noise).exp())
        return evidence.log_prob(x)  # type: ignore[no-any-return, no-untyped-call]

    def posterior(self, x: Tensor) -> dist.MultivariateNormal:
        """The exact posterior of ``z`` given data (data, event): batch shape (data,), event shape (latent,)."""
        precision, gain = self._posterior_terms()
        return dist.MultivariateNormal((x - self.bias) @ gain.mT, precision_matrix=precision)

    def elbo(self, x: Tensor) -> Tensor:
        r"""The exact ELBO of the guide as it is for data (data, event), in nats, shape (data,); differentiable.

        With :math:`m = A x + c` and :math:`S = T T^\top`,

        .. math::
            \log \mathcal N(x; W m + b, \Psi) - \tfrac12 \operatorname{tr}(\Psi^{-1} W S W^\top)
            - \tfrac12 \big(\operatorname{tr} S + |m|^2 - \log\det S - \text{latent}\big).
        """
        loc, scale_tril = self.encoder(x), self._scale_tril()  # (data, latent), (latent, latent)
        expected_x = loc @ self.weight.mT + self.bias  # (data, event)
        reconstruction = elementwise(dist.Normal(expected_x, self.log_noise.exp())).log_prob(x)
        spread = ((self.weight @ scale_tril).square().sum(-1) / (2 * self.log_noise).exp()).sum()
        kl = (scale_tril.square().sum() + loc.square().sum(-1) - 2 * self.log_scale.sum() - loc.shape[-1]) / 2
        return reconstruction - spread / 2 - kl  # type: ignore[no-any-return]

    @torch.no_grad()
    def set_exact_guide(self, offset: float = 0.0, scale: float = 1.0) -> None:
        """Set the guide to the exact posterior, or to one that is off by a known amount.

        A diagonal guide is set to the best one there is, of the posterior's mean and the inverse of its precision's
        diagonal; it is exact where that precision is diagonal.

        Args:
            offset: distance of each mean from the right one, in the guide's right standard deviations.
            scale: factor of the standard deviations.
        """
        precision, gain = self._posterior_terms()
        if self.lower is None:
            right = precision.diagonal().rsqrt()  # (latent,)
            self.log_scale.copy_((scale * right).log())
        else:
            posterior = dist.MultivariateNormal(self.prior.loc, precision_matrix=precision)
            right = posterior.stddev  # (latent,)
            self.log_scale.copy_((scale * posterior.scale_tril.diagonal()).log())
            self.lower.copy_(scale * posterior.scale_tril.tril(-1))
        self.encoder.weight.copy_(gain)
        self.encoder.bias.copy_(offset * right - gain @ self.bias)

    def _scale_tril(self) -> Tensor:
        """T, shape (latent, latent)."""
        diagonal = self.log_scale.exp().diag_embed()
        return diagonal if self.lower is None else diagonal + self.lower.tril(-1)

    def _posterior_terms(self) -> tuple[Tensor, Tensor]:
        """The posterior's precision (latent, latent), and what maps ``x - b`` to its mean (latent, event)."""
        scaled = self.weight.mT / (2 * self.log_noise).exp()  # (latent, event)
        precision = scaled @ self.weight + self.prior.scale.diag_embed()  # (latent, latent)
        return precision, torch.linalg.solve(precision, scaled)
