"""The variational autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Literal

import pyro
import torch
from torch import Tensor, nn

from pyrogen.errors import ConfigurationError
from pyrogen.nets import MLP, Activation, ConvDecoder, ConvEncoder, positive_size, positive_sizes
from pyrogen.pair import Pair

from .likelihoods import BernoulliLikelihood, Likelihood, make_likelihood
from .parts import GaussianEncoder, Part, StandardNormal

__all__ = ["VAE"]

# Named axes: particles, data, latent, event.


class VAE(Pair):
    r"""A latent-variable model with networks for the likelihood and for the approximate posterior.

    .. math::
        z_i \sim p(z), \qquad x_i \sim p_\theta(x \mid z_i), \qquad q_\phi(z_i \mid x_i).

    Each of the three is a `Part`; a name stands for the usual one, an object for one of your own. Networks
    are made only for what a name stands for.

    Reference:
        Kingma, Welling (2014), *Auto-Encoding Variational Bayes*, https://arxiv.org/abs/1312.6114.

    Args:
        shape: shape of a datum, such as (1, 28, 28) or (784,); data arrive flattened.
        latent: number of latent dimensions.
        hidden: sizes of the dense hidden layers, from the data inwards; the decoder has them the other way
            round.
        likelihood: a key of `LIKELIHOODS`, or a `Likelihood`.
        architecture: ``"mlp"``, or ``"conv"`` for convolutions between the image and the dense layers.
        channels: with ``"conv"``, the channels of each convolution, from the image inwards.
        activation: a name in `pyrogen.nets.ACTIVATIONS`, or a callable that makes a module.
        prior: a `Part` without context; the standard normal if left out.
        encoder: a `Part` whose context is the data; a `GaussianEncoder` if left out.

    Raises:
        ConfigurationError: a size or a name cannot be used.

    Example:
        >>> vae = VAE((1, 28, 28), latent=20)
        >>> vae.likelihood(vae.encoder(torch.zeros(7, 784)).sample()).batch_shape
        torch.Size([7])
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 20,
        hidden: Sequence[int] = (400,),
        likelihood: str | Likelihood = "bernoulli",
        architecture: Literal["mlp", "conv"] = "mlp",
        channels: Sequence[int] = (32, 64),
        activation: Activation = "relu",
        prior: Part | None = None,
        encoder: Part | None = None,
    ) -> None:
        super().__init__()
        self.shape = positive_sizes("shape", shape)
        self.latent = positive_size("latent", latent)
        hidden = positive_sizes("hidden", hidden)
        if architecture not in ("mlp", "conv"):
            raise ConfigurationError(f"no architecture '{architecture}': choose 'mlp' or 'conv'")

        def make_encoder_net() -> nn.Module:
            if architecture == "conv":
                return ConvEncoder(self.shape, 2 * self.latent, channels, hidden, activation)
            return MLP(prod(self.shape), hidden, 2 * self.latent, activation)

        def make_decoder_net(outputs: int) -> nn.Module:
            if architecture == "conv":
                return ConvDecoder(self.latent, self.shape, outputs, channels, hidden[::-1], activation)
            return MLP(self.latent, hidden[::-1], outputs * prod(self.shape), activation)

        self.prior = StandardNormal(self.latent) if prior is None else prior
        self.encoder = GaussianEncoder(make_encoder_net(), self.latent) if encoder is None else encoder
        self.likelihood = make_likelihood(likelihood, make_decoder_net) if isinstance(likelihood, str) else likelihood

    def model(self, x: Tensor) -> None:
        """Sites ``z``, of event shape (latent,), and ``x``, observed; `x` has shape (data, event)."""
        with pyro.plate(self.data_plate, len(x), dim=-1):
            z = pyro.sample("z", self.prior())  # (..., data, latent)
            pyro.sample("x", self.likelihood(z), obs=x)

    def guide(self, x: Tensor) -> None:
        """Site ``z``, encoded from `x` of shape (data, event)."""
        with pyro.plate(self.data_plate, len(x), dim=-1):
            pyro.sample("z", self.encoder(x))

    @torch.no_grad()
    def generate(self, count: int) -> Tensor:
        """Mean data of latents drawn from the prior, shape (count, event)."""
        return self.likelihood.mean(self.prior().expand((count,)).sample())

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> Tensor:
        """Mean data of the encoder's mean latents for data of shape (data, event); the same shape."""
        return self.likelihood.mean(self.encoder(x).mean)

    @torch.no_grad()
    def set_output_bias(self, mean: Tensor) -> None:
        """Set the decoder's last bias so that training starts from the mean datum.

        Args:
            mean: the mean of the training data, in [0, 1], shape (event,).

        Raises:
            ConfigurationError: the likelihood isn't a Bernoulli on a perceptron with a bias for each element.
        """
        net = self.likelihood.net
        last = net[-1] if isinstance(net, nn.Sequential) else None
        if not isinstance(self.likelihood, BernoulliLikelihood) or not isinstance(last, nn.Linear):
            raise ConfigurationError(
                "the output bias can be set for a BernoulliLikelihood on an MLP only, not for a "
                f"{type(self.likelihood).__name__} on a {type(net).__name__}"
            )
        # An element that never varies would have an infinite logit.
        last.bias.copy_(torch.logit(mean, eps=1e-3))
