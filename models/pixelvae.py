"""The PixelVAE: a VAE whose likelihood is autoregressive.

Named axes: particles, data, latent, event (a datum flattened), features and grid of the context.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pyrogen.nets import Activation, Architecture, make_decoder, positive_size, positive_sizes
from pyrogen.nets.causal import GatedPixelCNN

from .parts import AutoregressiveLikelihood, Part
from .vae import VAE
from .visible import channels_and_grid, make_family

__all__ = ["PixelVAE"]


class PixelVAE(VAE):
    r"""A VAE with a gated PixelCNN for its likelihood: the latent says what, the PixelCNN the details.

    .. math::
        z \sim \mathcal N(0, I), \qquad p(x \mid z) = \prod_i p\big(x_i \mid x_1, \dots, x_{i-1}, f_\theta(z)\big).

    A strong PixelCNN can ignore the latent: the rate :math:`\mathrm{KL}(q(z \mid x) \| p(z))` is then 0. A warm-up of the
    divergence (``pyrogen fit --warmup``), free bits (``--objective elbo:free_bits=0.1``), or few layers keep it in use.

    Reference:
        Gulrajani et al. (2017), *PixelVAE: A Latent Variable Model for Natural Images*, https://arxiv.org/abs/1611.05013;
        Chen et al. (2017), *Variational Lossy Autoencoder*, https://arxiv.org/abs/1611.02731.

    Args:
        shape: (channels, height, width), or (height, width).
        latent: number of latent dimensions.
        hidden: sizes of the dense hidden layers, from the data inwards; the decoder has them the other way round.
        context: features of the map that the PixelCNN sees of the latent.
        features: channels of the PixelCNN's hidden layers.
        layers: number of its layers; the more, the less it needs the latent.
        kernel: side of its kernels, odd; of its first one, too, so that few small layers see but little.
        likelihood: of one position, see `pyrogen.models.autoregressive`.
        architecture: ``"mlp"``, or ``"conv"`` for convolutions between the image and the dense layers.
        channels: with ``"conv"``, the channels of each convolution, from the image inwards.
        activation: a name in `pyrogen.nets.ACTIVATIONS`, or a callable that makes a module.
        prior: as of `VAE`.
        encoder: likewise.

    Example:
        >>> pair = PixelVAE((1, 4, 4), latent=2, hidden=(8,), features=4, layers=2)
        >>> pair.generate(3).shape
        torch.Size([3, 16])
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 20,
        hidden: Sequence[int] = (400,),
        context: int = 8,
        features: int = 32,
        layers: int = 3,
        kernel: int = 3,
        likelihood: str = "bernoulli",
        architecture: Architecture = "mlp",
        channels: Sequence[int] = (32, 64),
        activation: Activation = "relu",
        prior: str | Part | Callable[..., Part] = "standard-normal",
        encoder: str | Part | Callable[..., Part] = "diagonal",
    ) -> None:
        depth, grid = channels_and_grid(shape, image="a PixelVAE")
        hidden, context = positive_sizes("hidden", hidden), positive_size("context", context)
        family = make_family(likelihood, depth)
        causal = GatedPixelCNN(
            grid, family.inputs, family.outputs, features, layers, kernel, kernel, context=context, context_map=True
        )
        decoder = make_decoder(architecture, latent, (context, *grid), 1, hidden, channels, activation)
        likely = AutoregressiveLikelihood(decoder, causal, family)
        super().__init__((depth, *grid), latent, hidden, likely, architecture, channels, activation, prior, encoder)
