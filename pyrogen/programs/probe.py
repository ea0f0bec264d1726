"""One checked run of a pair on a batch, from which its structure is read.

What is refused here is refused for good: a latent without a guide site, data outside the likelihood's support,
a batch dimension that no plate declares. What only some uses cannot bear (a scaled site, a global latent) is kept as an
objection, which those uses raise.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any
from weakref import WeakSet

import pyro
import pyro.poutine as poutine
import torch
from pyro.distributions import Delta, Unit
from pyro.infer.autoguide import AutoGuide
from pyro.poutine import Trace
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.module import register_module_forward_pre_hook

from ..batch import Batch, arguments, index, length
from ..errors import PairError
from ..randomness import forked, seed_generators
from . import faults
from .functional import shaken
from .independence import independent_plates
from .matching import check_draws, check_latent_shapes, check_shapes, check_sites, check_sizeless_plate, check_support, grey
from .program import Program
from .pyro_errors import fault_and_site
from .pyro_store import taken_over
from .run import forget_plates, own_gradients, run_guide
from .source_lines import LineRecorder, line_of_error, program_line
from .structure import Objection, Structure, evaluation_mode
from .traces import data_dim, frames, innermost, is_sizeless, is_subsample, mask_of, samples
from .vectorization import run_of_part, vectorization_failure

__all__ = ["frozen_stay_frozen", "probe"]

_PROBED_ROWS = 4096
_COMPARED_ROWS = 4
_PLATES = 4


def probe(pair: Program, batch: Batch) -> Structure:
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
        frozen_stay_frozen(pair),
        _own_networks(pair),
        pair.scope(),
        _GreyPixels(),
    ):
        try:
            probed, guide, model = _first_run(pair, batch)
        except PairError as error:
            # Not what is refused without a program having raised, such as a site that the guide observes.
            if error.__cause__ is None or (enumerated := _enumerated_traces(pair, batch)) is None:
                raise
            return _describe_enumerated(pair, length(batch), *enumerated, error)
        check_sites(pair, guide, model)
        nesting = max([0, *(-frame.dim for trace in (guide, model) for frame in frames(trace))])
        nesting = max([nesting, *(_single_dims(site) for trace in (guide, model) for _, site in samples(trace))])
        check_shapes(nesting, guide, model)
        check_sizeless_plate(pair, length(probed), guide, model)
        check_support(model)
        amortized, entangled = run_of_part(pair, probed, nesting, guide, model)
        compared = index(probed, slice(_COMPARED_ROWS)) if amortized else probed
        loop = vectorization_failure(pair, compared, nesting, guide)
        if loop is not None and compared is not probed and _takes_a_fixed_number(guide, model):
            loop = vectorization_failure(pair, probed, nesting, guide)  # of so few rows it could not take that many
        points = _point_masses(pair, probed, nesting, guide, model)
        independent: frozenset[str] = frozenset()
        if any(not getattr(site["fn"], "has_rsample", False) for _, site in samples(guide)):
            parameters = {id(value): value for _, value in pyro.get_param_store().named_parameters()}
            parameters |= {id(value): value for value in pair.parameters()}
            with suppress(Exception), shaken(parameters.values()):  # whatever the programs raise on values not their own
                independent = independent_plates(pair, compared if loop is None else probed, nesting)
    structure = _describe(pair, length(probed), guide, model, nesting, amortized, loop, entangled, points)
    return replace(structure, independent=independent)


@contextmanager
def _own_random_numbers(batch: Batch) -> Iterator[None]:
    """Draw from generators that are put back, seeded anew so that a random start is unlike the draws that follow."""
    with forked(batch):
        seed_generators(batch, int(torch.randint(2**62, (), device="cpu")))
        yield


def _single_dims(site: Any) -> int:
    """Batch dimensions of a site all of which have one element, as ``Normal(torch.zeros(1), 1.0)``'s: no plate is needed."""
    shape = torch.Size(site["fn"].batch_shape)
    return len(shape) if shape.numel() == 1 else 0


class _GreyPixels(Messenger):
    """Do without validation of a Bernoulli that observes grey pixels: training on them is sound."""

    def _pyro_sample(self, msg: Any) -> None:
        if msg["is_observed"] and grey(msg["fn"], msg["value"]):
            innermost(msg["fn"])._validate_args = False


