"""Annealing: from a known distribution to the posterior by many small steps."""

from .ais import AnnealedImportance
from .bidirectional import Bracket, Sandwich, sandwich
from .tempered_smc import TemperedSMC
from .transition import HMC, MALA, Transition

__all__ = ["HMC", "MALA", "AnnealedImportance", "Bracket", "Sandwich", "TemperedSMC", "Transition", "sandwich"]
