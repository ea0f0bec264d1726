"""Which units of a latent are active: those that tell one datum from another."""

from __future__ import annotations

from typing import Any

__all__ = ["ACTIVE_SHARE", "is_active"]

ACTIVE_SHARE = 0.01
"""Least share of the prior's variance that the posterior mean of an active unit varies by over the data."""


def is_active(variance: Any, prior_variance: Any = 1.0) -> Any:
    r"""Tell for each unit of a latent whether it is active.

    .. math::
        \operatorname{Var}_i\, \mathrm{E}_q[z_j \mid x_i] > 0.01\, \operatorname{Var}_p[z_j].

    Under a standard Normal prior this is the definition of Burda et al. Taken relative to the prior's variance, it does not
    depend on the scale in which a latent is expressed.

    Reference:
        Burda, Grosse & Salakhutdinov 2015, Importance Weighted Autoencoders, https://arxiv.org/abs/1509.00519

    Args:
        variance: variance over the data of the mean of each unit's posterior; a number, or an array or tensor (units,).
        prior_variance: of the same kind; where the prior depends on the datum, the mean over the data.

    Example:
        >>> is_active(0.02), is_active(0.02, prior_variance=4.0)
        (True, False)
    """
    return variance > ACTIVE_SHARE * prior_variance
