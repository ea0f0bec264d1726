"""Data sets from embedded, saved, fetched and synthetic sources, their three splits, and batches.

`load` makes a `Dataset` of three `Split`s; training reads `Split.draw`, evaluation reads `Split.fixed`.
"""

from __future__ import annotations

from .binarize import Binarization
from .dataset import Dataset, Density
from .loading import from_arrays, load
from .split import Split

__all__ = ["Binarization", "Dataset", "Density", "Split", "from_arrays", "load"]
