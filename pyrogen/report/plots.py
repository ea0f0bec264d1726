"""All pictures of the report, each a function that returns a matplotlib figure.

Each takes saved results, as `load_record`, `load_history` and `load_pictures` return them, and can be used
outside the page: save the figure with its own `savefig`. None of them touches pyplot.
"""

from __future__ import annotations

from .curves import bounds, training
from .diagnostics import khat, overview
from .images import completions, reconstructions, samples, traversal
from .receptive import receptive_field
from .units import latents

__all__ = [
    "bounds",
    "completions",
    "khat",
    "latents",
    "overview",
    "receptive_field",
    "reconstructions",
    "samples",
    "training",
    "traversal",
]
