"""Whether model, guide and batch agree: sites, plates, shapes and supports.

What does not is refused by a `PairError` that says site and remedy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from pyro.util import check_site_shape
from torch import Tensor
from torch.distributions import Bernoulli, Multinomial
from torch.distributions.constraints import independent, nonnegative_integer

from ..errors import PairError
from . import faults
from .program import Program
from .traces import data_dim, innermost, is_subsample, is_summed_out, samples

__all__ = [
    "check_draws",
    "check_latent_shapes",
    "check_observed",
    "check_shapes",
    "check_sites",
    "check_sizeless_plate",
    "check_support",
    "grey",
]


def check_sites(pair: Program, guide: Any, model: Any) -> None:
    """Refuse traces whose sites or plates do not match."""
    in_guide, in_model = dict(samples(guide)), dict(samples(model))
    for name, site in in_model.items():
        if not site["is_observed"] and name not in in_guide and not is_summed_out(site):
            raise faults.LATENT_WITHOUT_GUIDE.error(
                f"site '{name}' of the model is neither observed nor sampled by the guide", **_place(name, site)
            )
        other = in_guide.get(name)
        if site["is_observed"] and other is not None and not other["infer"].get("_deterministic"):
            role = "computed (pyro.deterministic)" if site["infer"].get("_deterministic") else "observed"
            use = "has a pyro.factor of that name" if other["is_observed"] else "samples it"
            raise faults.OBSERVED_IN_GUIDE.error(
                f"site '{name}' is {role} in the model, yet the guide {use}",
                remedy="remove or rename one",
                **_place(name, other),
            )
    for name, site in in_guide.items():
        if site["is_observed"]:  # a factor or something computed
            continue
        if name not in in_model:
            if not site["infer"].get("is_auxiliary"):
                known = ", ".join(repr(n) for n, s in in_model.items() if not s["is_observed"]) or "none"
                raise faults.GUIDE_SITE_WITHOUT_MODEL.error(
                    f"site '{name}' of the guide is no site of the model (its latents: {known})", **_place(name, site)
                )
            continue
        ours, theirs = data_dim(pair, site), data_dim(pair, in_model[name])
        if ours != theirs:
            there, here = (
                f"outside plate '{pair.data_plate}'" if dim is None else f"at plate dimension {dim}"
                for dim in (ours, theirs)
            )
            raise faults.PLATES_DIFFER.error(
                f"site '{name}' is {there} in the guide and {here} in the model", **_place(name, site)
            )
    _check_plates(guide, model)
    observed = (site for site in in_model.values() if site["is_observed"] and not site["infer"].get("_deterministic"))
    if pair.has_density and not any(observed):
        raise faults.NOTHING_OBSERVED.error("the model observes nothing")


def _check_plates(guide: Any, model: Any) -> None:
    """The plates that guide and model share have one size, and the latents one shape; those of the guide hold something."""
    held = {frame.name for node in guide.nodes.values() for frame in node.get("cond_indep_stack", ())}
    for name, node in guide.nodes.items():
        other = model.nodes.get(name)
        if other is None and is_subsample(node) and name not in held:
            raise faults.GUIDE_SITE_WITHOUT_MODEL.error(
                f"plate '{name}' of the guide holds nothing, and the model has no such plate",
                remedy="take it out, or give the model the same plate",
                site=name,
                line=node.get("line"),
            )
        if other is None or not is_subsample(node) or not is_subsample(other):
            continue
        if node["fn"].size != other["fn"].size:
            raise faults.PLATES_DIFFER.error(
                f"plate '{name}' has size {node['fn'].size} in the guide and {other['fn'].size} in the model",
                remedy="give both the same size (a guide with parameters for each datum, such as an autoguide, fits one "
                "data set only)",
                site=name,
                line=node.get("line"),
            )
        own = other.get("own")
        if isinstance(own, Tensor) and not (own.shape == node["value"].shape and bool((own == node["value"]).all())):
            raise faults.PLATES_DIFFER.error(
                f"plate '{name}' holds the rows that the guide drew, and not those that the model gives it as subsample",
                remedy="give the guide's plate the same subsample (an autoguide takes it from create_plates)",
                site=name,
                line=other.get("line"),
            )
    check_latent_shapes(guide, model)


def check_latent_shapes(guide: Any, model: Any) -> None:
    """Refuse latents whose shapes differ in guide and model; the model's trace may be unfinished."""
    in_model = dict(samples(model))
    for name, site in samples(guide):
        if name not in in_model or site["is_observed"]:
            continue
        shapes = [(tuple(s["fn"].batch_shape), tuple(s["fn"].event_shape)) for s in (site, in_model[name])]
        (ours, our_event), (theirs, their_event) = shapes
        if our_event != their_event or _without_leading_ones(ours) != _without_leading_ones(theirs):
            raise faults.SHAPES_DIFFER.error(
                f"site '{name}' has batch shape {ours} and event shape {our_event} in the guide, and {theirs} and "
                f"{their_event} in the model",
                **_place(name, site),
            )