@contextmanager
def frozen_stay_frozen(pair: Program) -> Iterator[None]:
    """Undo that Pyro's parameter store makes every parameter that it meets require a gradient."""
    frozen = [parameter for parameter in pair.parameters() if not parameter.requires_grad]
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)


@contextmanager
def _own_networks(pair: Program) -> Iterator[None]:
    """Refuse layers whose mode the pair's ``eval()`` does not set, and warn of those whose parameters no fit trains."""
    called: WeakSet[nn.Module] = WeakSet()  # what a run makes for itself is gone after it

    def check(module: nn.Module, inputs: Any) -> None:
        called.add(module)
        if module.training and isinstance(module, _DropoutNd | _BatchNorm) and all(module is not m for m in pair.modules()):
            raise faults.UNOWNED_NETWORK.error(
                f"the pair runs a {type(module).__name__} that it does not own, so that the layer would stay in training "
                "mode when the pair is evaluated",
                line=program_line(sys._getframe(1)),
            )

    handle = register_module_forward_pre_hook(check)
    try:
        yield
    finally:
        handle.remove()
    own = {id(parameter) for parameter in pair.parameters()}
    for module in called:
        if any(p is not None and p.requires_grad and id(p) not in own for p in module._parameters.values()):
            warnings.warn(
                f"the pair runs a {module} whose parameters are not the pair's, so that no fit trains them: register its "
                "network by pyro.module, name it in the model or guide itself, make the pair a subclass of Pair with the "
                "network as an attribute, or freeze it by requires_grad_(False)",
                stacklevel=5,
            )


def _first_run(pair: Program, batch: Batch) -> tuple[Batch, Any, Any]:
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
    kept = before["params"].keys() | taken_over()
    made = [name for name, value in store.named_parameters() if name not in kept and id(value) not in own]
    if guide is not None and not made:
        return part, guide, model
    # A parameter made in this run may have taken its size from the number of rows.
    for name in made:
        del store[name]
    store.set_state(before)
    return batch, *_traces(pair, batch)


def _traces(pair: Program, batch: Batch) -> tuple[Any, Any]:
    guide = _trace(pair, batch, "guide", Trace())
    for name, site in samples(guide):
        if site["is_observed"] and not site["infer"].get("_deterministic") and not isinstance(site["fn"], Unit):
            raise faults.OBSERVED_IN_GUIDE.error(f"site '{name}' is observed in the guide", site=name, line=site.get("line"))
        if isinstance(site["fn"], Unit) and "has_rsample" not in vars(site["fn"]):
            raise faults.FACTOR_WITHOUT_KIND.error(
                f"pyro.factor('{name}', ...) in the guide must say whether it comes from reparameterized draws",
                site=name,
                line=site.get("line"),
            )
    return guide, _trace(pair, batch, "model", guide)


def _trace(pair: Program, batch: Batch, role: str, replayed: Trace) -> Trace:
    args, kwargs = arguments(batch)
    program, rows = getattr(pair, role), length(batch)
    try:
        with own_gradients(pair), poutine.trace() as tracer, poutine.replay(trace=replayed), LineRecorder():
            program(*args, **kwargs)
        return tracer.trace
    except PairError:
        raise
    except Exception as error:  # whatever the program raises
        forget_plates(pair)
        if "does not require grad" in str(error) and not pair.differentiates:
            pair.differentiates = True
            return _trace(pair, batch, role, replayed)
        # What the program cannot bear may be the data, or draws that its prior would not make.
        _check_finite(role, batch)
        if role == "model":
            check_latent_shapes(replayed, tracer.trace)
            check_draws(tracer.trace)
        fault, site = fault_and_site(error, pair.data_plate, rows)
        raise fault.error(
            f"the {role} does not run on this batch: {type(error).__name__}: {error}",
            remedy=None if fault is faults.NAME_TWICE else "",
            site=site,
            line=line_of_error(error),
        ) from error


