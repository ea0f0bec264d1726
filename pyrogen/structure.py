"""The structure of a pair: its sites and plates, as one checked run on a batch shows them.

What is refused here is refused for good: a latent without a guide site, data outside the likelihood's support,
a batch dimension that no plate declares. What only some uses cannot bear (a scaled site, a global latent) is kept as an
objection, which those uses raise.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyro
import pyro.poutine as poutine
import torch
from pyro.util import check_site_shape
from torch import Tensor, nn

from .batch import Batch, arguments, device_of, index, length
from .errors import NotPerDatum, PairError
from .run import run_guide, run_model

if TYPE_CHECKING:
    from .pair import Pair

__all__ = ["Structure", "evaluation_mode", "probe"]

_PROBED_ROWS = 4096
_COMPARED_ROWS = 4


@dataclass(frozen=True)
class Structure:
    """What a run of a pair showed; the same for every batch of that kind."""

    latents: tuple[str, ...]
    """Latent sites of the model, in the guide's order."""
    observed: tuple[str, ...]
    """Observed sites of the model."""
    local: frozenset[str]
    """Sites inside the data plate."""
    reparameterized: frozenset[str]
    """Guide sites whose draws carry a pathwise gradient."""
    analytic: frozenset[str]
    """Latents whose KL divergence from guide to prior has a closed form that may be used."""
    nesting: int
    """Number of plate dimensions."""
    objections: tuple[str, ...]
    """Why the log weight is not one of each datum alone; empty where it is."""
    joint_objections: tuple[str, ...]
    """Why not even the log weight of all data together is that of the model's joint density; empty where it is."""
    subsampled: bool
    """Whether the data plate draws a subsample of the batch."""
    amortized: bool
    """Whether the pair runs on any part of the batch."""
    loop: str | None
    """Why particles must be run one after the other, or None where they run together."""

    def require_per_datum(self, use: str) -> None:
        """Refuse a pair whose log weight is not a separate one for each datum.

        Raises:
            NotPerDatum: with the site that prevents it.
        """
        if self.objections:
            raise NotPerDatum(f"{use} needs a log weight for each datum: " + "; ".join(self.objections))

    def require_joint(self, use: str) -> None:
        """Refuse a pair whose log weight is that of a tempered density.

        Raises:
            NotPerDatum: with the site that prevents it.
        """
        if self.joint_objections:
            raise NotPerDatum(f"{use} needs an untempered log weight: " + "; ".join(self.joint_objections))


def probe(pair: Pair, batch: Batch) -> Structure:
    """Run a pair on a batch, with validation, and check that model, guide and batch fit each other.

    The modules run in evaluation mode and no random number is used up.

    Raises:
        PairError: they do not fit; the message names the site and the remedy.
    """
    rows = length(batch)
    devices = [device_of(batch)] if device_of(batch).type == "cuda" else []
    with torch.no_grad(), torch.random.fork_rng(devices=devices), evaluation_mode(pair), pair.scope():
        torch.manual_seed(0)
        try:
            probed = batch if rows <= _PROBED_ROWS else index(batch, slice(_PROBED_ROWS))
            guide, model = _traces(pair, probed)
        except PairError:
            if rows <= _PROBED_ROWS:
                raise
            guide, model = _traces(pair, probed := batch)
        _check_sites(pair, guide, model)
        nesting = max([0, *(-frame.dim for trace in (guide, model) for frame in _frames(trace))])
        _check_shapes(nesting, guide, model)
        _check_support(model)
        amortized = _runs_on_part(pair, probed, nesting)
        compared = index(probed, slice(_COMPARED_ROWS)) if amortized else probed
        loop = _vectorization_failure(pair, compared, nesting)
    return _describe(pair, length(probed), guide, model, nesting, amortized, loop)


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Put a module and all below it in evaluation mode, and each back into its own afterwards."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


def _traces(pair: Pair, batch: Batch) -> tuple[Any, Any]:
    args, kwargs = arguments(batch)
    with pyro.validation_enabled(True):
        guide = _trace("guide", pair.guide, args, kwargs)
        for name, site in _samples(guide):
            if site["is_observed"] and not site["infer"].get("_deterministic"):
                raise PairError(f"site '{name}' is observed in the guide: observe it in the model only")
        model = _trace("model", poutine.replay(pair.model, trace=guide), args, kwargs)
    return guide, model


