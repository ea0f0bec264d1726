"""Means over the data with their standard errors, and the intervals that these give."""

from __future__ import annotations

import torch
from torch import Tensor

from pyrogen.errors import ConfigurationError

__all__ = ["central_quantile", "mean_and_error"]


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """The mean of values, (data,), and its standard error over the data.

    Example:
        >>> mean_and_error(torch.tensor([1.0, 3.0]))
        (2.0, 1.0)
    """
    return float(values.mean()), float(values.std() / len(values) ** 0.5)


def central_quantile(level: float, freedom: int | None = None) -> float:
    """How many standard errors a central interval of this level reaches to either side.

    Args:
        level: the interval's probability.
        freedom: degrees of freedom of Student's distribution; the normal one if left out.

    Raises:
        ConfigurationError: `level` does not lie between 0 and 1.

    Example:
        >>> round(central_quantile(0.95), 3), round(central_quantile(0.95, freedom=3), 3)
        (1.96, 3.182)
    """
    if not 0 < level < 1:
        raise ConfigurationError(f"level must lie between 0 and 1, not {level}")
    if freedom is None:
        return float(torch.special.ndtri(torch.tensor((1 + level) / 2, dtype=torch.float64, device="cpu")))
    from scipy.stats import t

    return float(t.ppf((1 + level) / 2, freedom))
