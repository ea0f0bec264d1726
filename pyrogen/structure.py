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
from pyro.distributions import Delta, ExpandedDistribution, MaskedDistribution, Unit
from pyro.infer.autoguide import AutoGuide
from pyro.poutine import Trace
from pyro.util import check_site_shape
from torch import Tensor, nn
from torch.distributions import Independent
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.module import register_module_forward_pre_hook

from .batch import Batch, arguments, device_of, index, length
from .errors import NotPerDatum, PairError
from .run import Sites, run_guide, run_model

if TYPE_CHECKING:
    from .pair import Pair

__all__ = ["Structure", "evaluation_mode", "probe"]

_PROBED_ROWS = 4096
_PART_ROWS = 64
_COMPARED_ROWS = 4


@dataclass(frozen=True)
class Structure:
    """What a run of a pair showed; the same for every batch of that kind (and length, where `rows` is given)."""

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
    rows: int | None = None
    """Number of data of the only batches of which this is true, or None where it is true of any number."""

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
    length(batch)
    with (
        torch.no_grad(),
        pyro.validation_enabled(True),
        _own_random_numbers(batch),
        evaluation_mode(pair),
        _frozen_stay_frozen(pair),
        _only_own_modes(pair),
        pair.scope(),
    ):
        probed, guide, model = _first_run(pair, batch)
        _check_sites(pair, guide, model)
        nesting = max([0, *(-frame.dim for trace in (guide, model) for frame in _frames(trace))])
        _check_shapes(nesting, guide, model)
        _check_support(model)
        amortized, entangled = _run_of_part(pair, probed, nesting, guide, model)
        compared = index(probed, slice(_COMPARED_ROWS)) if amortized else probed
        loop = _vectorization_failure(pair, compared, nesting)
        points = _point_masses(pair, probed, nesting, guide, model)
    return _describe(pair, length(probed), guide, model, nesting, amortized, loop, entangled, points)


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


@contextmanager
def _own_random_numbers(batch: Batch) -> Iterator[None]:
    """Draw from generators that are put back, seeded anew so that a random start is unlike the draws that follow."""
    devices = [device_of(batch)] if device_of(batch).type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        seed = int(torch.randint(2**62, (), device="cpu"))
        torch.default_generator.manual_seed(seed)
        for device in devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


@contextmanager
def _frozen_stay_frozen(pair: Pair) -> Iterator[None]:
    """Undo that Pyro's parameter store makes every parameter that it meets require a gradient."""
    frozen = [parameter for parameter in pair.parameters() if not parameter.requires_grad]
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)


@contextmanager
def _only_own_modes(pair: Pair) -> Iterator[None]:
    """Refuse dropout and batch normalization in networks that the pair's ``eval()`` does not reach."""

    def check(module: nn.Module, inputs: Any) -> None:
        if module.training and isinstance(module, _DropoutNd | _BatchNorm) and all(module is not m for m in pair.modules()):
            raise PairError(
                f"the pair runs a {type(module).__name__} that it does not own, so that the layer would stay in training "
                "mode when the pair is evaluated: name its network in the model or guide itself (as a closure, a global or "
                "a default), or make the pair a subclass of Pair with the network as an attribute"
            )

    handle = register_module_forward_pre_hook(check)
    try:
        yield
    finally:
        handle.remove()


def _first_run(pair: Pair, batch: Batch) -> tuple[Batch, Any, Any]:
    """Traces of guide and model, on the first rows of a long batch where these show as much."""
    if length(batch) <= _PROBED_ROWS or any(isinstance(m, AutoGuide) and m.prototype_trace is None for m in pair.modules()):
        return batch, *_traces(pair, batch)
    store = pyro.get_param_store()
    before = store.get_state()
    own = {id(parameter) for parameter in pair.parameters()}
    part = index(batch, slice(_PROBED_ROWS))
    try:
        guide, model = _traces(pair, part)
    except PairError:  # it may want all of its rows
        guide = None
    made = [value for name, value in store.named_parameters() if name not in before["params"] and id(value) not in own]
    if guide is not None and not made:
        return part, guide, model
    # A parameter made in this run may have taken its size from the number of rows.
    store.clear()
    store.set_state(before)
    return batch, *_traces(pair, batch)