def _enumerated_traces(pair: Program, batch: Batch) -> tuple[Any, Any, int] | None:
    """Traces of guide and model as ``TraceEnum_ELBO`` runs them, and the number of plate dimensions that it must be told.

    None where they do not run so, either, or have no site to enumerate.
    """
    args, kwargs = arguments(batch)
    for nesting in range(_PLATES):
        forget_plates(pair)
        with suppress(Exception):  # whatever the programs raise, where they take other plate dimensions for granted
            with poutine.trace() as guide, poutine.enum(first_available_dim=-1 - nesting):
                pair.guide(*args, **kwargs)
            with poutine.trace() as model, poutine.replay(trace=guide.trace), poutine.enum():
                pair.model(*args, **kwargs)
            traces = guide.trace, model.trace
            enumerated = any("_enumerate_dim" in site["infer"] for trace in traces for _, site in samples(trace))
            if enumerated and all(-frame.dim <= nesting for trace in traces for frame in frames(trace)):
                return *traces, nesting
    return None


def _describe_enumerated(pair: Program, rows: int, guide: Any, model: Any, nesting: int, error: PairError) -> Structure:
    objection = faults.ENUMERATED_ONLY.objection(
        "the programs run only where Pyro enumerates their discrete latents",
        remedy=f"train with PyroLoss(TraceEnum_ELBO(max_plate_nesting={nesting})); for any other use, let them run on a "
        f"single value of each latent, where now {error.seen}",
    )
    structure = _describe(pair, rows, guide, model, nesting, False, None, None, [])
    return replace(
        structure,
        objections=(objection, *structure.objections),
        joint_objections=(objection, *structure.joint_objections),
        rows=rows,
    )


def _takes_a_fixed_number(*traces: Any) -> bool:
    """Whether a plate draws a subsample of a size of its own."""
    plates = [node for trace in traces for node in trace.nodes.values() if is_subsample(node)]
    return any(plate["fn"].subsample_size not in (None, plate["fn"].size) for plate in plates)


def _check_finite(role: str, batch: Batch) -> None:
    """Refuse a batch, on which a program has failed, for the values in it that are missing or infinite."""
    args, kwargs = arguments(batch)
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor) and not bool(value.isfinite().all()):
            where = (~value.isfinite()).nonzero()[0].tolist()
            raise faults.DATUM_OUTSIDE_SUPPORT.error(
                f"the {role} does not run on this batch, which holds {float(value[tuple(where)])} at index {where}",
                remedy="fill missing values in, and mask them (poutine.mask)",
            )


def _point_masses(pair: Program, batch: Batch, nesting: int, guide: Any, model: Any) -> list[str]:
    """Continuous latents to which the guide gives one value only, whatever else it draws."""
    suspects = [
        name
        for name, site in samples(guide)
        if isinstance(innermost(site["fn"]), Delta)
        and not site["is_observed"]
        and name in model.nodes
        and not model.nodes[name]["fn"].support.is_discrete
    ]
    if not suspects:
        return []
    args, kwargs = arguments(batch)
    indices = {name: node["value"] for name, node in guide.nodes.items() if is_subsample(node)}
    again = run_guide(pair, args, kwargs, nesting=nesting, indices=indices).visited
    return [name for name in suspects if torch.equal(again[name].value, guide.nodes[name]["value"])]


