"""Causal networks: they give the parameters of each element of a datum from the elements drawn before it.

One definition of every layer serves two faces: all positions in parallel, for training and scoring, and step by step
with what was computed before kept, for drawing. See `CausalNetwork`.
"""

from __future__ import annotations

from .check import check_causal
from .linear import CausalLinear
from .made import MADE
from .masked_pixelcnn import MaskedPixelCNN
from .nade import NADE
from .network import Advance, CausalNetwork, Emission, Frontier, State
from .order_agnostic import OrderAgnosticMADE
from .orders import Order
from .pixelcnn import GatedPixelCNN
from .pixelrnn import PixelRNN
from .receptive import receptive_field
from .transformer import CausalTransformer
from .wavefront import WavefrontCNN
from .wavenet import WaveNet

__all__ = [
    "MADE",
    "NADE",
    "Advance",
    "CausalLinear",
    "CausalNetwork",
    "CausalTransformer",
    "Emission",
    "Frontier",
    "GatedPixelCNN",
    "MaskedPixelCNN",
    "Order",
    "OrderAgnosticMADE",
    "PixelRNN",
    "State",
    "WaveNet",
    "WavefrontCNN",
    "check_causal",
    "receptive_field",
]
