"""How numbers, diagnostics and data are said, in the terminal, on the page and in the pictures alike.

No number is said without its error: `measured` writes both, and `failings` says why a number is not to be trusted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from pyrogen.limits import KHAT_LIMIT

__all__ = [
    "KHAT_LIMIT",
    "bar",
    "binarization",
    "cells",
    "count",
    "duration",
    "failings",
    "finite",
    "heading",
    "khat_counts",
    "label",
    "measured",
    "minus",
    "plain",
]

_NOTHING = "–"
_LONGEST_LABEL = 30
_DRAWN_ONCE = "each pixel was drawn once as 0 or 1 with its grey value as probability, and kept"
_BINARIZATION = {
    "dynamic": "each pixel is drawn as 0 or 1 with its grey value as probability, anew for every training step and once for "
    "evaluation",
    "static": _DRAWN_ONCE,
    "fixed": _DRAWN_ONCE,
    "threshold": "each pixel is 1 where its grey value exceeds a threshold and 0 elsewhere",
    "none": "the values are used as they are",
}


def measured(value: float | None, error: float | None) -> str:
    """A value with its standard error in the same unit, rounded to the digits of the error that mean something.

    Example:
        >>> measured(-30.0962, 0.0213), measured(-30.0962, None)
        ('-30.096 ± 0.021', '-30.10 ± ?')
    """
    if not finite(value):
        return "not a number" if value is None or math.isnan(value) else f"{value:+}"
    if not finite(error):
        return f"{value:.2f} ± {'?' if error is None or math.isnan(error) else 'inf'}"
    if error == 0:
        return f"{value:.3f} ± 0"
    if error < 5e-5:
        return f"{value:.4f} ± <0.0001"
    # Two digits of an error that begins with 1 to 4, one of any other, which rounds by a tenth at most.
    decimals = min(max(math.ceil(-math.log10(abs(error) / 5)), 0), 4)
    return f"{value:.{decimals}f} ± {error:.{decimals}f}"


def finite(value: float | None) -> TypeGuard[float]:
    """Whether there is a number, and it is finite."""
    return value is not None and math.isfinite(value)


def bar(row: Mapping[str, Any]) -> float:
    """The Monte Carlo standard error of an estimate's mean, one of a record's `rows`; 0 where it isn't known."""
    error = row.get("error")
    return abs(float(error)) if finite(error) else 0.0


def khat_counts(name: object, khat: NDArray[np.float64]) -> str:
    """Of how many data k-hat is too large, and of how many it isn't known.

    Example:
        >>> khat_counts("PSIS", np.array([0.2, 0.8, np.nan]))
        'PSIS: 1 of 3 above 0.7, 1 not computable'
    """
    unknown = int(np.isnan(khat).sum())
    words = f"{name}: {int((khat > KHAT_LIMIT).sum())} of {len(khat)} above {KHAT_LIMIT}"
    return words + (f", {unknown} not computable" if unknown else "")


def count(number: float | None) -> str:
    """A large count in at most three significant digits and a suffix: k, M, G or T.

    Example:
        >>> count(1_800_000), count(320)
        ('1.8 M', '320')
    """
    if not finite(number):
        return _NOTHING
    suffixes = ["", " k", " M", " G", " T"]
    while abs(number) >= 999.5 and len(suffixes) > 1:
        number /= 1000
        suffixes.pop(0)
    return f"{number:.3g}{suffixes[0]}" if suffixes[0] else f"{number:.0f}"


def duration(seconds: float | None) -> str:
    """A number of seconds, without its unit, in as many digits as matter.

    Example:
        >>> duration(0.4123), duration(1234.5)
        ('0.41', '1,234')
    """
    if not finite(seconds):
        return _NOTHING
    return f"{seconds:,.0f}" if seconds >= 99.5 else f"{seconds:.1f}" if seconds >= 9.95 else f"{seconds:.2f}"


def plain(text: object) -> str:
    """The printable part of a text from a file, on one line: without characters that steer a terminal.

    Example:
        >>> plain("two" + chr(10) + "lines" + chr(27) + "[2J")
        'two lines [2J'
    """
    return "".join(letter if letter.isprintable() else " " for letter in str(text)).strip()


def label(name: object) -> str:
    """A name as matplotlib shows it unchanged: on one line, and shortened in the middle where it is long.

    Example:
        >>> label("_hidden"), len(label("x" * 100))
        (' _hidden', 30)
    """
    words = plain(name)
    if len(words) > _LONGEST_LABEL:
        words = f"{words[: _LONGEST_LABEL - 9]}…{words[-8:]}"
    # matplotlib leaves names with a leading underscore out of its legends.
    return f" {words}" if words.startswith("_") else words


def minus(number: str) -> str:
    """A number as it is set in print, with a minus sign in place of a hyphen."""
    return number.replace("-", "−")


def failings(row: Mapping[str, Any]) -> list[str]:
    """Why an estimate, one of a record's `rows`, can't be trusted: its own warnings, then those that its numbers call for.

    Example:
        >>> failings({"nats": -30.1, "error": 0.02, "worst_khat": 0.4, "warnings": []})
        []
    """
    reasons = [plain(warning) for warning in row.get("warnings", [])]
    nats, error, khat = row.get("nats"), row.get("error"), row.get("worst_khat")
    if not finite(nats):
        reasons.append("the estimate is not a finite number")
    if not finite(error):
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
    """Every number of an estimate, one of a record's `rows`, by the columns of the table.

    A number that can't be trusted ends in an exclamation mark, evaluations that come with their gradient in a nabla.
    """
    mark = " !" if failings(row) else ""
    khat, share, ess = row.get("worst_khat"), row.get("share_khat_above"), row.get("worst_ess")
    # A single datum out of many must not be rounded away; near 1 an ESS's decimal tells one particle from two.
    percent = _NOTHING if share is None or math.isnan(share) else "<1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"
    worst = f"{ess:.1f}" if ess is not None and ess < 9.95 else count(ess)
    return {
        "name": plain(row["name"]),
        "kind": row["kind"],
        "nats": measured(row.get("nats"), row.get("error")) + mark,
        "spread": _number(row.get("spread"), 2),
        "bits": _number(row.get("bits_per_dimension"), 3),
        "khat": _number(khat, 2) + (" !" if khat is not None and not khat <= KHAT_LIMIT else ""),
        "share": percent,
        "ess": f"{count(row.get('median_ess'))} / {worst}".replace("– / –", _NOTHING),
        "evaluations": count(row.get("evaluations")) + (" ∇" if row.get("gradients") else ""),
        "seconds": duration(row.get("seconds")),
    }


def heading(record: Mapping[str, Any]) -> str:
    """Which data a comparison is about, and how they were binarized, in one line.

    Example:
        >>> heading({"data": {"name": "digits/test", "rows": 180, "dimensions": 64, "binarize": "dynamic"}})
        'digits/test: 180 data of 64 dimensions, binarization: dynamic'
    """
    data = record.get("data", {})
    line = f"{plain(data.get('name', 'unnamed data'))}: {data.get('rows', '?')} data"
    line += f" of {plain(data.get('dimensions', '?'))} dimensions, binarization: {binarization(record)[0]}"
    return line + (f", seed {plain(data['seed'])}" if data.get("seed") is not None else "")


def binarization(record: Mapping[str, Any]) -> tuple[str, str]:
    """How the data of a comparison were binarized, and what that means (empty if it is not one of the usual ways).

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
