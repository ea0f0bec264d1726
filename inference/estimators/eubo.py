"""The evidence upper bound: the mean log weight under the posterior.

Axes: draws, data.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import trange

from pyrogen.batch import Batch, arguments, device_of, index, length
from pyrogen.errors import ConfigurationError, PairError
from pyrogen.pair import Pair
from pyrogen.programs.run import Site, run_guide
from pyrogen.programs.structure import Structure

from ..weights.chunks import check_extremes, evaluation
from ..weights.terms import visit, weigh
from .estimate import Estimate, Estimator, columns
from .mcmc.chains import effective_draws
from .mcmc.nuts import NUTS

__all__ = ["EUBO"]

_ROWS = 4096  # data times draws at once


class EUBO(Estimator):
    r"""The evidence upper bound, from draws of the posterior.

    .. math::
        \mathrm{EUBO}(x) = \mathrm E_{p(z|x)}\Big[\log \frac{p(x, z)}{q(z|x)}\Big]
        = \log p(x) + \mathrm{KL}\big(p(z|x) \,\|\, q(z|x)\big) \ge \log p(x).

    It needs draws from the true posterior. A pair with one latent and a method ``posterior(batch)`` gives exact ones, and
    the estimate is then an upper bound in expectation. Draws of another estimator (`NUTS`, annealing, importance sampling)
    are the posterior's as far as that estimator works: the name says whose they are, and what that estimator says against
    itself is repeated among the notes. Draws that lie too near to the guide give a value that is too low.

    The standard error is that of a mean of independent exact draws; of chains, with their effective number; of other
    draws, with the variance of resampling added to that of their particles.

    Reference:
        Ji & Shen 2019, Stochastic Variational Inference via Upper Bound, https://arxiv.org/abs/1912.00650
        Grosse, Ghahramani & Adams 2015, Sandwiching the Marginal Likelihood Using Bidirectional Monte Carlo,
        https://arxiv.org/abs/1511.02543

    Args:
        draws: exact draws for each datum; of no consequence where `by` is given.
        by: an estimator that leaves posterior draws; ``None`` for the pair's own ``posterior(batch)``.

    Raises:
        ConfigurationError: there are too few draws to have a standard error.

    Example:
        >>> from pyrogen.models import LinearGaussianVAE
        >>> pair = LinearGaussianVAE((4,), latent=2)
        >>> EUBO(100).estimate(pair, torch.zeros(3, 4)).kind
        'upper'
    """

    def __init__(self, draws: int = 1000, *, by: Estimator | None = None) -> None:
        if draws < 2:
            raise ConfigurationError(f"draws must be at least 2, to have a standard error, not {draws}")
        self.draws, self.by = draws, by
        self.name = f"EUBO({draws})" if by is None else f"EUBO(by {by.name})"

    def record(self) -> dict[str, Any]:
        """See `Estimator.record`."""
        return {**super().record(), "by": None if self.by is None else {"name": self.by.name, **self.by.record()}}

    def require(self, pair: Pair, batch: Batch) -> None:
        """See `Estimator.require`."""
        pair.structure(batch).require_per_datum("EUBO")
        if self.by is not None:
            self.by.require(pair, batch)

    def estimate(self, pair: Pair, batch: Batch, *, progress: bool = False) -> Estimate:
        """See `Estimator.estimate`.

        Raises:
            PairError: the pair has no ``posterior(batch)``, and no other estimator is to draw.
            ConfigurationError: the other estimator leaves no draws.
        """
        start = time.perf_counter()
        structure = pair.structure(batch)
        structure.require_per_datum("EUBO")
        found = None if self.by is None else self.by.estimate(pair, batch, progress=progress)
        if found is None:
            check_extremes(pair, batch)
            latents: Mapping[str, Tensor] = _exact_draws(pair, batch, structure, self.draws)
        elif found.draws is None:
            raise ConfigurationError(
                f"{found.name} leaves no posterior draws: give EUBO an estimator that does, for instance NUTS() or "
                "ImportanceSampling(5000, draws=100)"
            )
        else:
            latents = found.draws.latents
        log_weight = _weighed(pair, batch, structure, latents, progress=progress)  # (draws, data)
        log_prob, standard_error = columns(2, batch)
        log_prob.copy_(log_weight.mean(0))
        standard_error.copy_(_errors(log_weight, self.by, found))
        return Estimate(
            name=self.name,
            kind="upper",
            log_prob=log_prob,
            standard_error=standard_error,
            evaluations=log_weight.numel() + (0 if found is None else found.evaluations),
            seconds=time.perf_counter() - start,
            particles=len(log_weight),
            gradients=0 if found is None else found.gradients,
            diagnostics={} if found is None else found.diagnostics,
            notes=() if found is None else _notes(self.name, found),
        )


def _exact_draws(pair: Pair, batch: Batch, structure: Structure, draws: int) -> dict[str, Tensor]:
    """Draws from the pair's own posterior of its one latent, (draws, data, event...)."""
    posterior = getattr(pair, "posterior", None)
    if posterior is None or len(structure.latents) != 1:
        why = "offers no exact posterior" if posterior is None else f"has {len(structure.latents)} latents"
        raise PairError(
            f"{type(pair).__name__} {why}: give EUBO an estimator that draws from it, for instance EUBO(by=NUTS()), or give "
            "a pair of one latent a method posterior(batch), a distribution of batch shape (data,)"
        )
    args, kwargs = arguments(batch)
    with evaluation(pair), pair.scope():
        drawn: Tensor = posterior(*args, **kwargs).sample(torch.Size([draws]))
    if drawn.dim() < 2 or drawn.shape[1] != length(batch):
        raise PairError(
            f"posterior(batch) of {type(pair).__name__} draws values of shape {tuple(drawn.shape[1:])} for {length(batch)} "
            "data: its batch shape must be (data,)"
        )
    return {structure.latents[0]: drawn}


