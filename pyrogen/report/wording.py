"""How numbers, diagnostics and data are said, in the terminal, on the page and in the pictures alike.

No number is said without its error: `measured` writes both, and `failings` says why a number is not to be
trusted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

__all__ = [
    "KHAT_LIMIT",
    "binarization",
    "cells",
    "count",
    "duration",
    "failings",
    "heading",
    "measured",
    "plain",
]

KHAT_LIMIT = 0.7
"""Above it the importance weights' tail is so heavy that no estimate made from them can be trusted."""

_NOTHING = "–"
_BINARIZATION = {
    "dynamic": (
        "each pixel is drawn as 0 or 1 with its grey value as probability, anew for every training step and once for "
        "evaluation"
    ),
    "static": "each pixel was drawn once as 0 or 1 with its grey value as probability, and kept",
    "fixed": "each pixel was drawn once as 0 or 1 with its grey value as probability, and kept",
    "threshold": "each pixel is 1 where its grey value exceeds a threshold and 0 elsewhere",
    "none": "the values are used as they are",
}


def measured(value: float | None, error: float | None) -> str:
    """Writes a value with its standard error, rounded to the digits of the error that mean something.

    Args:
        value: in any unit; `None` or NaN if there is none.
        error: its standard error in the same unit; `None` or NaN if it is not known.

    Returns:
        The two, joined by a plus-minus sign; an unknown error is said to be unknown.

    Example:
        >>> measured(-30.0962, 0.0213)
        '-30.096 ± 0.021'
        >>> measured(-30.0962, None)
        '-30.10 ± ?'
    """
    if value is None or math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return f"{value:+}"
    if error is None or math.isnan(error):
        return f"{value:.2f} ± ?"
    if error == 0:
        return f"{value:.3f} ± 0"
    if math.isinf(error):
        return f"{value:.2f} ± inf"
    if error < 5e-5:
        return f"{value:.4f} ± <0.0001"
    # Two digits of an error that begins with 1 to 4, one of any other, which rounds by a tenth at most.
    decimals = min(max(math.ceil(-math.log10(abs(error) / 5)), 0), 4)
    return f"{value:.{decimals}f} ± {error:.{decimals}f}"


def count(number: float | None) -> str:
    """Writes a large count for people.

    Args:
        number: how many; `None` if not known.

    Returns:
        At most three significant digits and a suffix: k, M, G or T.

    Example:
        >>> count(1_800_000), count(320)
        ('1.8 M', '320')
    """
    if number is None or not math.isfinite(number):
        return _NOTHING
    suffixes = ["", " k", " M", " G", " T"]
    while abs(number) >= 999.5 and len(suffixes) > 1:
        number /= 1000
        suffixes.pop(0)
    return f"{number:.3g}{suffixes[0]}" if suffixes[0] else f"{number:.0f}"


def duration(seconds: float | None) -> str:
    """Writes a number of seconds with as many digits as matter.

    Args:
        seconds: how long; `None` if not known.

    Returns:
        The number alone, without its unit.

    Example:
        >>> duration(0.4123), duration(1234.5)
        ('0.41', '1,234')
    """
    if seconds is None or not math.isfinite(seconds):
        return _NOTHING
    return f"{seconds:,.0f}" if seconds >= 99.5 else f"{seconds:.1f}" if seconds >= 9.95 else f"{seconds:.2f}"


def plain(text: object) -> str:
    """Writes something from a file on one line, without characters that steer a terminal.

    Args:
        text: a name or a sentence that somebody else wrote.

    Returns:
        The printable part of it.

    Example:
        >>> plain("two" + chr(10) + "lines" + chr(27) + "[2J")
        'two lines [2J'
    """
    return "".join(letter if letter.isprintable() else " " for letter in str(text)).strip()


