"""The divergence from guide to prior, unit by unit of a latent: what free bits and the report of unused latents look at.

Axes: particles, plates (`nesting` of them, the data plate among them), units (the event of a site, and what lies in other
plates than the data's).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Independent

from pyrogen.errors import PairError
from pyrogen.programs.run import Site
from pyrogen.programs.structure import Structure

__all__ = ["data_by_units", "kl_divergence", "unit_divergence"]


def kl_divergence(posterior: Any, prior: Any) -> Any:
    """The KL divergence in closed form; torch's of Bernoulli wants one batch shape, in a graph not of ().

    Raises:
        NotImplementedError: there is none.
    """
    shape = torch.broadcast_shapes(posterior.batch_shape, prior.batch_shape)  # type: ignore[no-untyped-call]
    if not shape and isinstance(prior, Bernoulli):
        return kl_divergence(posterior.expand((1,)), prior).squeeze(0)
    if posterior.batch_shape != prior.batch_shape:
        posterior, prior = posterior.expand(shape), prior.expand(shape)
    return torch.distributions.kl_divergence(posterior, prior)


def unit_divergence(posterior: Site, prior: Site, structure: Structure) -> Tensor:
    """KL divergence of each unit of a local latent, in closed form where there is one, else from the guide's draw.

    Units are told apart where guide and prior have them independent, as ``to_event`` declares them; another latent is one
    unit.

    Args:
        posterior: the latent in a run of the guide.
        prior: the same in a run of the model on the guide's draw.
        structure: of the pair.

    Returns:
        shape (particles or 1, data, units), in nats; its mean over particles has the divergence as its mean.

    Raises:
        PairError: the latent is masked or scaled, or its divergence has no closed form and its draws carry no gradient.
    """
    name = posterior.name
    if any(site.mask is not None and site.mask is not True for site in (posterior, prior)):
        raise PairError(f"the units of the masked latent '{name}' have no divergence each: take the mask away")
    q, p, depth = posterior.fn, prior.fn, 0
    if isinstance(q, Independent) and isinstance(p, Independent):
        depth = min(q.reinterpreted_batch_ndims, p.reinterpreted_batch_ndims)
        q, p = _opened(q, depth), _opened(p, depth)
    try:
        value = kl_divergence(q, p)  # (..., plates, units)
    except NotImplementedError:
        if name not in structure.reparameterized:
            raise PairError(
                f"the divergence of '{name}' has no closed form and its draws carry no gradient: take another guide or prior"
            ) from None
        value = q.log_prob(posterior.value) - p.log_prob(posterior.value)
    return data_by_units(value, posterior, structure, depth)


def data_by_units(value: Tensor, site: Site, structure: Structure, depth: int) -> Tensor:
    """A quantity of shape (..., plates, event of `depth` dimensions) as (particles or 1, data, units)."""
    assert site.dim is not None
    plates = structure.nesting + depth
    value = value.reshape((1,) * (plates + 1 - value.dim()) + value.shape)  # (particles or 1, plates..., event...)
    return value.movedim(site.dim - depth, 1).flatten(2) if value.dim() > 2 else value.unsqueeze(2)


def _opened(independent: Independent[Any], depth: int) -> torch.distributions.Distribution:
    """The same distribution with the last `depth` dimensions of its event as dimensions of its batch."""
    left = independent.reinterpreted_batch_ndims - depth
    return Independent(independent.base_dist, left) if left else independent.base_dist