def _describe(
    pair: Program,
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
        {name: site for name, site in samples(trace) if not site["infer"].get("_deterministic")} for trace in (guide, model)
    )
    latents = [name for name in in_guide if name in in_model]
    plate = model.nodes.get(pair.data_plate)
    factor, size, fixed = 1.0, None, False
    if plate is not None and is_subsample(plate):
        size, fixed = plate["fn"].size, plate["fn"].subsample_size is not None
        factor = size / len(plate["value"])
    elif is_sizeless(pair, model):
        size = rows
    local = frozenset(n for n, s in {**in_model, **in_guide}.items() if data_dim(pair, s) is not None)
    tempered = list(dict.fromkeys(_tempered(pair, in_guide, in_model, factor)))
    tempered += [
        faults.POINT_MASS.objection(
            f"the guide gives latent '{name}' a single value (Delta): the log density at a point is no bound on the "
            "evidence, so it can be trained towards with ELBO, but not be reported",
            remedy="",
            site=name,
        )
        for name in points
    ]
    in_turn = any(f.name == pair.data_plate and f.dim is None for s in in_model.values() for f in s["cond_indep_stack"])
    taken = len(plate["value"]) if plate is not None and is_subsample(plate) else rows
    if not pair.has_density:
        tempered.append(
            faults.NO_DENSITY.objection(
                f"{type(pair).__name__} draws data and has no density of its own",
                remedy="give it an observation part: pyrogen.models.Observed(sampler, likelihood)",
            )
        )
    objections = list(_shared(pair, in_guide, in_model, local, rows, size, taken, in_turn))
    if entangled is not None and entangled in local:
        objections.append(
            faults.DATA_MIXED.objection(
                f"site '{entangled}' gives a datum another log probability when other data stand beside it",
                site=entangled,
                plate=pair.data_plate,
            )
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


def _tempered(pair: Program, guide: dict[str, Any], model: dict[str, Any], factor: float) -> Iterator[Objection]:
    """Why log weights are those of another density than the model's."""
    for name, site in [*model.items(), *guide.items()]:
        in_data_plate = any(f.name == pair.data_plate for f in site["cond_indep_stack"])  # or in one turn of its loop
        scale, expected = site["scale"], factor if in_data_plate else 1.0
        if isinstance(scale, Tensor) or abs(scale - expected) > 1e-6 * expected:
            by = "a tensor" if isinstance(scale, Tensor) else f"{scale / expected:.6g}"
            other = next((f for f in site["cond_indep_stack"] if f.name != pair.data_plate and f.size != f.full_size), None)
            cause = "poutine.scale" if other is None else f"plate '{other.name}' draws a subsample"
            yield (faults.SCALED_SITE if other is None else faults.OTHER_PLATE_SUBSAMPLED).objection(
                f"site '{name}' is scaled by {by} ({cause}), which makes its log weight one of another density",
                remedy="",
                site=name,
            )
    for name in guide:
        if name in model and not _same_mask(guide[name], model[name]):
            yield faults.MASKS_DIFFER.objection(
                f"latent '{name}' has one mask in the model and another in the guide", site=name
            )


def _shared(
    pair: Program,
    guide: dict[str, Any],
    model: dict[str, Any],
    local: frozenset[str],
    rows: int,
    size: int | None,
    taken: int,
    in_turn: bool,
) -> Iterator[Objection]:
    """Why log weights are not those of each datum, but of all together."""
    plate = pair.data_plate
    if in_turn:
        yield faults.SEQUENTIAL_PLATE.objection(f"plate '{plate}' is sequential (`for i in pyro.plate(...)`)", plate=plate)
        return
    if size is None:
        yield faults.NO_DATA_PLATE.objection(f"no vectorized plate named '{plate}' holds the data", plate=plate)
        return
    if size != rows:
        fault = faults.SCALED_UP_BATCH if taken == rows < size else faults.PLATE_SIZE  # a part of more data, or a mistake
        seen = f"plate '{plate}' has size {size} where the batch has {rows} rows"
        yield fault.objection(seen, remedy=faults.PLATE_SIZE.remedy)
    for name, site in {**model, **guide}.items():
        if name not in local:
            kind = "observed" if site["is_observed"] else "latent"
            yield faults.GLOBAL_SITE.objection(
                f"{kind} site '{name}' lies outside plate '{plate}', so that all data share it: only a joint bound exists",
                remedy="",
                site=name,
            )
            return


def _same_mask(first: Any, second: Any) -> bool:
    try:
        return bool((mask_of(first) == mask_of(second)).all())
    except RuntimeError:  # of sizes that don't fit each other
        return False


def _has_closed_form(guide: Any, model: Any) -> bool:
    scales = guide["scale"], model["scale"]
    if scales[0] is not scales[1] and (any(isinstance(scale, Tensor) for scale in scales) or scales[0] != scales[1]):
        return False
    if isinstance(innermost(guide["fn"]), Delta):
        return False  # Pyro's formula leaves out the Delta's own log density
    try:
        torch.distributions.kl_divergence(guide["fn"], model["fn"])
    except (NotImplementedError, RuntimeError, ValueError, IndexError, AttributeError):  # no formula, or shapes that differ
        return False
    return True
