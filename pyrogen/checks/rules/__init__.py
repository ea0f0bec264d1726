"""The rules: a table of the faults that `Pair.structure` finds by itself, and one file of detectors for each other kind."""

from __future__ import annotations

from ..rule import Rule
from . import (
    data_dependence,
    from_structure,
    gpu,
    guide_quality,
    numerics,
    random_numbers,
    sites,
    supports,
    vectorization,
)

__all__ = ["RULES"]

_MODULES = (sites, data_dependence, supports, vectorization, numerics, random_numbers, gpu, guide_quality)
_DETECTORS = tuple(value for module in _MODULES for value in vars(module).values() if isinstance(value, Rule))

RULES: tuple[Rule, ...] = tuple(sorted((*from_structure.TABLE, *_DETECTORS), key=lambda rule: rule.code))
"""Every rule of the table and every one that the modules define, in the order of their codes."""