def _weighed(pair: Pair, batch: Batch, structure: Structure, latents: Mapping[str, Tensor], *, progress: bool) -> Tensor:
    """Log weights of given latents (draws, data, other plates..., event...): (draws, data), in double precision."""
    rows, draws = length(batch), len(next(iter(latents.values())))
    result = torch.empty(draws, rows, dtype=torch.float64, device=device_of(batch))
    size = min(rows, _ROWS) if structure.amortized else rows
    step = 1 if structure.loop is not None else max(1, _ROWS // size)
    with evaluation(pair), pair.scope():
        sites = _guide_sites(pair, batch, structure)
        extra = [name for name in sites if name not in latents]
        if extra:
            raise PairError(
                f"site '{extra[0]}' of the guide is no latent of the model, so that its density of the latents alone is not "
                "known, and EUBO needs it"
            )
        for first in trange(0, rows, size, disable=not progress, unit="block", leave=False):
            data = slice(first, min(first + size, rows))
            part = index(batch, data) if size < rows else batch
            args, kwargs = arguments(part)
            for start in range(0, draws, step):
                span = slice(start, min(start + step, draws))
                count = None if span.stop - span.start == 1 else span.stop - span.start
                given = {}
                for name, value in latents.items():
                    dim = sites[name].dim or -1
                    value = value[span, data].movedim(1, structure.nesting + 1 + dim)  # (draws, plates..., event...)
                    given[name] = value[0] if count is None else value
                guide = run_guide(pair, args, kwargs, particles=count, nesting=structure.nesting, given=given)
                weighed = weigh(pair, part, structure, count or 1, guide=guide).log_weight().local
                if weighed is not None:
                    result[span, data] = weighed.double()
    return result


def _guide_sites(pair: Pair, batch: Batch, structure: Structure) -> dict[str, Site]:
    """The sites of a run of the guide, to learn where each has the data; no random number is used up."""
    few = index(batch, slice(1)) if structure.amortized else batch
    devices = [device_of(batch)] if device_of(batch).type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        return visit(pair, few, structure)[0].visited


def _errors(log_weight: Tensor, by: Estimator | None, found: Estimate | None) -> Tensor:
    """Standard errors of the mean log weights, (data,)."""
    draws = len(log_weight)
    deviation = log_weight.std(0)  # (data,)
    if found is None:
        return deviation / math.sqrt(draws)
    if isinstance(by, NUTS):
        chains = log_weight.reshape(by.chains, -1, log_weight.shape[1])  # (chains, draws, data)
        ess = [effective_draws(chains[..., row]) for row in range(chains.shape[-1])]
        return deviation / torch.tensor(ess, dtype=deviation.dtype, device=deviation.device).sqrt()
    if found.ess is None:
        return torch.full_like(deviation, torch.nan)
    factor: Tensor = (1 / draws + 1 / found.ess.to(deviation)).sqrt()
    return deviation * factor


def _notes(name: str, found: Estimate) -> tuple[str, ...]:
    against = found.warnings()
    verdict = "its diagnostics find fault with them" if against else "its diagnostics find no fault with them"
    return (f"{name} is an upper bound as far as the draws of {found.name} are the posterior's; {verdict}", *against)
