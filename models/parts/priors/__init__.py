"""Priors p(z): parts without a context.

A model gives a prior's constructor what it names of ``latent`` (number of dimensions), ``shape`` (of a datum) and
``encoder`` (the encoder itself, to `Part.share`).
"""

from __future__ import annotations

from pyrogen.registry import Registry

from ..part import Part
from .prior import MixturePrior, StandardNormal

__all__ = ["PRIORS", "MixturePrior", "StandardNormal"]

PRIORS: Registry[Part] = Registry("prior", Part, {"standard-normal": StandardNormal, "mixture": MixturePrior})
"""The priors by name."""
