"""Families of conditional distributions of a position, for `pyrogen.distributions.Autoregressive`."""

from __future__ import annotations

from .conditional import Family, choose
from .discrete import Bernoulli, Categorical
from .mixtures import DiscretizedLogisticMixture, GaussianMixture

__all__ = ["Bernoulli", "Categorical", "DiscretizedLogisticMixture", "Family", "GaussianMixture", "choose"]
