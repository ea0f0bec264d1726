"""The cheap rules, which `fit` and `compare` run before they begin."""

from __future__ import annotations

import warnings
import weakref
from typing import TYPE_CHECKING, Any

from pyrogen.batch import Batch, index, signature
from pyrogen.errors import PairError

from .checking import findings_of
from .rules import RULES
from .silencing import Silencer
from .subject import Subject

if TYPE_CHECKING:
    from pyrogen.pair import Pair

__all__ = ["PairWarning", "preflight"]

_ROWS = 64


class PairWarning(UserWarning):
    """A pair that runs, and of which a cheap rule of `pyrogen.checks` has something to say."""


_seen: weakref.WeakKeyDictionary[Any, set[Any]] = weakref.WeakKeyDictionary()
"""The kinds of batch for which a pair has been looked at."""


def preflight(pair: Pair, batch: Batch) -> None:
    """Look at a pair with the cheap rules, once for each kind of batch.

    Args:
        pair: the pair.
        batch: the first batch that it will meet.

    Raises:
        PairError: the pair is refused by `Pair.structure`, or a rule sees an error; the code is in its ``code``.

    Warns:
        PairWarning: for each warning of a rule; `pyrogen.check` says more.
    """
    structure = pair.structure(batch)
    kind, known = signature(batch), _seen.setdefault(pair, set())
    if kind in known:
        return
    # What is true of any number of data is seen on a few.
    subject = Subject(pair, batch if structure.rows is not None else index(batch, slice(_ROWS)))
    found = [finding for rule in RULES if rule.cheap for finding in findings_of(rule, subject)]
    found = [finding for finding in found if finding.severity != "note"]
    silencer = Silencer(pair) if found else None
    for finding in found:
        if silencer is not None and silencer.silences(finding):
            continue
        if finding.severity == "error":
            raise PairError(
                finding.seen,
                remedy=finding.remedy,
                code=finding.code,
                site=finding.site,
                shape=finding.shape,
                line=finding.line,
            )
        place = f" ({finding.line})" if finding.line else ""
        warnings.warn(f"{finding.code}{place} {finding.seen}: {finding.remedy}", PairWarning, stacklevel=3)
    known.add(kind)  # an error is told each time