def _traces(pair: Pair, batch: Batch) -> tuple[Any, Any]:
    args, kwargs = arguments(batch)
    guide = _trace("guide", pair.guide, args, kwargs, Trace())
    for name, site in _samples(guide):
        if site["is_observed"] and not site["infer"].get("_deterministic") and not isinstance(site["fn"], Unit):
            raise PairError(f"site '{name}' is observed in the guide: observe it in the model only")
        if isinstance(site["fn"], Unit) and "has_rsample" not in vars(site["fn"]):
            raise PairError(
                f"pyro.factor('{name}', ...) in the guide must say whether it comes from reparameterized draws: give it "
                "has_rsample=True or has_rsample=False"
            )
    return guide, _trace("model", pair.model, args, kwargs, guide)


def _trace(role: str, program: Any, args: tuple[Any, ...], kwargs: dict[str, Any], replayed: Trace) -> Trace:
    try:
        with poutine.trace() as tracer, poutine.replay(trace=replayed):
            program(*args, **kwargs)
        return tracer.trace
    except PairError:
        raise
    except Exception as error:  # whatever the program raises
        raise PairError(f"the {role} does not run on this batch: {type(error).__name__}: {error}") from error


def _samples(trace: Any) -> list[tuple[str, Any]]:
    """Sample sites of a trace, without the draws of subsample indices."""
    return [(name, site) for name, site in trace.nodes.items() if site["type"] == "sample" and not _is_subsample(site)]


def _is_subsample(node: Any) -> bool:
    return type(node.get("fn")).__name__ == "_Subsample"


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
        other = in_guide.get(name)
        if site["is_observed"] and other is not None and not other["infer"].get("_deterministic"):
            role = "computed (pyro.deterministic)" if site["infer"].get("_deterministic") else "observed"
            use = "has a pyro.factor of that name" if other["is_observed"] else "samples it"
            raise PairError(f"site '{name}' is {role} in the model, yet the guide {use}: remove or rename one")
    for name, site in in_guide.items():
        if site["is_observed"]:  # a factor or something computed
            continue
        if name not in in_model:
            if not site["infer"].get("is_auxiliary"):
                known = ", ".join(repr(n) for n, s in in_model.items() if not s["is_observed"]) or "none"
                raise PairError(
                    f"site '{name}' of the guide is no site of the model (its latents: {known}): rename it, "
                    "or mark it with infer={'is_auxiliary': True}"
                )
            continue
        ours, theirs = _data_dim(pair, site), _data_dim(pair, in_model[name])
        if ours != theirs:
            there, here = (
                f"outside plate '{pair.data_plate}'" if dim is None else f"at plate dimension {dim}"
                for dim in (ours, theirs)
            )
            raise PairError(f"site '{name}' is {there} in the guide and {here} in the model: use the same plates")
    _check_plates(guide, model)
    if not any(site["is_observed"] and not site["infer"].get("_deterministic") for site in in_model.values()):
        raise PairError("the model observes nothing: give a pyro.sample statement obs=<the data>")


def _check_plates(guide: Any, model: Any) -> None:
    """The plates that guide and model share have one size, and the latents one shape."""
    for name, node in guide.nodes.items():
        other = model.nodes.get(name)
        if other is None or not _is_subsample(node) or not _is_subsample(other):
            continue
        if node["fn"].size != other["fn"].size:
            raise PairError(
                f"plate '{name}' has size {node['fn'].size} in the guide and {other['fn'].size} in the model: give both the "
                "same size (a guide with parameters for each datum, such as an autoguide, fits one data set only)"
            )
    for name, site in _samples(guide):
        if name not in model.nodes or site["is_observed"]:
            continue
        shapes = [(tuple(s["fn"].batch_shape), tuple(s["fn"].event_shape)) for s in (site, model.nodes[name])]
        (ours, our_event), (theirs, their_event) = shapes
        if our_event != their_event or _without_leading_ones(ours) != _without_leading_ones(theirs):
            raise PairError(
                f"site '{name}' has batch shape {ours} and event shape {our_event} in the guide, and {theirs} and "
                f"{their_event} in the model: use the same plates and the same .to_event(...) in both"
            )


def _without_leading_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[next((place for place, size in enumerate(shape) if size != 1), len(shape)) :]


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
                if "within the support" not in str(error):
                    raise PairError(
                        f"site '{name}': {error}. Every batch dimension must lie in a plate: declare event dimensions "
                        "with .to_event(...), or enter a pyro.plate"
                    ) from error
                if not site["is_observed"]:
                    raise PairError(
                        f"site '{name}': the guide draws a value outside the support of the model's "
                        f"{_with_support(_innermost(site['fn']))}: give the guide a distribution of the same support"
                    ) from error
                # `_check_support` says it better


