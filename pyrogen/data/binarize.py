"""Three ways to make grey values binary, and none.

A value in [0, 1] is read as the probability that a pixel is on. Numbers in nats of differently binarized data
can't be compared, so a split says everywhere how it was binarized.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

__all__ = ["BINARIZATIONS", "Binarization", "binarize"]

# Axes: data (rows, N), event (values of one row, D).

Binarization = Literal["none", "threshold", "static", "dynamic"]
"""`none` keeps the values; `threshold` asks whether a value exceeds 0.5; `static` draws each value once, when
the data are loaded; `dynamic` draws anew for each training batch, and once for evaluation."""

BINARIZATIONS: tuple[Binarization, ...] = get_args(Binarization)

# How many rows are drawn together, which bounds the temporary uniform numbers to some megabytes.
_ROWS_AT_ONCE = 4096


def binarize(
    values: npt.NDArray[np.float32], how: Binarization, generator: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_] | None]:
    """Binarize the values of one split.

    Args:
        values: probabilities in [0, 1], unless `how` is `"none"`; (data, event).
        how: the binarization.
        generator: where the draws of `"static"` and `"dynamic"` come from.

    Returns:
        The values that training reads, (data, event), and for `"dynamic"` the draw that evaluation reads,
        (data, event); otherwise evaluation reads what training reads, and the second is `None`.

    Example:
        >>> values = np.array([[0.0, 0.4, 0.6, 1.0]], dtype=np.float32)
        >>> binarize(values, "threshold", np.random.default_rng(0))[0].tolist()
        [[0.0, 0.0, 1.0, 1.0]]
    """
    if how == "threshold":
        return (values > 0.5).astype(np.float32), None
    if how == "none":
        return values, None
    draws = np.empty(values.shape, dtype=np.bool_)
    for start in range(0, len(values), _ROWS_AT_ONCE):
        rows = values[start : start + _ROWS_AT_ONCE]
        # Uniform on [0, 1): strictly less keeps 0 off and 1 on.
        draws[start : start + _ROWS_AT_ONCE] = generator.random(rows.shape, dtype=np.float32) < rows
    return (draws.astype(np.float32), None) if how == "static" else (values, draws)
