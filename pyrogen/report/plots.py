"""All pictures of the report, each a function that returns a matplotlib figure.

Each takes saved results, as `load_record`, `load_history` and `load_pictures` return them, and can be used
outside the page: save the figure with its own `savefig`. None of them touches pyplot.
"""

from __future__ import annotations

from .calibration import calibration_picture
from .causal import receptive_field
from .curves import bounds, bracket, training
from .diagnostics import cost, khat, overview
from .gaps import gap_picture
from .posteriors import agreement_picture
from .predictions import completions, interpolation, reconstructions, samples, traversal
from .units import latents

__all__ = [
    "agreement_picture",
    "bounds",
    "bracket",
    "calibration_picture",
    "completions",
    "cost",
    "gap_picture",
    "interpolation",
    "khat",
    "latents",
    "overview",
    "receptive_field",
    "reconstructions",
    "samples",
    "training",
    "traversal",
]
