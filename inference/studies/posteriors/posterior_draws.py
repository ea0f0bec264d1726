"""Posterior draws of the same data by different methods.

Axes: draws, data, event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from pyrogen.batch import Batch, arguments, length
from pyrogen.errors import ConfigurationError, PairError
from pyrogen.pair import Pair

from ...estimators.estimate import Estimate, Estimator
from ...weights.chunks import chunks
from ...weights.evaluation import evaluation

__all__ = ["Method", "PosteriorDraws", "dimension_names", "draw"]

Method: TypeAlias = Estimator | Estimate | Literal["guide", "exact"]

_FRESH = 10
"""Effective particles for each draw of resampled ones that is to pass as independent."""


@dataclass(frozen=True)
class PosteriorDraws:
    """Draws of each datum's latents by one method.

    Attributes:
        name: the method.
        latents: by site, (draws, data, other plates..., event...).
        effective: (data,), the number of independent draws that would give means as exact as these.
        independent: (data,), how many of these draws, spread evenly, can pass as independent ones.
        exact: whether they come from the closed form.
    """

    name: str
    latents: Mapping[str, Tensor]
    effective: Tensor
    independent: Tensor
    exact: bool = False

    @property
    def count(self) -> int:
        """Draws of each datum."""
        return len(next(iter(self.latents.values())))

    def matrix(self) -> Tensor:
        """All latents side by side, (draws, data, dims), in double precision."""
        return torch.cat([value.detach().double().cpu().flatten(2) for value in _deep(self.latents)], -1)

    def dimensions(self) -> list[str]:
        """What the columns of `matrix` are called."""
        return dimension_names({name: value[0] for name, value in self.latents.items()})


def dimension_names(latents: Mapping[str, Tensor]) -> list[str]:
    """What the dimensions of latents, each (data, other plates..., event...), are called.

    Example:
        >>> dimension_names({"a": torch.zeros(5), "b": torch.zeros(5, 2)})
        ['a', 'b[0]', 'b[1]']
    """
    places = [(name, place) for name, value in latents.items() for place in np.ndindex(*value.shape[1:])]
    return [f"{name}[{','.join(map(str, place))}]" if place else name for name, place in places]


def draw(pair: Pair, batch: Batch, method: Method, draws: int, *, progress: bool = False) -> PosteriorDraws:
    """Draw from each datum's posterior by one method.

    Args:
        pair: the pair.
        batch: the data.
        method: ``"guide"``, ``"exact"`` (the pair's ``posterior(batch)``, a distribution or one for each site), an
            estimator that keeps draws, or what it has estimated.
        draws: how many at most; those of an estimator are thinned.
        progress: show a progress bar.

    Raises:
        ConfigurationError: the method keeps no draws, or is unknown.
        PairError: the pair has no exact posterior.
    """
    rows = length(batch)
    if method == "guide":
        return _iid("guide", _guide(pair, batch, draws, progress), draws, rows)
    if method == "exact":
        return _iid("exact", _exact(pair, batch, draws), draws, rows, exact=True)
    if isinstance(method, Estimator):
        method = method.estimate(pair, batch, progress=progress)
    if not isinstance(method, Estimate):
        raise ConfigurationError(f"no method {method!r}: give 'guide', 'exact', an estimator or an estimate")
    if method.draws is None:
        raise ConfigurationError(f"{method.name} keeps no posterior draws: give it draws, or leave it out")
    if len(method.log_prob) != rows:
        raise ConfigurationError(f"{method.name} has draws of {len(method.log_prob)} data, and there are {rows}")
    return _thinned(method, draws)


def _iid(name: str, latents: Mapping[str, Tensor], draws: int, rows: int, *, exact: bool = False) -> PosteriorDraws:
    count = torch.full((rows,), float(draws), dtype=torch.float64, device="cpu")
    return PosteriorDraws(name, latents, count, count, exact)


def _guide(pair: Pair, batch: Batch, draws: int, progress: bool) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    rows = length(batch)
    for chunk in chunks(pair, batch, draws, progress=progress):
        for name, value in chunk.latents.items():
            if name not in found:
                found[name] = value.new_empty(draws, rows, *value.shape[2:])
            found[name][chunk.particles, chunk.data] = value
    if not found:
        raise PairError("the pair has no latents, and so no posterior")
    return found


def _exact(pair: Pair, batch: Batch, draws: int) -> dict[str, Tensor]:
    posterior = getattr(pair, "posterior", None)
    if posterior is None:
        raise PairError(
            f"{type(pair).__name__} knows no exact posterior: give it a method posterior(batch) that returns a distribution "
            "of batch shape (data,), or leave 'exact' out"
        )
    args, kwargs = arguments(batch)
    names = pair.structure(batch).latents
    with evaluation(pair), pair.scope():
        found: Any = posterior(*args, **kwargs)
        if not isinstance(found, Mapping):
            found = {names[0]: found}
        if set(found) != set(names) or not all(isinstance(fn, Distribution) for fn in found.values()):
            raise PairError(f"posterior(batch) must give a distribution for each latent, {list(names)}, and gives {found}")
        return {name: found[name].sample(torch.Size((draws,))) for name in names}


def _thinned(estimate: Estimate, draws: int) -> PosteriorDraws:
    """The draws of an estimate, and how much they are worth.

    Draws of Markov chains are worth their effective number; resampled ones (with replacement, so that some are drawn twice)
    have the variance of independent draws plus that of the weighted particles behind them.
    """
    assert estimate.draws is not None
    latents = estimate.draws.latents
    total = len(next(iter(latents.values())))
    kept = torch.linspace(0, total - 1, min(total, draws), device="cpu").round().long()
    count = float(len(kept))
    known = torch.full_like(estimate.log_prob, count) if estimate.ess is None else estimate.ess
    known = known.detach().double().cpu().nan_to_num(nan=1.0).clamp(min=1.0)
    if estimate.draws.chains is not None or estimate.ess is None:
        effective = independent = known.clamp(max=count)
    else:
        effective = 1 / (1 / count + 1 / known)
        independent = (known / _FRESH).clamp(max=count)
    thin = {name: value[kept.to(value.device)] for name, value in latents.items()}
    return PosteriorDraws(estimate.name, thin, effective, independent, estimate.kind == "exact")


def _deep(latents: Mapping[str, Tensor]) -> list[Tensor]:
    """Each latent with one dimension after draws and data at least."""
    return [value.unsqueeze(-1) if value.dim() == 2 else value for value in latents.values()]
