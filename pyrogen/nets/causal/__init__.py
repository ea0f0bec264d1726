"""Causal networks: the parameters of each position of a datum from the values of earlier positions.

Each layer is defined once and used twice: on all positions in parallel, for training and scoring, and step by step with
cached activations, for sampling. See `CausalNetwork`.
"""

from __future__ import annotations

import warnings
from typing import Any

from .diagonal_pixelcnn import DiagonalPixelCNN
from .gated_pixelcnn import GatedPixelCNN
from .jacobian import check_causal, receptive_field
from .linear import CausalLinear
from .made import MADE
from .masked_pixelcnn import MaskedPixelCNN
from .nade import NADE
from .network import Advance, CausalNetwork, Emission, Group, State
from .order_agnostic_made import OrderAgnosticMADE
from .orders import Order
from .pixelrnn import PixelRNN
from .transformer import CausalTransformer
from .wavenet import WaveNet

__all__ = [
    "MADE",
    "NADE",
    "Advance",
    "CausalLinear",
    "CausalNetwork",
    "CausalTransformer",
    "DiagonalPixelCNN",
    "Emission",
    "GatedPixelCNN",
    "Group",
    "MaskedPixelCNN",
    "Order",
    "OrderAgnosticMADE",
    "PixelRNN",
    "State",
    "WaveNet",
    "check_causal",
    "receptive_field",
]

_FORMER_NAMES = {"Frontier": "Group", "WavefrontCNN": "DiagonalPixelCNN"}


def __getattr__(name: str) -> Any:
    if name not in _FORMER_NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(f"`{name}` is now called `{_FORMER_NAMES[name]}`", DeprecationWarning, stacklevel=2)
    return globals()[_FORMER_NAMES[name]]
