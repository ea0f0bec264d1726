"""Plain torch networks: encoders and decoders. They know no Pyro.

Every network maps ``(..., features in)`` to ``(..., features out)`` and keeps the leading dimensions, of
which there may be any number: a batch of data has one, a batch for several particles two.
"""

from __future__ import annotations

from .architectures import Architecture, ConvDecoder, ConvEncoder, make_decoder, make_encoder
from .mlp import ACTIVATIONS, MLP, Activation, make_activation
from .sizes import image_shape, positive_size, positive_sizes

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "Activation",
    "Architecture",
    "ConvDecoder",
    "ConvEncoder",
    "image_shape",
    "make_activation",
    "make_decoder",
    "make_encoder",
    "positive_size",
    "positive_sizes",
]
