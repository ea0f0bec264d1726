"""The linter for pairs: what is wrong with a model and a guide, said before they are trained.

`check` runs all rules on a pair and a batch; `preflight` the cheap ones, for `fit` and `compare`. The rules are in
``rules/``, one a file; `Rule` says how to write one.
"""

from __future__ import annotations

from .checking import check
from .finding import Finding
from .preflight import PairWarning, preflight
from .report import Report
from .rule import Rule
from .rules import RULES

__all__ = ["RULES", "Finding", "PairWarning", "Report", "Rule", "check", "preflight"]
