"""Exact log p(x) by summing over all values of discrete latents.

Axes: states (all values of one latent), data, event.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import Any

import torch
from pyro import poutine
from pyro.ops.contract import contract_to_tensor
from pyro.ops.rings import LogRing
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_iter

from pyrogen.batch import Batch, arguments, length
from pyrogen.errors import PairError, PyrogenError, require_at_least
from pyrogen.pair import Pair
from pyrogen.programs.run import run_model
from pyrogen.programs.structure import Structure
from pyrogen.programs.traces import samples

from ..weights.chunks import Block
from ..weights.evaluation import evaluation
from ..weights.memory import DEFAULT_MAX_BYTES, bytes_per_row, first_data
from .estimate import BlockEstimate, Estimator
from .finite_latents import FiniteLatents, too_large, unmasked

__all__ = ["Enumeration"]

_ELEMENTWISE = frozenset(
    f"{side}{name}" for side in ("", "r", "i") for name in ("add", "sub", "mul", "truediv", "div", "pow")
) | {"where", "maximum", "minimum", "logaddexp", "eq"}


class Enumeration(Estimator):
    r"""Exact log p(x) of a pair all of whose latents are discrete and finite: the sum over all of their values.

    .. math::
        \log p(x) = \log \sum_z p(x, z)

    The model alone is run, once for all values of its latents, each along a dimension of its own by Pyro's parallel
    enumeration; the sums are then taken latent by latent. Under ``pyro.markov`` a chain of T latents with K values costs
    T K^2, as the forward algorithm does. A latent that is a vector of independent elements is summed over all vectors.

    Reference:
        Obermeyer et al. 2019, Tensor Variable Elimination for Plated Factor Graphs, https://arxiv.org/abs/1902.03210

    Args:
        max_bytes: memory that one tensor may take; it bounds the product of the supports of latents that meet.

    Example:
        >>> from pyrogen.models import DiscreteVAE
        >>> pair, x = DiscreteVAE((4,), latent=3), torch.ones(2, 4)
        >>> found = Enumeration().estimate(pair, x)
        >>> found.kind, bool(torch.allclose(found.log_prob, pair.log_evidence(x).double(), atol=1e-5))
        ('exact', True)
    """

    name, kind = "Enumeration", "exact"

    def __init__(self, *, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        require_at_least(1, max_bytes=max_bytes)
        self.max_bytes = max_bytes

    def require(self, pair: Pair, batch: Batch) -> None:
        """See `Estimator.require`.

        Raises:
            PairError: a latent is continuous, or has infinitely many values; the message names it.
            ConfigurationError: the sum takes a tensor larger than `max_bytes`; the message says how large.
        """
        super().require(pair, batch)
        structure = pair.structure(batch)
        with evaluation(pair):
            _log_evidence(pair, first_data(batch, structure), structure, self.max_bytes, check=True)

    def begin(self, whole: Block) -> Block:
        """See `Estimator.begin`."""
        pair, structure, rows = whole.pair, whole.structure, whole.rows
        if not structure.amortized:
            return whole.sized(rows)
        each = bytes_per_row(whole.batch, structure, 1, lambda few: _log_evidence(pair, few, structure, self.max_bytes))
        return whole.sized(max(1, min(rows, int(self.max_bytes // each))))

    def block(self, block: Block) -> BlockEstimate:
        """See `Estimator.block`."""
        log_prob = _log_evidence(block.pair, block.batch, block.structure, self.max_bytes)
        return BlockEstimate(log_prob, torch.zeros_like(log_prob))


def _log_evidence(pair: Pair, batch: Batch, structure: Structure, max_bytes: int, *, check: bool = False) -> Tensor:
    """The sum over all values of the latents, (data,), in nats.

    Raises:
        PairError: the model does not run for all values at once.
    """
    try:
        with pair.scope(), _TensorLimit(max_bytes):
            return _contracted(pair, batch, structure, max_bytes, check)
    except PyrogenError:
        raise
    except Exception as error:  # whatever the program raises on tensors with more dimensions
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise PairError(
            f"the model does not run for all values of its latents at once: {type(error).__name__}: {reason}. Each latent "
            "has a dimension of its own, left of the plates: let every line of the model broadcast over such dimensions, "
            "and write long chains under pyro.markov, which uses dimensions anew"
        ) from error


def _contracted(pair: Pair, batch: Batch, structure: Structure, max_bytes: int, check: bool) -> Tensor:
    args, kwargs = arguments(batch)
    enumerated = poutine.enum(first_available_dim=-1 - structure.nesting)
    with poutine.trace() as tracer, enumerated, FiniteLatents(max_bytes):
        pair.model(*args, **kwargs)
    trace = tracer.trace
    trace.compute_log_prob()
    trace.pack_tensors()
    if check:
        _check_one(pair, batch, structure, trace)
    factors: OrderedDict[frozenset[str], list[Tensor]] = OrderedDict()
    summed: set[str] = set()
    for _, site in samples(trace):
        plates = frozenset(trace.plate_to_symbol[f.name] for f in site["cond_indep_stack"] if f.vectorized)
        packed: Any = _factor(site)
        factors.setdefault(plates, []).append(packed)
        summed.update(set(packed._pyro_dims) - set(trace.plate_to_symbol.values()))
    data = trace.plate_to_symbol[pair.data_plate]
    ring = LogRing(dim_to_size={data: length(batch)})  # type: ignore[no-untyped-call]
    target = frozenset({data})
    result: Tensor = contract_to_tensor(factors, summed, target_ordinal=target, ring=ring)  # type: ignore[no-untyped-call]
    return result


def _factor(site: Any) -> Tensor:
    """The log probabilities of a site, a dimension for each plate and latent that they depend on.

    A mask excuses an observation; of a latent it says that it plays no role, and its probabilities still sum to one.
    """
    factor: Tensor = site["packed"]["log_prob" if site["is_observed"] else "unscaled_log_prob"]
    return factor


def _check_one(pair: Pair, batch: Batch, structure: Structure, trace: Any) -> None:
    """Run the model by itself at one value of each latent, and compare with its part in the run of all values.

    A model that does not broadcast, and yet runs, would else give a wrong number by the name of an exact one.
    """
    generator = torch.Generator().manual_seed(0)
    chosen: dict[str, int] = {}
    given = {}
    for name, site in samples(trace):
        if not site["is_observed"]:
            axis = site["infer"]["_enumerate_dim"] - len(site["fn"].event_shape)
            place = int(torch.randint(site["value"].shape[axis], (), generator=generator, device="cpu"))
            chosen[site["infer"]["_enumerate_symbol"]] = place
            given[name] = partial(_spread, site["value"].select(axis, place))
    args, kwargs = arguments(batch)
    for name, site in run_model(pair, args, kwargs, given, nesting=structure.nesting).visited.items():
        part = _factor(trace.nodes[name])
        dims = trace.nodes[name]["packed"]["log_prob"]._pyro_dims
        for axis in reversed(range(len(dims))):
            if dims[axis] in chosen:
                part = part.select(axis, chosen[dims[axis]])
        alone = (site.log_prob() if site.observed else unmasked(site.fn).log_prob(site.value)).squeeze()
        tolerance = 1e-8 if alone.dtype == torch.float64 else 1e-3
        if alone.shape != part.shape or not torch.allclose(alone, part, rtol=tolerance, atol=tolerance, equal_nan=True):
            raise PairError(
                f"site '{name}' has another log probability when all values of the latents are run at once: let every line "
                "of the model broadcast over dimensions left of the plates"
            )


def _spread(value: Tensor, fn: Any) -> Tensor:
    """One value of a latent, for all of its plates."""
    return value.reshape(fn.event_shape).expand(fn.batch_shape + fn.event_shape)


class _TensorLimit(TorchFunctionMode):
    """Refuses a tensor beyond a number of bytes: before it is made where its operands' shapes tell, else after."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__()
        self.max_bytes = max_bytes

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        operands = [arg for arg in args if isinstance(arg, Tensor)]
        if len(operands) > 1 and getattr(func, "__name__", "").strip("_") in _ELEMENTWISE:
            try:
                shape = torch.broadcast_shapes(*(operand.shape for operand in operands))  # type: ignore[no-untyped-call]
            except RuntimeError:
                shape = torch.Size()  # torch says what is wrong
            self._require(shape, max(operand.element_size() for operand in operands))
        result = func(*args, **(kwargs or {}))
        if operands or not isinstance(result, torch.Size | int | bool | str):
            for leaf in tree_iter(result):
                if isinstance(leaf, Tensor):
                    self._require(leaf.shape, leaf.element_size())
        return result

    def _require(self, shape: torch.Size, element_size: int) -> None:
        size = shape.numel() * element_size
        if size > self.max_bytes:
            raise too_large(
                f"the values of latents that meet make a tensor of shape {tuple(shape)}, {size:,}", self.max_bytes
            )
