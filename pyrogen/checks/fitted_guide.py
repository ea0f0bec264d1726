"""The quality of a fitted guide: the tail of its importance weights, and the activity and scale of its latents."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pyrogen.active_units import is_active
from pyrogen.batch import index
from pyrogen.pareto import smooth
from pyrogen.programs.run import Site
from pyrogen.programs.traces import innermost

from .subject import Subject, memoize

__all__ = ["FITTED", "LatentUnits", "khats", "latent_units"]

_PARTICLES = 500
_ROWS = 16
_MOST_ROWS = 1000

FITTED = """\
def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x / 2, 0.7).to_event(1))

pair, batch = Pair.of(model, guide), 1.4 * torch.randn(64, 2)
"""
"""A pair whose guide is nearly the exact posterior, of which the rules make their bad ones."""


@memoize
def khats(subject: Subject) -> Tensor | None:
    """Compute Pareto k-hat of the importance weights of some data, shape (data,); None where there are none per datum.

    Reference:
        Yao, Vehtari, Simpson & Gelman 2018, Yes, but Did It Work?: Evaluating Variational Inference,
        https://arxiv.org/abs/1802.02538
    """
    structure = subject.structure
    if structure.objections or not structure.latents:
        return None
    batch = index(subject.batch, slice(_ROWS)) if structure.amortized else subject.batch
    with subject.running():
        if structure.loop is None:
            runs = [subject.run(particles=_PARTICLES, batch=batch)]
        else:
            runs = [subject.run(batch=batch) for _ in range(_PARTICLES)]
    weights = []
    for guide, model in runs:
        terms = [_per_datum(site, structure.nesting) for site in model.visited.values()]
        terms += [-_per_datum(site, structure.nesting) for site in guide.visited.values()]
        weights.append(sum(terms[1:], terms[0]))  # (particles or 1, data)
    log_weight = torch.cat(weights).double()  # (particles, data)
    if len(log_weight) != _PARTICLES or not bool(torch.isfinite(log_weight).all()):
        return None
    spread = log_weight.max(0).values - log_weight.min(0).values
    _, khat = smooth(log_weight)
    return khat.cpu().masked_fill(spread.cpu() < 1e-3, -torch.inf)  # equal weights have no tail


@dataclass(frozen=True)
class LatentUnits:
    """The units of one latent site, over the data."""

    site: str
    variance: Tensor
    """Variance over the data of the guide's mean; shape (units,)."""
    prior_variance: Tensor
    """Variance of the prior, mean over the data; shape (units,)."""
    scale: Tensor
    """Scale of the guide over that of the prior; shape (data, units)."""
    continuous: bool

    @property
    def active(self) -> Tensor:
        """Whether each unit is active (`pyrogen.active_units`); shape (units,)."""
        active: Tensor = is_active(self.variance, self.prior_variance)
        return active


@memoize
def latent_units(subject: Subject) -> list[LatentUnits]:
    """Compare the means and scales of guide and prior, for each local latent that has them."""
    structure = subject.structure
    batch = index(subject.batch, slice(_MOST_ROWS)) if structure.amortized else subject.batch
    with subject.running():
        guide, model = subject.run(batch=batch)
    found = []
    for name in structure.latents:
        posterior, prior = guide.visited[name], model.visited[name]
        if posterior.dim is None or posterior.value.dtype not in (torch.float32, torch.float64):
            continue
        try:
            mean, ours, theirs = innermost(posterior.fn).mean, innermost(posterior.fn).stddev, innermost(prior.fn).stddev
        except (NotImplementedError, AttributeError):
            continue
        shape = posterior.fn.batch_shape + posterior.fn.event_shape
        if innermost(posterior.fn).event_shape or theirs.numel() == 0:
            continue
        event = len(posterior.fn.event_shape)
        mean, ours, theirs = (
            _rows(torch.broadcast_to(value, shape), posterior.dim - event) for value in (mean, ours, theirs)
        )  # (data, units)
        if mean.shape[0] < 2:
            continue
        continuous = not prior.fn.support.is_discrete
        found.append(LatentUnits(name, mean.var(0), theirs.square().mean(0), ours / theirs, continuous))
    return found


def _rows(value: Tensor, dim: int) -> Tensor:
    """A tensor as (data, the rest)."""
    value = value.movedim(dim, 0)
    return value.reshape(value.shape[0], -1)


def _per_datum(site: Site, nesting: int) -> Tensor:
    """A site's log density, summed over all plates but that of the data: (particles or 1, data)."""
    value = site.log_prob()
    value = value.reshape((1,) * (nesting + 1 - value.dim()) + value.shape)  # (particles or 1, plates...)
    rest = [dim for dim in range(-nesting, 0) if dim != site.dim]
    return value.sum(rest) if rest else value
