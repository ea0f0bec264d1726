"""The variational autoencoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyro
import torch
from torch import Tensor, nn

from pyrogen.errors import ConfigurationError
from pyrogen.nets import Activation, Architecture, make_decoder, make_encoder, positive_size, positive_sizes
from pyrogen.pair import Pair

from .parts import ENCODERS, LIKELIHOODS, PRIORS, BernoulliLikelihood, Likelihood, Part

__all__ = ["VAE"]

# Named axes: particles, data, latent, event.


class VAE(Pair):
    r"""A latent-variable model with networks for the likelihood and for the approximate posterior.

    .. math::
        z_i \sim p(z), \qquad x_i \sim p_\theta(x \mid z_i), \qquad q_\phi(z_i \mid x_i).

    Each of the three is a `Part`: a name of its registry, with options as in ``"mixture:components=5"``; a class of your own
    as ``"my_file.py:MyPrior"``; a class or function that makes it; or the object. All but an object are given what they ask
    for by name: ``latent``, ``shape``, ``net`` (what makes the network), and a prior the ``encoder``.

    Reference:
        Kingma, Welling (2014), *Auto-Encoding Variational Bayes*, https://arxiv.org/abs/1312.6114.

    Args:
        shape: shape of a datum, such as (1, 28, 28) or (784,); data arrive flattened.
        latent: number of latent dimensions.
        hidden: sizes of the dense hidden layers, from the data inwards; the decoder has them the other way round.
        likelihood: a name in `LIKELIHOODS`, or a `Likelihood`.
        architecture: ``"mlp"``, or ``"conv"`` for convolutions between the image and the dense layers.
        channels: with ``"conv"``, the channels of each convolution, from the image inwards.
        activation: a name in `pyrogen.nets.ACTIVATIONS`, or a callable that makes a module.
        prior: a name in `PRIORS`, or a `Part` without context.
        encoder: a name in `ENCODERS`, or a `Part` whose context is the data.

    Example:
        >>> vae = VAE((1, 28, 28), latent=20)
        >>> vae.likelihood(vae.encoder(torch.zeros(7, 784)).sample()).batch_shape
        torch.Size([7])
        >>> VAE((28, 28), prior="mixture:components=5", encoder="full-rank").prior.locs.shape
        torch.Size([5, 20])
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 20,
        hidden: Sequence[int] = (400,),
        likelihood: str | Likelihood | Callable[..., Likelihood] = "bernoulli",
        architecture: Architecture = "mlp",
        channels: Sequence[int] = (32, 64),
        activation: Activation = "relu",
        prior: str | Part | Callable[..., Part] = "standard-normal",
        encoder: str | Part | Callable[..., Part] = "diagonal",
    ) -> None:
        super().__init__()
        self.shape = positive_sizes("shape", shape)
        self.latent = positive_size("latent", latent)
        sizes = {"shape": self.shape, "latent": self.latent}
        layers = (positive_sizes("hidden", hidden), channels, activation)
        # The encoder first, for a prior may be made of it.
        made = ENCODERS.make(encoder, **sizes, net=lambda outputs: make_encoder(architecture, self.shape, outputs, *layers))
        self.prior = PRIORS.make(prior, **sizes, encoder=made)
        self.encoder = made
        self.likelihood = LIKELIHOODS.make(
            likelihood, **sizes, net=lambda outputs: make_decoder(architecture, self.latent, self.shape, outputs, *layers)
        )

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
        """Pictures of latents drawn from the prior, shape (count, event); see `Likelihood.picture`."""
        return self.likelihood.picture(self.prior().expand((count,)).sample())  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> Tensor:
        """Pictures of the encoder's mean latents for data of shape (data, event); the same shape."""
        return self.likelihood.picture(self.encoder(x).mean)

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
