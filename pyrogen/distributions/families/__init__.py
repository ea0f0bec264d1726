"""Families of distributions of one position, for `pyrogen.distributions.Autoregressive`."""

from __future__ import annotations

from .bernoulli import Bernoulli
from .categorical import Categorical
from .choice import choose
from .family import Family
from .gaussian_mixture import GaussianMixture
from .logistic_mixture import DiscretizedLogisticMixture

__all__ = ["Bernoulli", "Categorical", "DiscretizedLogisticMixture", "Family", "GaussianMixture", "choose"]
