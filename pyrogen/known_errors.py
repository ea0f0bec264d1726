"""Which rule of `pyrogen.checks` a program breaks when Pyro or torch raises an error in it."""

from __future__ import annotations

import re

__all__ = ["code_and_site"]

_KNOWN = {
    r"^Multiple .* sites named '(?P<site>.*)'": "PG106",
    r"^duplicate plate '(?P<site>.*)'": "PG106",
    r"already in the trace as a": "PG106",
    r"collide at dim": "PG124",
    r"subsample_size does not match|different subsample_size": "PG105",
    r"to satisfy the constraint (IndependentConstraint\()?Real\(": "PG401",  # infinite, or no number
    r"to satisfy the constraint": "PG204",
    r"not broadcastable with batch_shape\+event_shape|matrix and vector dimensions must agree": "PG306",
}
_MISMATCH = re.compile(
    r"^Shape mismatch inside plate\('(?P<plate>.*)'\) at site (?P<site>\S+) dim -?\d+, (?P<size>\d+) vs (?P<seen>\d+)"
)
_UNKNOWN = "PG100"


def code_and_site(error: Exception, data_plate: str, rows: int) -> tuple[str, str | None]:
    """The code of the rule, and the site or plate that the error names.

    Args:
        error: what the program raised.
        data_plate: name of the plate that holds the data.
        rows: number of data in the batch.

    Example:
        >>> error = ValueError("Shape mismatch inside plate('data') at site x dim -1, 8 vs 3")
        >>> code_and_site(error, "data", rows=8), code_and_site(error, "data", rows=3)
        (('PG109', 'x'), ('PG108', 'x'))
    """
    text = str(error)
    mismatch = _MISMATCH.match(text)
    if mismatch is not None:
        too_long = mismatch["plate"] == data_plate and int(mismatch["size"]) != rows == int(mismatch["seen"])
        return "PG108" if too_long else "PG109", mismatch["site"]
    for pattern, code in _KNOWN.items():
        found = re.search(pattern, text)
        if found is not None:
            return code, found.groupdict().get("site")
    return _UNKNOWN, None