def _without_leading_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[next((place for place, size in enumerate(shape) if size != 1), len(shape)) :]


def check_shapes(nesting: int, *traces: Any) -> None:
    """Refuse traces with a batch dimension that no plate declares, or with a draw outside the prior's support."""
    for trace in traces:
        for name, site in samples(trace):
            try:
                site["log_prob"] = site["fn"].log_prob(site["value"])
                check_site_shape(site, nesting)
                extra = len(site["log_prob"].shape) - nesting
                if extra > 0:
                    raise ValueError(f"log_prob has shape {tuple(site['log_prob'].shape)}, more dimensions than plates")
                mask = site["mask"]
                if isinstance(mask, Tensor) and not _fits(mask.shape, site["log_prob"].shape):
                    raise ValueError(
                        f"a mask of shape {tuple(mask.shape)} lies over log_prob of shape {tuple(site['log_prob'].shape)}, "
                        "which would be repeated along it"
                    )
            except ValueError as error:
                if "within the support" not in str(error):
                    raise _fault(site, error).error(
                        f"site '{name}': {error}", remedy=faults.UNDECLARED_DIMENSION.remedy, **_place(name, site)
                    ) from error
                if not site["is_observed"]:
                    raise _drawn_outside(name, site) from error


def _fits(mask: torch.Size, shape: torch.Size) -> bool:
    """Whether a mask broadcasts to a shape, or repeats or misses it."""
    return len(mask) <= len(shape) and all(m in (1, s) for m, s in zip(reversed(mask), reversed(shape), strict=False))


def check_draws(trace: Any) -> None:
    """Refuse a trace of the model, finished or not, with a draw outside the prior's support."""
    for name, site in samples(trace):
        if not site["is_observed"] and isinstance(site["value"], Tensor):
            try:
                valid = innermost(site["fn"]).support.check(site["value"])
            except (AttributeError, NotImplementedError):  # a distribution that does not know its support
                continue
            if not bool(valid.all()):
                raise _drawn_outside(name, site)


def _drawn_outside(name: str, site: Any) -> PairError:
    return faults.DRAW_OUTSIDE_SUPPORT.error(
        f"site '{name}': the guide draws a value outside the support of the model's {_with_support(innermost(site['fn']))}",
        **_place(name, site),
    )


def check_sizeless_plate(pair: Program, rows: int, *traces: Any) -> None:
    """Refuse sites that a data plate without a size (``pyro.plate("data")``) holds and that have no row for each datum.

    A plate that knows its size makes a site that long; this one leaves it as it is, so that data may share it unseen.
    """
    for trace in traces:
        for name, site in samples(trace):
            if "log_prob" not in site or site["infer"].get("_deterministic"):  # `check_support` refuses the first
                continue
            shape = tuple(site["log_prob"].shape)
            for frame in site["cond_indep_stack"]:
                sizeless = frame.name == pair.data_plate and frame.dim is not None and frame.size == -1
                if sizeless and (len(shape) < -frame.dim or shape[frame.dim] != rows):
                    raise faults.PLATE_SIZE.error(
                        f"site '{name}' has log probabilities of shape {shape} in plate '{frame.name}', which was given no "
                        f"size and holds {rows} data",
                        remedy=f"write pyro.plate('{frame.name}', len(x)), which gives every site a row for each datum",
                        **_place(name, site),
                    )


