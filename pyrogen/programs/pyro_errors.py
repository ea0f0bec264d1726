"""Which fault of a pair stands behind an error that Pyro or torch raises in one of its programs."""

from __future__ import annotations

import re

from . import faults
from .faults import Fault

__all__ = ["fault_and_site"]

_KNOWN = {
    r"^Multiple .* sites named '(?P<site>.*)'": faults.NAME_TWICE,
    r"^duplicate plate '(?P<site>.*)'": faults.NAME_TWICE,
    r"^(?P<site>.*) is already in the trace as a": faults.NAME_TWICE,
    r"collide at dim": faults.PLATE_DIMENSION,
    r"subsample_size does not match|different subsample_size": faults.PLATES_DIFFER,
    r"to satisfy the constraint (IndependentConstraint\()?Real\(": faults.LOG_PROB_NOT_FINITE,  # infinite, or NaN
    r"to satisfy the constraint": faults.UNCONSTRAINED_ARGUMENT,
    r"not broadcastable with batch_shape\+event_shape|matrix and vector dimensions must agree": faults.OBSERVED_SHAPE,
}
_MISMATCH = re.compile(
    r"^Shape mismatch inside plate\('(?P<plate>.*)'\) at site (?P<site>\S+) dim -?\d+, (?P<size>\d+) vs (?P<seen>\d+)"
)


def fault_and_site(error: Exception, data_plate: str, rows: int) -> tuple[Fault, str | None]:
    """Find the fault behind an error of a program by its message, and the site or plate that the message names.

    The fault of a message that is not known is `pyrogen.programs.faults.PROGRAM_FAILS`.

    Example:
        >>> error = ValueError("Shape mismatch inside plate('data') at site x dim -1, 8 vs 3")
        >>> [(fault.code, site) for fault, site in (fault_and_site(error, "data", rows) for rows in (8, 3))]
        [('PG109', 'x'), ('PG108', 'x')]
    """
    text = str(error)
    mismatch = _MISMATCH.match(text)
    if mismatch is not None:
        too_long = mismatch["plate"] == data_plate and int(mismatch["size"]) != rows == int(mismatch["seen"])
        return faults.PLATE_SIZE if too_long else faults.UNDECLARED_DIMENSION, mismatch["site"]
    for pattern, fault in _KNOWN.items():
        found = re.search(pattern, text)
        if found is not None:
            return fault, found.groupdict().get("site")
    return faults.PROGRAM_FAILS, None