def failings(row: Mapping[str, Any]) -> list[str]:
    """Says why one estimate is not to be trusted as it stands.

    Args:
        row: one of a record's `rows`.

    Returns:
        The row's own warnings, then those that its numbers call for; empty if nothing is wrong.

    Example:
        >>> failings({"nats": -30.1, "error": 0.02, "worst_khat": 0.4, "warnings": []})
        []
    """
    reasons = [plain(warning) for warning in row.get("warnings", [])]
    nats, error, khat = row.get("nats"), row.get("error"), row.get("worst_khat")
    if nats is None or not math.isfinite(nats):
        reasons.append("the estimate is not a finite number")
    if error is None or not math.isfinite(error):
        reasons.append("it has no finite standard error, so nobody knows how far to trust it")
    # The estimator's own warning about its weights says more than this one could.
    if khat is not None and not any(re.search(r"k-?hat|k\u0302", reason, re.IGNORECASE) for reason in reasons):
        if math.isnan(khat):
            reasons.append("k-hat could not be computed: too few particles to judge the weights by")
        elif khat > KHAT_LIMIT:
            reasons.append(
                f"the worst k-hat is {khat:.2f}, above {KHAT_LIMIT}: there the importance weights have too "
                "heavy a tail for an estimate made from them, or its standard error, to be trusted"
            )
    return reasons


def cells(row: Mapping[str, Any]) -> dict[str, str]:
    """Writes every number of one estimate.

    Args:
        row: one of a record's `rows`.

    Returns:
        By column: name, kind, nats, spread, bits, khat, share, ess, evaluations and seconds; a number that is
        not to be trusted ends in an exclamation mark, evaluations that come with their gradient in a nabla.
    """
    mark = " !" if failings(row) else ""
    khat, share = row.get("worst_khat"), row.get("share_khat_above")
    return {
        "name": plain(row["name"]),
        "kind": row["kind"],
        "nats": measured(row.get("nats"), row.get("error")) + mark,
        "spread": _number(row.get("spread"), 2),
        "bits": _number(row.get("bits_per_dimension"), 3),
        "khat": _number(khat, 2) + (" !" if khat is not None and not khat <= KHAT_LIMIT else ""),
        "share": _NOTHING if share is None or math.isnan(share) else _percent(share),
        "ess": f"{count(row.get('median_ess'))} / {_worst(row.get('worst_ess'))}".replace("– / –", _NOTHING),
        "evaluations": count(row.get("evaluations")) + (" ∇" if row.get("gradients") else ""),
        "seconds": duration(row.get("seconds")),
    }


def heading(record: Mapping[str, Any]) -> str:
    """Says which data the numbers are about, and how they were binarized.

    Args:
        record: what `load_record` returns.

    Returns:
        One line.

    Example:
        >>> heading({"data": {"name": "digits/test", "rows": 180, "dimensions": 64, "binarize": "dynamic"}})
        'digits/test: 180 data of 64 dimensions, binarization: dynamic'
    """
    data = record.get("data", {})
    line = f"{plain(data.get('name', 'unnamed data'))}: {data.get('rows', '?')} data"
    line += f" of {plain(data.get('dimensions', '?'))} dimensions, binarization: {binarization(record)[0]}"
    return line + (f", seed {plain(data['seed'])}" if data.get("seed") is not None else "")


def binarization(record: Mapping[str, Any]) -> tuple[str, str]:
    """Says how the data were binarized, without which no two log probabilities can be compared.

    Args:
        record: what `load_record` returns.

    Returns:
        The word for it, and what the word means (empty if it is not one of the usual ones).

    Example:
        >>> binarization({"data": {"binarize": None}})
        ('none', 'the values are used as they are')
    """
    word = plain(record.get("data", {}).get("binarize") or "none")
    return word, _BINARIZATION.get(word, "")


def _number(value: float | None, decimals: int) -> str:
    if value is None:
        return _NOTHING
    return "?" if math.isnan(value) else f"{value:.{decimals}f}"


def _worst(ess: float | None) -> str:
    # Near 1 the decimal matters: it is the difference between one particle and two.
    return f"{ess:.1f}" if ess is not None and ess < 9.95 else count(ess)


def _percent(share: float) -> str:
    # A single datum out of many must not be rounded away.
    return "<1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"
