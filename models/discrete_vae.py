"""A VAE with few discrete latents: evidence, posterior and ELBO by enumeration."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrogen.distributions import Enumerated
from pyrogen.errors import ConfigurationError
from pyrogen.nets import MLP, Activation, positive_size, positive_sizes
from pyrogen.pair import Pair

from .parts import BernoulliLikelihood, elementwise

__all__ = ["DiscreteVAE"]

# Named axes: particles, data, latent, categories, event, states (all values of the latent vector).

MAX_STATES = 2**14


class DiscreteVAE(Pair):
    r"""Binary or categorical latents, so few that all of their values can be listed.

    .. math::
        z_m \sim \operatorname{Categorical}(\pi_m), \qquad x \sim \operatorname{Bernoulli}(f_\theta(z)),
        \qquad q(z \mid x) = \prod_m q_\phi(z_m \mid x).

    The exact ELBO has a gradient, against which its estimators are tested. Latents are Bernoulli, 0.0 or 1.0, for two
    categories, else Categorical, 0, 1, ....

    Reference:
        Mnih, Gregor (2014), *Neural Variational Inference and Learning in Belief Networks*, https://arxiv.org/abs/1402.0030.

    Args:
        shape: shape of a datum, with elements in {0, 1}; data arrive flattened.
        latent: number of latent variables.
        categories: number of values of each.
        hidden: sizes of the hidden layers of the guide's network, from the data inwards; the decoder has them the other
            way round. Empty for linear maps, which make a sigmoid belief network.
        activation: a name in `pyrogen.nets.ACTIVATIONS`, or a callable that makes a module.

    Raises:
        ConfigurationError: a size or a name cannot be used, or there are more than 16384 states.

    Example:
        >>> pair = DiscreteVAE((9,), latent=3)
        >>> x = torch.ones(5, 9)
        >>> bool((pair.elbo(x) <= pair.log_evidence(x)).all())
        True
    """

    states: Tensor
    """All values of the latent vector, shape (states, latent)."""
    values: Tensor
    """The values of one latent, shape (categories,)."""

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 4,
        categories: int = 2,
        hidden: Sequence[int] = (32,),
        activation: Activation = "tanh",
    ) -> None:
        super().__init__()
        event = prod(positive_sizes("shape", shape))
        self.latent = positive_size("latent", latent)
        self.categories = positive_size("categories", categories, least=2)
        if self.categories**self.latent > MAX_STATES:
            raise ConfigurationError(
                f"{self.latent} latents of {self.categories} categories have {self.categories**self.latent} states, "
                f"more than the {MAX_STATES} that are enumerated: take fewer"
            )
        hidden = positive_sizes("hidden", hidden)
        self.binary = self.categories == 2
        width = self.latent * (1 if self.binary else self.categories)
        self.prior_logits = nn.Parameter(torch.zeros(width))
        self.encoder = MLP(event, hidden, width, activation)
        self.likelihood = BernoulliLikelihood(MLP(width, hidden[::-1], event, activation))
        values = torch.arange(self.categories)
        states = torch.cartesian_prod(*[values] * self.latent).reshape(-1, self.latent)  # (states, latent)
        self.register_buffer("states", states.to(self.prior_logits.dtype) if self.binary else states)
        self.register_buffer("values", values)

    def model(self, x: Tensor) -> None:
        """Sites ``z``, of event shape (latent,), and ``x``, observed; `x` has shape (data, event)."""
        with pyro.plate(self.data_plate, len(x), dim=-1):
            z = pyro.sample("z", self._latents(self.prior_logits))  # (..., data, latent)
            pyro.sample("x", self.likelihood(self._code(z)), obs=x)

    def guide(self, x: Tensor) -> None:
        """Site ``z``."""
        with pyro.plate(self.data_plate, len(x), dim=-1):
            pyro.sample("z", self._latents(self.encoder(x)))

    def log_evidence(self, x: Tensor) -> Tensor:
        """Exact log p(x) of data (data, event), in nats, shape (data,), a sum over all states."""
        return self._log_joint(x).logsumexp(-1)

    def posterior(self, x: Tensor) -> Enumerated:
        """The exact posterior of ``z`` given data (data, event): batch shape (data,), event shape (latent,)."""
        return Enumerated(self.states, self._log_joint(x))

    def elbo(self, x: Tensor) -> Tensor:
        """The exact ELBO of the guide as it is, in nats, shape (data,), a sum over all states; differentiable."""
        log_guide = self._latents(self.encoder(x).unsqueeze(-2)).log_prob(self.states)  # (data, states)
        return (log_guide.exp() * (self._log_joint(x) - log_guide)).sum(-1)

    def _log_joint(self, x: Tensor) -> Tensor:
        """Joint log p(x, z) of every state, shape (data, states)."""
        log_prior = self._latents(self.prior_logits).log_prob(self.states)  # (states,)
        # As a product of matrices: no tensor of shape (data, states, event).
        logits = self.likelihood.net(self._code(self.states))  # (states, event)
        log_likelihood = x @ logits.mT - nn.functional.softplus(logits).sum(-1)  # (data, states)
        return log_prior + log_likelihood  # type: ignore[no-any-return]

    def _latents(self, logits: Tensor) -> dist.TorchDistribution:
        """The distribution of the latent vector from logits of shape (..., latent or latent * categories)."""
        if self.binary:
            return elementwise(dist.Bernoulli(logits=logits))
        logits = logits.reshape(*logits.shape[:-1], self.latent, -1)  # (..., latent, categories)
        return elementwise(dist.Categorical(logits=logits))

    def _code(self, z: Tensor) -> Tensor:
        """The decoder's input: z itself where it is binary, else one indicator for each category."""
        if self.binary:
            return z
        indicators = torch.eq(z.unsqueeze(-1), self.values).to(self.prior_logits)  # (..., latent, categories)
        return indicators.flatten(-2)  # (..., latent * categories)
