"""Pyro distributions that Pyro lacks, or has with a flaw, one a file."""

from __future__ import annotations

from .continuous_bernoulli import ContinuousBernoulli
from .discretized_logistic import DiscretizedLogistic
from .enumerated import Enumerated
from .grid import UnitGrid
from .grid_categorical import GridCategorical

__all__ = ["ContinuousBernoulli", "DiscretizedLogistic", "Enumerated", "GridCategorical", "UnitGrid"]
