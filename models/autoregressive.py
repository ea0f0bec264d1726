"""The fully visible models of the zoo: one causal network each.

Data arrive flattened. A likelihood is named for the conditional of one position:

==================== ========================== =================================================
likelihood           data                       parameters of a position of C channels
==================== ========================== =================================================
bernoulli            0 or 1                     C: a logit for each channel
categorical          the grid 0, 1/255, ..., 1  256 C: a logit for each value of each channel
logistic-mixture     the grid 0, 1/255, ..., 1  10 logistics, whose channels depend on each other
gaussian-mixture     any real number            10 Gaussians
==================== ========================== =================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Literal

from pyrogen.nets import Activation
from pyrogen.nets.causal import MADE, CausalTransformer, GatedPixelCNN, Order, PixelRNN, WaveNet
from pyrogen.registry.names import unknown

from .visible import FullyVisible, network_and_family

__all__ = ["MADEModel", "PixelCNNModel", "PixelRNNModel", "TransformerModel", "WaveNetModel"]


class MADEModel(FullyVisible):
    """A perceptron made causal by masks, the fastest to train: see `pyrogen.nets.causal.MADE`.

    Reference:
        Germain et al. (2015), *MADE: Masked Autoencoder for Distribution Estimation*, https://arxiv.org/abs/1502.03509.

    Args:
        shape: shape of a datum: (channels, height, width), (height, width) or (length,).
        hidden: sizes of the hidden layers; none for a fully visible sigmoid belief network.
        order: in which order positions are drawn: ``"raster"``, row by row; ``"random"``; ``"diagonal"``, all of a
            diagonal at once; ``"coarse-to-fine"``, every other pixel of an ever finer grid at once.
        skip: whether the parameters see the data directly, too.
        activation: a name in `pyrogen.nets.ACTIVATIONS`, or a callable that makes a module.
        likelihood: see `pyrogen.models.autoregressive`.

    Example:
        >>> MADEModel((1, 3, 3), hidden=(20,)).generate(5).shape
        torch.Size([5, 9])
    """

    def __init__(
        self,
        shape: Sequence[int],
        hidden: Sequence[int] = (500,),
        order: Literal["raster", "random", "diagonal", "coarse-to-fine"] = "raster",
        skip: bool = True,
        activation: Activation = "relu",
        likelihood: str = "bernoulli",
    ) -> None:
        if order not in _ORDERS:
            raise unknown("order", order, _ORDERS)

        def made(grid: tuple[int, ...], inputs: int, outputs: int) -> MADE:
            return MADE(grid, inputs, outputs, hidden, _ORDERS[order](grid), skip, activation)

        super().__init__(*network_and_family(made, shape, likelihood))


class PixelCNNModel(FullyVisible):
    """Gated convolutions without a blind spot: see `pyrogen.nets.causal.GatedPixelCNN`.

    Reference:
        van den Oord et al. (2016), *Conditional Image Generation with PixelCNN Decoders*, https://arxiv.org/abs/1606.05328.

    Args:
        shape: (channels, height, width) or (height, width).
        features: channels of the hidden layers.
        layers: number of gated layers.
        kernel: side of the kernels, odd.
        dilations: distances of the kernels' taps, layer by layer; repeated as often as needed.
        dropout: probability that a gate's output is dropped in training.
        likelihood: see `pyrogen.models.autoregressive`.

    Example:
        >>> PixelCNNModel((1, 4, 4), features=4, layers=2).generate(3).shape
        torch.Size([3, 16])
    """

    def __init__(
        self,
        shape: Sequence[int],
        features: int = 64,
        layers: int = 8,
        kernel: int = 3,
        dilations: Sequence[int] = (1,),
        dropout: float = 0.0,
        likelihood: str = "bernoulli",
    ) -> None:
        network = partial(
            GatedPixelCNN, features=features, layers=layers, kernel=kernel, dilations=dilations, dropout=dropout
        )
        super().__init__(*network_and_family(network, shape, likelihood, image="a PixelCNN"))


class PixelRNNModel(FullyVisible):
    """Recurrent layers that remember what is above and beside: see `pyrogen.nets.causal.PixelRNN`.

    Reference:
        van den Oord, Kalchbrenner, Kavukcuoglu (2016), *Pixel Recurrent Neural Networks*, https://arxiv.org/abs/1601.06759.

    Args:
        shape: (channels, height, width) or (height, width).
        recurrence: ``"diagonal"`` (BiLSTM), which sees all pixels before; ``"row"``, which sees a triangle.
        hidden: hidden units of a recurrent layer at a pixel.
        layers: number of recurrent layers.
        dropout: probability that what a layer adds is dropped in training.
        likelihood: see `pyrogen.models.autoregressive`.

    Example:
        >>> PixelRNNModel((1, 3, 3), hidden=4, layers=1).generate(3).shape
        torch.Size([3, 9])
    """

    def __init__(
        self,
        shape: Sequence[int],
        recurrence: Literal["diagonal", "row"] = "diagonal",
        hidden: int = 16,
        layers: int = 3,
        dropout: float = 0.0,
        likelihood: str = "bernoulli",
    ) -> None:
        network = partial(PixelRNN, recurrence=recurrence, hidden=hidden, layers=layers, dropout=dropout)
        super().__init__(*network_and_family(network, shape, likelihood, image="a PixelRNN"))


class WaveNetModel(FullyVisible):
    """Dilated convolutions along a sequence: see `pyrogen.nets.causal.WaveNet`.

    Reference:
        van den Oord et al. (2016), *WaveNet: A Generative Model for Raw Audio*, https://arxiv.org/abs/1609.03499.

    Args:
        shape: (length,), or the shape of an image, read row by row.
        features: channels of the hidden layers.
        layers: number of dilated convolutions.
        kernel: taps of each.
        dilations: distances of the taps, layer by layer; repeated as often as needed.
        dropout: probability that a gate's output is dropped in training.
        likelihood: see `pyrogen.models.autoregressive`.

    Example:
        >>> WaveNetModel((9,), features=4, layers=3).generate(3).shape
        torch.Size([3, 9])
    """

    def __init__(
        self,
        shape: Sequence[int],
        features: int = 64,
        layers: int = 10,
        kernel: int = 2,
        dilations: Sequence[int] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
        dropout: float = 0.0,
        likelihood: str = "bernoulli",
    ) -> None:
        network = partial(WaveNet, features=features, layers=layers, kernel=kernel, dilations=dilations, dropout=dropout)
        super().__init__(*network_and_family(network, shape, likelihood))


class TransformerModel(FullyVisible):
    """Attention to all that was drawn before: see `pyrogen.nets.causal.CausalTransformer`.

    Reference:
        Vaswani et al. (2017), *Attention Is All You Need*, https://arxiv.org/abs/1706.03762.

    Args:
        shape: (length,), or the shape of an image, read row by row.
        width: numbers of a token.
        layers: number of blocks.
        heads: number of heads of the attention; divides `width`.
        dropout: probability with which attended values and hidden units are dropped in training.
        likelihood: see `pyrogen.models.autoregressive`.

    Example:
        >>> TransformerModel((9,), width=8, layers=1, heads=2).generate(3).shape
        torch.Size([3, 9])
    """

    def __init__(
        self,
        shape: Sequence[int],
        width: int = 128,
        layers: int = 4,
        heads: int = 4,
        dropout: float = 0.0,
        likelihood: str = "bernoulli",
    ) -> None:
        network = partial(CausalTransformer, width=width, layers=layers, heads=heads, dropout=dropout)
        super().__init__(*network_and_family(network, shape, likelihood))


_ORDERS: Mapping[str, Callable[[tuple[int, ...]], Order]] = MappingProxyType(
    {
        "raster": Order.raster,
        "random": partial(Order.random, seed=0),
        "diagonal": Order.diagonal,
        "coarse-to-fine": Order.coarse_to_fine,
    }
)
