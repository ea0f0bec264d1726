"""Pyro distributions that Pyro lacks, or has with a flaw, one a file."""

from __future__ import annotations

from .autoregressive import Autoregressive
from .autoregressive_by_network import MADE, CausalTransformer, PixelCNN, PixelRNN, WaveNet
from .bayesian_network import BayesianNetwork
from .bayesian_variable import Variable
from .continuous_bernoulli import ContinuousBernoulli
from .discretized_logistic import DiscretizedLogistic
from .ensemble import Ensemble
from .enumerated import Enumerated
from .grid_categorical import GridCategorical
from .unit_grid import UnitGrid

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
