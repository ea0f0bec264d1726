"""Reading Pyro's traces: their sample sites, the plates around these, and what their distributions are made of."""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions import ExpandedDistribution, MaskedDistribution
from torch import Tensor
from torch.distributions import Independent

from .program import Program

__all__ = ["data_dim", "frames", "innermost", "is_sizeless", "is_subsample", "is_summed_out", "mask_of", "samples"]


def samples(trace: Any) -> list[tuple[str, Any]]:
    """Sample sites of a trace, without the draws of subsample indices."""
    return [(name, site) for name, site in trace.nodes.items() if site["type"] == "sample" and not is_subsample(site)]


def is_subsample(node: Any) -> bool:
    """Whether a node of a trace is the draw of a plate's indices."""
    return type(node.get("fn")).__name__ == "_Subsample"


def frames(trace: Any) -> list[Any]:
    """The vectorized plates around the sample sites, one for each site and plate."""
    return [f for _, site in samples(trace) for f in site["cond_indep_stack"] if f.dim is not None]


def data_dim(pair: Program, site: Any) -> int | None:
    """Dimension of the data plate at a site, or None where the site lies outside it."""
    return next((frame.dim for frame in site["cond_indep_stack"] if frame.name == pair.data_plate), None)


def is_sizeless(pair: Program, *traces: Any) -> bool:
    """Whether the data plate was entered without a size (``pyro.plate("data")``), so that it has that of what it holds."""
    return any(frame.name == pair.data_plate and frame.size == -1 for trace in traces for frame in frames(trace))


def innermost(fn: Any) -> Any:
    """The distribution of the single elements, without masks, expansions and declared independence."""
    while isinstance(fn, Independent | MaskedDistribution | ExpandedDistribution):
        fn = fn.base_dist
    return fn


def mask_of(site: Any) -> Tensor:
    """What a site's masks let pass, ``poutine.mask`` and those in its distribution together.

    Returns:
        Booleans that broadcast to the batch shape and the event shape side by side.
    """
    masks, fn = [(site["mask"], site["fn"].event_dim)], site["fn"]
    while isinstance(fn, Independent | MaskedDistribution | ExpandedDistribution):
        if isinstance(fn, MaskedDistribution):
            masks.append((fn._mask, fn.event_dim))
        fn = fn.base_dist
    passed = torch.tensor(True, device="cpu")
    for mask, event_dim in masks:
        if isinstance(mask, Tensor):
            passed = passed & mask.cpu().bool().reshape(mask.shape + (1,) * event_dim)
        elif mask is False:
            passed = torch.tensor(False, device="cpu")
    return passed


def is_summed_out(site: Any) -> bool:
    """Whether a latent is one that Pyro's enumeration sums over (``infer={"enumerate": "parallel"}``)."""
    return bool(site["infer"].get("enumerate") == "parallel")
