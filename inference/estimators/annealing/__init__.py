"""Annealing: from a known distribution to the posterior by many small steps."""

from .ais import AnnealedImportance
from .tempered_smc import TemperedSMC
from .transition import HMC, MALA, Transition

__all__ = ["HMC", "MALA", "AnnealedImportance", "TemperedSMC", "Transition"]