def _trace(role: str, program: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        return poutine.trace(program).get_trace(*args, **kwargs)
    except PairError:
        raise
    except (ValueError, RuntimeError, TypeError, KeyError, IndexError, NotImplementedError) as error:
        raise PairError(f"the {role} does not run on this batch: {type(error).__name__}: {error}") from error


def _samples(trace: Any) -> list[tuple[str, Any]]:
    """Sample sites of a trace, without the draws of subsample indices."""
    return [
        (name, site)
        for name, site in trace.nodes.items()
        if site["type"] == "sample" and type(site["fn"]).__name__ != "_Subsample"
    ]


def _frames(trace: Any) -> list[Any]:
    return [f for _, site in _samples(trace) for f in site["cond_indep_stack"] if f.dim is not None]


def _check_sites(pair: Pair, guide: Any, model: Any) -> None:
    in_guide, in_model = dict(_samples(guide)), dict(_samples(model))
    for name, site in in_model.items():
        if not site["is_observed"] and name not in in_guide:
            raise PairError(
                f"site '{name}' of the model is neither observed nor sampled by the guide: "
                f"give the guide a pyro.sample('{name}', ...) statement, or observe it"
            )
        if name in in_guide and site["is_observed"] and not site["infer"].get("_deterministic"):
            raise PairError(f"site '{name}' is observed in the model, yet the guide samples it: remove one")
    for name, site in in_guide.items():
        if name not in in_model and not site["infer"].get("is_auxiliary"):
            known = ", ".join(repr(n) for n, s in in_model.items() if not s["is_observed"]) or "none"
            raise PairError(
                f"site '{name}' of the guide is no site of the model (its latents: {known}): rename it, "
                "or mark it with infer={'is_auxiliary': True}"
            )
        if name in in_model:
            ours, theirs = _data_dim(pair, site), _data_dim(pair, in_model[name])
            if ours != theirs:
                where = {None: f"outside plate '{pair.data_plate}'"}
                raise PairError(
                    f"site '{name}' is {where.get(ours, f'at plate dimension {ours}')} in the guide and "
                    f"{where.get(theirs, f'at plate dimension {theirs}')} in the model: use the same plates"
                )
    if not any(site["is_observed"] for site in in_model.values()):
        raise PairError("the model observes nothing: give a pyro.sample statement obs=<the data>")


def _check_shapes(nesting: int, *traces: Any) -> None:
    for trace in traces:
        for name, site in _samples(trace):
            try:
                site["log_prob"] = site["fn"].log_prob(site["value"])
                check_site_shape(site, nesting)
                extra = len(site["log_prob"].shape) - nesting
                if extra > 0:
                    raise ValueError(f"log_prob has shape {tuple(site['log_prob'].shape)}, more dimensions than plates")
            except ValueError as error:
                if "within the support" in str(error) and site["is_observed"]:
                    continue  # `_check_support` says it better
                raise PairError(
                    f"site '{name}': {error}. Every batch dimension must lie in a plate: declare event dimensions "
                    "with .to_event(...), or enter a pyro.plate"
                ) from error


def _check_support(model: Any) -> None:
    for name, site in _samples(model):
        if not site["is_observed"] or site["infer"].get("_deterministic"):
            continue
        support = getattr(site["fn"], "support", None)
        if support is None or not isinstance(site["value"], Tensor):
            continue
        valid = support.check(site["value"])
        if not bool(valid.all()):
            where = (~valid).nonzero()[0].tolist()
            value = site["value"][tuple(where)]
            seen = f"{value.flatten()[0].item():.6g}" if value.numel() == 1 else f"of shape {tuple(value.shape)}"
            raise PairError(
                f"site '{name}' observes a value outside the support of {type(_innermost(site['fn'])).__name__} "
                f"({support}) at index {where}: {seen}. Binarize or rescale the data, or choose another likelihood"
            )


def _innermost(fn: Any) -> Any:
    while hasattr(fn, "base_dist"):
        fn = fn.base_dist
    return fn


def _data_dim(pair: Pair, site: Any) -> int | None:
    for frame in site["cond_indep_stack"]:
        if frame.name == pair.data_plate:
            return frame.dim  # type: ignore[no-any-return]
    return None


def _runs_on_part(pair: Pair, batch: Batch, nesting: int) -> bool:
    """Whether the pair accepts a part of the batch, with latents of the part's length."""
    rows = length(batch)
    if rows < 2:
        return True
    part = index(batch, slice(max(1, rows // 2)))
    args, kwargs = arguments(part)
    try:
        guide = run_guide(pair, args, kwargs, nesting=nesting)
        model = run_model(pair, args, kwargs, guide.latents(), indices=guide.indices, nesting=nesting)
        for site in (*guide.visited.values(), *model.visited.values()):
            if site.dim is not None and site.log_prob().shape[site.dim] != (model.subsample_size or length(part)):
                return False
    except (ValueError, RuntimeError, IndexError, KeyError):
        return False
    return True


def _vectorization_failure(pair: Pair, batch: Batch, nesting: int) -> str | None:
    """Run two particles at once and one after the other on the same latents: do they agree?"""
    args, kwargs = arguments(batch)
    try:
        guide = run_guide(pair, args, kwargs, particles=2, nesting=nesting)
        model = run_model(pair, args, kwargs, guide.latents(), indices=guide.indices, particles=2, nesting=nesting)
        for particle in range(2):
            latents = {
                name: value[particle] if value.dim() > nesting + site.fn.event_dim else value
                for name, site in guide.visited.items()
                for value in [site.value]
            }
            alone = run_model(pair, args, kwargs, latents, indices=guide.indices, nesting=nesting)
            for name, site in alone.visited.items():
                single, together = site.log_prob(), model.visited[name].log_prob()
                together = together[particle] if together.dim() > nesting else together
                together = together.reshape(together.shape[together.dim() - single.dim() :])
                if not torch.allclose(single, together, rtol=1e-3, atol=1e-3, equal_nan=True):
                    return f"site '{name}' has another log probability when two particles run at once"
    except (ValueError, RuntimeError, IndexError, TypeError, AssertionError) as error:
        return f"two particles do not run at once: {type(error).__name__}: {str(error).splitlines()[0]}"
    return None


def _describe(pair: Pair, rows: int, guide: Any, model: Any, nesting: int, amortized: bool, loop: str | None) -> Structure:
    in_guide, in_model = dict(_samples(guide)), dict(_samples(model))
    in_model = {n: s for n, s in in_model.items() if not s["infer"].get("_deterministic")}
    in_guide = {n: s for n, s in in_guide.items() if not s["infer"].get("_deterministic")}
    latents = [name for name in in_guide if name in in_model]
    sites = {**in_model, **in_guide}
    plate = model.nodes.get(pair.data_plate)
    factor, size = 1.0, None
    if plate is not None and type(plate["fn"]).__name__ == "_Subsample":
        size, drawn = plate["fn"].size, len(plate["value"])
        factor = size / drawn
    local = frozenset(n for n, s in sites.items() if _data_dim(pair, s) is not None)
    outside = [n for n in sites if n not in local]

    tempered, objections = [], []
    for name, site in [*in_model.items(), *in_guide.items()]:
        scale = site["scale"]
        expected = factor if name in local else 1.0
        if isinstance(scale, Tensor) or abs(scale - expected) > 1e-6 * expected:
            tempered.append(
                f"site '{name}' is scaled by {float(scale) / expected:.6g} (poutine.scale, or a subsampled plate that is "
                f"not '{pair.data_plate}'), which makes its log weight one of another density"
            )
    for name in latents:
        if not _same_mask(in_guide[name]["mask"], in_model[name]["mask"]):
            tempered.append(
                f"latent '{name}' has one mask in the model and another in the guide: use the same poutine.mask in both"
            )
    if size is None:
        objections.append(
            f"no vectorized plate named '{pair.data_plate}' holds the data: write "
            f"`with pyro.plate('{pair.data_plate}', len(x)):`, or set data_plate to the name you use"
        )
    elif size != rows:
        objections.append(
            f"plate '{pair.data_plate}' has size {size} where the batch has {rows} rows: give it the batch's length"
        )
    if outside and size is not None:
        kind = "latent" if outside[0] not in in_model or not in_model[outside[0]]["is_observed"] else "observed"
        objections.append(
            f"{kind} site '{outside[0]}' lies outside plate '{pair.data_plate}', so that all data share it: only a joint "
            "bound of all of them exists"
        )
    same_order = [n for n in in_model if n in latents] == latents
    return Structure(
        latents=tuple(latents),
        observed=tuple(n for n, s in in_model.items() if s["is_observed"]),
        local=local,
        reparameterized=frozenset(n for n in in_guide if getattr(in_guide[n]["fn"], "has_rsample", False)),
        analytic=frozenset(n for n in latents if same_order and _has_closed_form(in_guide[n], in_model[n])),
        nesting=nesting,
        objections=(*objections, *dict.fromkeys(tempered)),
        joint_objections=tuple(dict.fromkeys(tempered)),
        subsampled=factor != 1.0,
        amortized=amortized,
        loop=loop,
    )


def _same_mask(first: Any, second: Any) -> bool:
    tensors = [mask if isinstance(mask, Tensor) else torch.tensor(mask is not False) for mask in (first, second)]
    try:
        return bool((tensors[0].cpu() == tensors[1].cpu()).all())
    except RuntimeError:
        return False


def _has_closed_form(guide: Any, model: Any) -> bool:
    if guide["scale"] is not model["scale"] and guide["scale"] != model["scale"]:
        return False
    try:
        torch.distributions.kl_divergence(guide["fn"], model["fn"])
    except NotImplementedError:
        return False
    return True
