"""Limits of diagnostics, beyond which an estimate cannot be trusted, for all who compute, check or report them."""

from __future__ import annotations

__all__ = ["KHAT_LIMIT"]

KHAT_LIMIT = 0.7
"""Pareto tail index of importance weights: above it their estimate converges too slowly to be of use (Vehtari et al.)."""