def _check_support(model: Any) -> None:
    for name, site in _samples(model):
        if not site["is_observed"] or site["infer"].get("_deterministic") or not isinstance(site["value"], Tensor):
            continue
        fn = _innermost(site["fn"])  # element by element, where the event is one of independent elements
        try:
            valid = fn.support.check(site["value"])
        except (AttributeError, NotImplementedError):  # a distribution that does not know its support
            continue
        if bool(valid.all()):
            continue
        where = (~valid).nonzero()[0].tolist()
        value = site["value"] if site["value"].dim() > valid.dim() else site["value"].expand_as(valid)
        value = value[tuple(where)]
        seen = f"{value.item():.6g}" if value.numel() == 1 else str(value.tolist()[:8])
        masked = " A mask does not excuse it: fill in some value of the support." if site["mask"] is not None else ""
        raise PairError(
            f"site '{name}' observes a value outside the support of {_with_support(fn)} at index {where}: {seen}. "
            f"Binarize or rescale the data, or choose another likelihood.{masked}"
        )


def _with_support(fn: Any) -> str:
    support = str(fn.support)
    if "tensor" in support:  # bounds for each element
        support = type(fn.support).__name__.strip("_")
    return f"{type(fn).__name__} ({support})"


def _innermost(fn: Any) -> Any:
    while isinstance(fn, Independent | MaskedDistribution | ExpandedDistribution):
        fn = fn.base_dist
    return fn


def _data_dim(pair: Pair, site: Any) -> int | None:
    return next((frame.dim for frame in site["cond_indep_stack"] if frame.name == pair.data_plate), None)


