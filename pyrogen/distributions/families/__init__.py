"""Families of conditional distributions of a position, for `pyrogen.distributions.Autoregressive`."""

from __future__ import annotations

from .bernoulli import Bernoulli
from .categorical import Categorical
from .conditional import Family, choose
from .mixture_gaussian import GaussianMixture
from .mixture_logistic import DiscretizedLogisticMixture

__all__ = ["Bernoulli", "Categorical", "DiscretizedLogisticMixture", "Family", "GaussianMixture", "choose"]