def check_support(model: Any) -> None:
    """Refuse a trace of the model that observes a value outside its distribution's support, grey pixels excepted."""
    for name, site in samples(model):
        if site["is_observed"] and not site["infer"].get("_deterministic") and not grey(site["fn"], site["value"]):
            check_observed(name, site["fn"], site["value"], masked=site["mask"] is not None, line=site.get("line"))


def check_observed(
    name: str,
    fn: Any,
    value: Any,
    *,
    masked: bool = False,
    rows: Sequence[int] | None = None,
    axis: int = 0,
    line: str | None = None,
) -> None:
    """Refuse a value that a site observes outside its distribution's support; the error says its index, too.

    `masked` says whether a mask lies over the site. Where the value is a part of the data, `rows` are the numbers of its
    data along `axis`, for the message.
    """
    if not isinstance(value, Tensor):
        return
    element = innermost(fn)  # element by element, where the event is one of independent elements
    try:
        support = element.support
        if isinstance(element, Multinomial) and not element._validate_args:  # as one does that leaves its total out
            support = independent(nonnegative_integer, 1)  # type: ignore[no-untyped-call]
        valid = support.check(value)
    except (AttributeError, NotImplementedError):  # a distribution that does not know its support
        return
    if bool(valid.all()):
        return
    where = (~valid).nonzero()[0].tolist()
    trains = grey(fn, value) and not element._validate_args
    fault = faults.GREY_PIXELS if trains else faults.DATUM_OUTSIDE_SUPPORT
    found = value if value.dim() > valid.dim() else value.expand_as(valid)
    found = found[tuple(where)]
    if rows is not None and axis < len(where):
        where[axis] = rows[where[axis]]
    seen = f"{found.item():.6g}" if found.numel() == 1 else str(found.tolist()[:8])
    excuse = " A mask does not excuse it: fill in some value of the support." if masked else ""
    raise fault.error(
        f"site '{name}' observes a value outside the support of {_with_support(element)} at index {where}: {seen}",
        remedy=f"{fault.remedy}.{excuse}",
        site=name,
        shape=tuple(value.shape),
        line=line,
    )


def grey(fn: Any, value: Any) -> bool:
    """Whether a Bernoulli observes values from 0 to 1, some of them in between."""
    if not isinstance(innermost(fn), Bernoulli) or not isinstance(value, Tensor) or not value.is_floating_point():
        return False
    return bool(((value >= 0) & (value <= 1)).all() & ((value > 0) & (value < 1)).any())


def _fault(site: Any, error: ValueError) -> faults.Fault:
    if "not broadcastable" in str(error):
        return faults.OBSERVED_SHAPE
    return faults.BROADCAST_DATA if _is_repeated(site) else faults.UNDECLARED_DIMENSION


def _is_repeated(site: Any) -> bool:
    """Whether a plate's size stands more often in the shape of a site's log probability than plates have it."""
    log_prob = site.get("log_prob")
    shape = list(site["fn"].batch_shape if log_prob is None else log_prob.shape)
    sizes = [frame.size for frame in site["cond_indep_stack"] if frame.dim is not None and frame.size > 1]
    return any(shape.count(size) > sizes.count(size) for size in sizes)


def _place(name: str, site: Any) -> dict[str, Any]:
    """Which site an error is about."""
    value = site["value"]
    shape = tuple(value.shape) if isinstance(value, Tensor) else None
    return {"site": name, "shape": shape, "line": site.get("line")}


def _with_support(fn: Any) -> str:
    support = str(fn.support)
    if "tensor" in support:  # bounds for each element
        support = type(fn.support).__name__.strip("_")
    return f"{type(fn).__name__} ({support})"
