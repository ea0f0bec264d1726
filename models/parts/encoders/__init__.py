"""Encoders q(z | x): parts whose context is the data.

A model gives an encoder's constructor what it names of ``net`` (what makes a network from its number of outputs), ``latent``
(number of dimensions) and ``shape`` (of a datum).
"""

from __future__ import annotations

from pyrogen.registry import Registry

from ..part import Part
from .encoder import Encoder, FullRankEncoder, GaussianEncoder

__all__ = ["ENCODERS", "Encoder", "FullRankEncoder", "GaussianEncoder"]

ENCODERS: Registry[Part] = Registry("encoder", Part, {"diagonal": GaussianEncoder, "full-rank": FullRankEncoder})
"""The encoders by name."""
