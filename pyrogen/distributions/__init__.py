"""Pyro distributions that Pyro lacks, or has with a flaw, one a file."""

from __future__ import annotations

from .autoregressive import Autoregressive
from .bayesian_network import BayesianNetwork
from .causal_transformer import CausalTransformer
from .continuous_bernoulli import ContinuousBernoulli
from .discretized_logistic import DiscretizedLogistic
from .ensemble import Ensemble
from .enumerated import Enumerated
from .grid import UnitGrid
from .grid_categorical import GridCategorical
from .made import MADE
from .pixelcnn import PixelCNN
from .pixelrnn import PixelRNN
from .variable import Variable
from .wavenet import WaveNet

__all__ = [
    "MADE",
    "Autoregressive",
    "BayesianNetwork",
    "CausalTransformer",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "Ensemble",
    "Enumerated",
    "GridCategorical",
    "PixelCNN",
    "PixelRNN",
    "UnitGrid",
    "Variable",
    "WaveNet",
]
