"""The evidence upper bound: the mean log weight under the posterior.

Axes: draws, data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyrogen.batch import Batch, arguments, device_of, index, length
from pyrogen.errors import ConfigurationError, PairError, require_at_least
from pyrogen.pair import Pair
from pyrogen.programs.run import Site, run_guide
from pyrogen.programs.structure import Structure
from pyrogen.randomness import forked

from ..weights.chunks import Block
from ..weights.terms import visit, weigh
from .estimate import BlockEstimate, Estimate, Estimator
from .mcmc.chains import effective_draws

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

    kind = "upper"

    def __init__(self, draws: int = 1000, *, by: Estimator | None = None) -> None:
        require_at_least(2, draws=draws)
        self.draws, self.by = draws, by
        self.name = f"EUBO({draws})" if by is None else f"EUBO(by {by.name})"

    def record(self) -> dict[str, Any]:
        """See `Estimator.record`."""
        return {**super().record(), "by": None if self.by is None else {"name": self.by.name, **self.by.record()}}

    def require(self, pair: Pair, batch: Batch) -> None:
        """See `Estimator.require`.

        Raises:
            PairError: the pair has no ``posterior(batch)`` of its one latent, and no other estimator is to draw.
        """
        super().require(pair, batch)
        if self.by is not None:
            self.by.require(pair, batch)
            return
        posterior, latents = getattr(pair, "posterior", None), pair.structure(batch).latents
        if posterior is None or len(latents) != 1:
            why = "offers no exact posterior" if posterior is None else f"has {len(latents)} latents"
            raise PairError(
                f"{type(pair).__name__} {why}: give EUBO an estimator that draws from it, for instance EUBO(by=NUTS()), or "
                "give a pair of one latent a method posterior(batch), a distribution of batch shape (data,)"
            )

    def begin(self, whole: Block) -> Block:
        """See `Estimator.begin`.

        Raises:
            ConfigurationError: the other estimator leaves no draws.
        """
        pair, batch, structure = whole.pair, whole.batch, whole.structure
        found = None
        if self.by is None:
            latents: Mapping[str, Tensor] = _exact_draws(pair, batch, structure, self.draws)
        else:
            found = self.by.estimate(pair, batch, compile=whole.graphs, progress=whole.progress)
            if found.draws is None:
                raise ConfigurationError(
                    f"{found.name} leaves no posterior draws: give EUBO an estimator that does, for instance NUTS() or "
                    "ImportanceSampling(5000, draws=100)"
                )
            latents = found.draws.latents
        sites = _guide_sites(pair, batch, structure)
        extra = [name for name in sites if name not in latents]
        if extra:
            raise PairError(
                f"site '{extra[0]}' of the guide is no latent of the model, so that its density of the latents alone is not "
                "known, and EUBO needs it"
            )
        dims = {name: sites[name].dim or -1 for name in latents}
        return whole.sized(min(whole.rows, _ROWS) if structure.amortized else whole.rows, state=_Given(latents, dims, found))

    def block(self, block: Block) -> BlockEstimate:
        """See `Estimator.block`."""
        log_weight = _weighed(block)  # (draws, data)
        found = block.state.found
        return BlockEstimate(
            log_weight.mean(0),
            _errors(log_weight, found, block.data),
            diagnostics={} if found is None else {name: value[block.data] for name, value in found.diagnostics.items()},
            evaluations=log_weight.numel(),
        )

    def finish(self, found: Estimate, whole: Block) -> Estimate:
        """See `Estimator.finish`."""
        given, by = whole.state, whole.state.found
        found = replace(found, particles=len(next(iter(given.latents.values()))))
        if by is None:
            return found
        against = by.warnings()
        verdict = "its diagnostics find fault with them" if against else "its diagnostics find no fault with them"
        said = f"{self.name} is an upper bound as far as the draws of {by.name} are the posterior's; {verdict}"
        evaluations = found.evaluations + by.evaluations
        return replace(found, evaluations=evaluations, gradients=by.gradients, notes=(said, *against))


class _Given(NamedTuple):
    """Draws to weigh."""

    latents: Mapping[str, Tensor]
    """By site: (draws, data, other plates..., event...)."""
    dims: Mapping[str, int]
    """The data plate's dimension, counted from the right of a site's batch shape."""
    found: Estimate | None
    """Whose they are, or None where they are exact."""


def _exact_draws(pair: Pair, batch: Batch, structure: Structure, draws: int) -> dict[str, Tensor]:
    """Draws from the pair's own posterior of its one latent, (draws, data, event...)."""
    args, kwargs = arguments(batch)
    with pair.scope():
        drawn: Tensor = pair.posterior(*args, **kwargs).sample(torch.Size([draws]))  # type: ignore[operator]
    if drawn.dim() < 2 or drawn.shape[1] != length(batch):
        raise PairError(
            f"posterior(batch) of {type(pair).__name__} draws values of shape {tuple(drawn.shape[1:])} for {length(batch)} "
            "data: its batch shape must be (data,)"
        )
    return {structure.latents[0]: drawn}


def _weighed(block: Block) -> Tensor:
    """Log weights of the given latents: (draws, data), in double precision."""
    pair, structure, given = block.pair, block.structure, block.state
    draws = len(next(iter(given.latents.values())))
    result = torch.empty(draws, block.rows, dtype=torch.float64, device=device_of(block.batch))
    step = 1 if structure.loop is not None else max(1, _ROWS // block.size)
    args, kwargs = arguments(block.batch)
    with pair.scope():
        for start in range(0, draws, step):
            span = slice(start, min(start + step, draws))
            count = None if span.stop - span.start == 1 else span.stop - span.start
            latents = {}
            for name, value in given.latents.items():
                value = value[span, block.data].movedim(1, structure.nesting + 1 + given.dims[name])
                latents[name] = value[0] if count is None else value  # (draws, plates..., event...)
            guide = run_guide(pair, args, kwargs, particles=count, nesting=structure.nesting, given=latents)
            weighed = weigh(pair, block.batch, structure, count or 1, guide=guide).log_weight().local
            if weighed is not None:
                result[span] = weighed.double()
    return result


def _guide_sites(pair: Pair, batch: Batch, structure: Structure) -> dict[str, Site]:
    """The sites of a run of the guide, to learn where each has the data; no random number is used up."""
    few = index(batch, slice(1)) if structure.amortized else batch
    with forked(batch):
        return visit(pair, few, structure)[0].visited


def _errors(log_weight: Tensor, found: Estimate | None, data: slice) -> Tensor:
    """Standard errors of the mean log weights, (data,)."""
    draws = len(log_weight)
    deviation = log_weight.std(0)  # (data,)
    if found is None or found.draws is None:
        return deviation / math.sqrt(draws)
    if found.draws.chains is not None:
        chains = log_weight.reshape(found.draws.chains, -1, log_weight.shape[1])  # (chains, draws, data)
        ess = [effective_draws(chains[..., row]) for row in range(chains.shape[-1])]
        return deviation / torch.tensor(ess, dtype=deviation.dtype, device=deviation.device).sqrt()
    if found.ess is None:
        return torch.full_like(deviation, torch.nan)
    factor: Tensor = (1 / draws + 1 / found.ess[data].to(deviation)).sqrt()
    return deviation * factor
