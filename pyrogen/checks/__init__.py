"""The linter for pairs: it finds what is wrong with a model and a guide before they are trained.

`check` runs all rules on a pair and a batch; `preflight` the cheap ones, for `fit` and `compare`. The rules are in
``rules/``, one group a file; `Rule` says how to write one.
"""

from __future__ import annotations

from .findings import Finding, Report
from .rule import Rule
from .rules import RULES
from .runner import PairWarning, check, preflight

__all__ = ["RULES", "Finding", "PairWarning", "Report", "Rule", "check", "preflight"]
