"""The rules: a table of the faults that `Pair.structure` finds by itself, and a file of detectors for each other kind.

A detector is a rule as soon as its file defines it under the decorator `rule`.
"""

from __future__ import annotations

from ..rule import Rule
from . import data_dependence, from_structure, gpu, guide_quality, numerics, random_numbers, sites, supports, vectorization

__all__ = ["RULES"]

_MODULES = (data_dependence, gpu, guide_quality, numerics, random_numbers, sites, supports, vectorization)
_DETECTORS = tuple(value for module in _MODULES for value in vars(module).values() if isinstance(value, Rule))

RULES: tuple[Rule, ...] = tuple(sorted((*from_structure.TABLE, *_DETECTORS), key=lambda rule: rule.code))
"""All rules, in the order of their codes."""