def _run_of_part(pair: Pair, batch: Batch, nesting: int, guide: Any, model: Any) -> tuple[bool, str | None]:
    """Whether the pair runs on a part of the batch, and, if so, which site tells the part from the whole.

    A datum whose log probability depends on the other data, for the same latents, has none of its own.
    """
    rows = length(batch)
    if rows < 2:
        return True, None
    part = index(batch, slice(min(_PART_ROWS, max(1, rows // 2))))
    args, kwargs = arguments(part)
    try:
        drawn = run_guide(pair, args, kwargs, nesting=nesting)
        seen = run_model(pair, args, kwargs, drawn.latents(), indices=drawn.indices, nesting=nesting)
        size = seen.subsample_size or length(part)
        for site in (*drawn.visited.values(), *seen.visited.values()):
            shape = site.log_prob().shape
            if site.dim is not None and shape[site.dim] != size:
                return False, None
    except Exception:  # whatever the program raises when its rows are missing
        return False, None
    plate = model.nodes.get(pair.data_plate)
    if plate is None or size != length(part) or len(plate["value"]) != rows:
        return True, None  # no plate, or the whole and the part have drawn other rows
    values = {
        name: _narrow(site["value"], _data_dim(pair, site), site["fn"].event_dim, size)
        for name, site in _samples(guide)
        if not site["is_observed"] and not isinstance(_innermost(site["fn"]), Delta)
    }
    whole = {
        (role, name): _narrow(site["log_prob"], _data_dim(pair, site), 0, size)
        for role, trace in (("guide", guide), ("model", model))
        for name, site in _samples(trace)
    }
    seen_twice = [_log_probs(pair, part, nesting, values) for _ in range(2)]
    for key, (dim, once) in seen_twice[0].items():
        again = seen_twice[1][key][1]
        # What differs from run to run anyway, as under noise that is no site, says nothing.
        if dim is not None and key in whole and _close(once, again) and not _close(once, whole[key], slack=10.0):
            return True, key[1]
    return True, None


def _log_probs(
    pair: Pair, batch: Batch, nesting: int, latents: dict[str, Tensor]
) -> dict[tuple[str, str], tuple[int | None, Tensor]]:
    """Data dimension and log probability, not masked, of each site of guide and model, for given latents."""
    args, kwargs = arguments(batch)
    guide = run_guide(pair, args, kwargs, nesting=nesting, given=latents)
    model = run_model(pair, args, kwargs, guide.latents(), indices=guide.indices, nesting=nesting)
    return {
        (role, name): (site.dim, site.fn.log_prob(site.value))
        for role, sites in (("guide", guide), ("model", model))
        for name, site in sites.visited.items()
    }


def _narrow(value: Tensor, dim: int | None, event_dim: int, size: int) -> Tensor:
    return value if dim is None else value.narrow(dim - event_dim, 0, size)


def _vectorization_failure(pair: Pair, batch: Batch, nesting: int) -> str | None:
    """Run particles at once and one after the other on the same latents: do they agree?

    The latents are the guide's, and then the prior's: those of a guide that has collapsed hardly differ.
    """
    args, kwargs = arguments(batch)
    count = 2
    try:
        guide = run_guide(pair, args, kwargs, nesting=nesting)
        taken = {length(batch), *(size for latent in guide.latents().values() for size in latent.shape)}
        # Another number than any dimension has, or a particle could pass for one of these.
        count = next(number for number in (2, 3, 5, 7, 11, 13, 17) if number not in taken or number == 17)
        guide = run_guide(pair, args, kwargs, particles=count, nesting=nesting)
        model = run_model(pair, args, kwargs, guide.latents(), indices=guide.indices, particles=count, nesting=nesting)
        for particle in range(count):
            given = _of_particle(guide, particle, nesting)
            alone = [run_guide(pair, args, kwargs, nesting=nesting, given=given, indices=guide.indices) for _ in range(2)]
            after = [run_model(pair, args, kwargs, a.latents(), indices=guide.indices, nesting=nesting) for a in alone]
            different = _difference(alone, guide, particle, nesting) or _difference(after, model, particle, nesting)
            if different:
                return different
    except Exception as error:  # whatever the program raises on tensors with one more dimension
        reason = (str(error).splitlines() or ["no reason given"])[0]
        return f"{count} particles do not run at once: {type(error).__name__}: {reason}"
    try:
        prior = run_model(pair, args, kwargs, {}, indices=guide.indices, particles=count, nesting=nesting, draw=True)
        for particle in range(count):
            given = _of_particle(prior, particle, nesting)
            alone = [
                run_model(pair, args, kwargs, given, indices=guide.indices, nesting=nesting, draw=True) for _ in range(2)
            ]
            if different := _difference(alone, prior, particle, nesting):
                return different
    except Exception:  # a prior that cannot be drawn from, or draws that the model cannot bear
        return None
    return None


def _of_particle(sites: Sites, particle: int, nesting: int) -> dict[str, Tensor]:
    """The latents of one particle, those left out that follow from others and are the same but for rounding."""
    return {
        name: site.value[particle] if site.value.dim() > nesting + site.fn.event_dim else site.value
        for name, site in sites.visited.items()
        if not site.observed and not isinstance(_innermost(site.fn), Delta)
    }


def _difference(alone: list[Sites], together: Sites, particle: int, nesting: int) -> str | None:
    """The site at which two runs of one particle agree with each other, and not with the run of all."""
    for name, site in alone[0].visited.items():
        once, again, many = site.log_prob(), alone[1].visited[name].log_prob(), together.visited[name].log_prob()
        many = many[particle] if many.dim() > nesting else many
        shapes = [(1,) * (nesting - values.dim()) + tuple(values.shape) for values in (once, many)]  # (plates...)
        if _close(once, again) and (shapes[0] != shapes[1] or not _close(once.reshape(shapes[0]), many.reshape(shapes[1]))):
            return f"site '{name}' has another log probability when several particles run at once"
    return None


def _close(first: Tensor, second: Tensor, slack: float = 1.0) -> bool:
    if first.shape != second.shape:
        return False
    tolerance = slack * (1e-8 if first.dtype == torch.float64 else 1e-3)
    return torch.allclose(first, second, rtol=tolerance, atol=tolerance, equal_nan=True)


def _point_masses(pair: Pair, batch: Batch, nesting: int, guide: Any, model: Any) -> list[str]:
    """Continuous latents to which the guide gives one value only, whatever else it draws."""
    suspects = [
        name
        for name, site in _samples(guide)
        if isinstance(_innermost(site["fn"]), Delta)
        and not site["is_observed"]
        and name in model.nodes
        and not model.nodes[name]["fn"].support.is_discrete
    ]
    if not suspects:
        return []
    args, kwargs = arguments(batch)
    indices = {name: node["value"] for name, node in guide.nodes.items() if _is_subsample(node)}
    again = run_guide(pair, args, kwargs, nesting=nesting, indices=indices).visited
    return [name for name in suspects if torch.equal(again[name].value, guide.nodes[name]["value"])]


def _describe(
    pair: Pair,
    rows: int,
    guide: Any,
    model: Any,
    nesting: int,
    amortized: bool,
    loop: str | None,
    entangled: str | None,
    points: list[str],
) -> Structure:
    in_guide, in_model = (
        {name: site for name, site in _samples(trace) if not site["infer"].get("_deterministic")} for trace in (guide, model)
    )
    latents = [name for name in in_guide if name in in_model]
    plate = model.nodes.get(pair.data_plate)
    factor, size, fixed = 1.0, None, False
    if plate is not None and _is_subsample(plate):
        size, fixed = plate["fn"].size, plate["fn"].subsample_size is not None
        factor = size / len(plate["value"])
    local = frozenset(n for n, s in {**in_model, **in_guide}.items() if _data_dim(pair, s) is not None)
    tempered = list(dict.fromkeys(_tempered(pair, in_guide, in_model, local, factor)))
    tempered += [
        f"the guide gives latent '{name}' a single value (Delta): the log density at a point is no bound on the evidence, "
        "so it can be trained towards with ELBO, but not be reported"
        for name in points
    ]
    in_turn = any(f.name == pair.data_plate and f.dim is None for s in in_model.values() for f in s["cond_indep_stack"])
    objections = list(_shared(pair, in_guide, in_model, local, rows, size, in_turn))
    if entangled is not None and entangled in local:
        objections.append(
            f"site '{entangled}' gives a datum another log probability when other data stand beside it: let nothing inside "
            f"plate '{pair.data_plate}' mix the data, as batch statistics do"
        )
    same_order = [n for n in in_model if n in latents] == latents
    return Structure(
        latents=tuple(latents),
        observed=tuple(n for n, s in in_model.items() if s["is_observed"]),
        local=local,
        reparameterized=frozenset(n for n in in_guide if getattr(in_guide[n]["fn"], "has_rsample", False)),
        analytic=frozenset(n for n in latents if same_order and _has_closed_form(in_guide[n], in_model[n])),
        nesting=nesting,
        objections=(*objections, *tempered),
        joint_objections=tuple(tempered),
        subsampled=factor != 1.0,
        amortized=amortized,
        loop=loop,
        rows=None if amortized and rows > 1 and size == rows and not fixed and not in_turn else rows,
    )


def _tempered(
    pair: Pair, guide: dict[str, Any], model: dict[str, Any], local: frozenset[str], factor: float
) -> Iterator[str]:
    """Why log weights are those of another density than the model's."""
    for name, site in [*model.items(), *guide.items()]:
        scale, expected = site["scale"], factor if name in local else 1.0
        if isinstance(scale, Tensor) or abs(scale - expected) > 1e-6 * expected:
            by = "a tensor" if isinstance(scale, Tensor) else f"{scale / expected:.6g}"
            yield (
                f"site '{name}' is scaled by {by} (poutine.scale, or a subsampled plate that is "
                f"not '{pair.data_plate}'), which makes its log weight one of another density"
            )
    for name in guide:
        if name in model and not _same_mask(guide[name]["mask"], model[name]["mask"]):
            yield f"latent '{name}' has one mask in the model and another in the guide: use the same poutine.mask in both"


def _shared(
    pair: Pair,
    guide: dict[str, Any],
    model: dict[str, Any],
    local: frozenset[str],
    rows: int,
    size: int | None,
    in_turn: bool,
) -> Iterator[str]:
    """Why log weights are not those of each datum, but of all together."""
    plate = pair.data_plate
    if in_turn:
        yield f"plate '{plate}' is sequential (`for i in pyro.plate(...)`): write `with pyro.plate('{plate}', len(x)):`"
        return
    if size is None:
        yield (
            f"no vectorized plate named '{plate}' holds the data: write "
            f"`with pyro.plate('{plate}', len(x)):`, or set data_plate to the name you use"
        )
        return
    if size != rows:
        yield f"plate '{plate}' has size {size} where the batch has {rows} rows: give it the batch's length"
    for name, site in {**model, **guide}.items():
        if name not in local:
            kind = "observed" if site["is_observed"] else "latent"
            yield f"{kind} site '{name}' lies outside plate '{plate}', so that all data share it: only a joint bound exists"
            return


def _same_mask(first: Any, second: Any) -> bool:
    tensors = [mask if isinstance(mask, Tensor) else torch.tensor(mask is not False) for mask in (first, second)]
    try:
        return bool((tensors[0].cpu() == tensors[1].cpu()).all())
    except RuntimeError:
        return False


def _has_closed_form(guide: Any, model: Any) -> bool:
    scales = guide["scale"], model["scale"]
    if scales[0] is not scales[1] and (any(isinstance(scale, Tensor) for scale in scales) or scales[0] != scales[1]):
        return False
    if isinstance(_innermost(guide["fn"]), Delta):
        return False  # Pyro's formula leaves out the Delta's own log density
    try:
        torch.distributions.kl_divergence(guide["fn"], model["fn"])
    except NotImplementedError:
        return False
    return True
