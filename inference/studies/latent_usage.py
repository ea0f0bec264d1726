"""Whether a pair uses its latents: the rate of each, and how many of its units are active."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyrogen.active_units import is_active
from pyrogen.batch import Batch, index, length
from pyrogen.pair import Pair

from ..estimators.standard_errors import mean_and_error
from ..weights.divergence import data_by_units, unit_divergence
from ..weights.evaluation import evaluation
from ..weights.terms import visit
from .saved_result import plain

__all__ = ["Usage", "usage"]

_ROWS = 256
_PRIOR_DRAWS = 1000


@dataclass(frozen=True)
class Usage:
    """How much a latent says about the data.

    Attributes:
        site: name of the latent.
        rates: divergence from guide to prior of each unit, mean over the data, in nats; shape (units,).
        error: standard error over the data of their sum.
        variances: variance over the data of each unit's posterior mean, as a share of the prior's variance; ``None`` where
            the guide has no mean.
    """

    site: str
    rates: Tensor
    error: float
    variances: Tensor | None

    @property
    def rate(self) -> float:
        """Divergence of the whole latent, mean over the data, in nats: at most so much it says about a datum."""
        return float(self.rates.sum())

    @property
    def active(self) -> int | None:
        """Number of active units, ``None`` where the guide has no mean."""
        return None if self.variances is None else int(is_active(self.variances).sum())

    def __str__(self) -> str:
        said = "" if self.variances is None else f"; {self.active} of {len(self.variances)} units active"
        return f"latent '{self.site}': rate {self.rate:.2f} ± {self.error:.2f} nats{said}"

    def record(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dict(plain(self))


def usage(pair: Pair, batch: Batch) -> list[Usage]:
    r"""The rate and the active units of every latent of a pair.

    .. math::
        R = \frac1N \sum_i \mathrm{KL}\big(q(z \mid x_i) \,\|\, p(z)\big), \qquad
        \text{unit } j \text{ active: } \operatorname{Var}_i\, \mathrm{E}_q[z_j \mid x_i] > 0.01\, \operatorname{Var}_p[z_j].

    A decoder that is strong by itself, such as an autoregressive one, may leave the latent unused: then both are zero.

    Reference:
        Burda, Grosse, Salakhutdinov (2016), *Importance Weighted Autoencoders*, https://arxiv.org/abs/1509.00519 (active
        units); Alemi et al. (2018), *Fixing a Broken ELBO*, https://arxiv.org/abs/1711.00464 (the rate).

    Args:
        pair: the pair.
        batch: the data, at least two.

    Returns:
        For each latent in the guide's order; empty where there is none.

    Raises:
        NotPerDatum: a latent is shared by all data.
        PairError: a divergence cannot be computed; see `unit_divergence`.

    Example:
        >>> from pyrogen.models import LinearGaussianVAE
        >>> [used] = usage(LinearGaussianVAE((4,), latent=2), torch.zeros(3, 4))
        >>> used.site, used.rates.shape, used.active
        ('z', torch.Size([2]), 0)
    """
    structure = pair.structure(batch)
    structure.require_per_datum("the usage of latents")
    rows = length(batch)
    starts = range(0, rows, _ROWS) if structure.amortized and not structure.subsampled else range(1)
    divergences: dict[str, list[Tensor]] = {}
    moments: dict[str, list[tuple[Tensor, Tensor]]] = {}
    with evaluation(pair):
        for start in starts:
            guide, model = visit(pair, index(batch, slice(start, start + _ROWS)) if len(starts) > 1 else batch, structure)
            for name in structure.latents:
                site, prior = guide.visited[name], model.visited[name]
                divergences.setdefault(name, []).append(unit_divergence(site, prior, structure)[0])  # (data, units)
                with suppress(NotImplementedError):  # the guide has no mean
                    both = (site.fn.mean, _variance(prior.fn))
                    mean, variance = (data_by_units(value, site, structure, site.fn.event_dim)[0] for value in both)
                    moments.setdefault(name, []).append((mean, variance))  # (data, units) each
    result = []
    for name, parts in divergences.items():
        units = torch.cat(parts).double()  # (data, units)
        variances = None
        if name in moments:
            mean, variance = (torch.cat(values).double() for values in zip(*moments[name], strict=True))
            variances = mean.var(0) / variance.mean(0)
        result.append(Usage(name, units.mean(0), mean_and_error(units.sum(1))[1], variances))
    return result


def _variance(prior: Any) -> Tensor:
    """The variance of a distribution, from draws where it has no closed form."""
    try:
        variance: Tensor = prior.variance
    except NotImplementedError:
        variance = prior.sample(torch.Size((_PRIOR_DRAWS,))).var(0)
    return variance
