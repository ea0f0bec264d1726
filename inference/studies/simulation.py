"""Latents and data drawn together from a pair's model: data whose latents are known.

Axes: data, other plates, event.
"""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions import Unit
from pyro.poutine.messenger import Messenger
from torch import Tensor

from pyrogen.batch import Batch, arguments, map_tensors
from pyrogen.errors import NotPerDatum, PairError
from pyrogen.pair import Pair
from pyrogen.programs.run import Site, run_model
from pyrogen.programs.traces import is_subsample

from ..weights.evaluation import evaluation

__all__ = ["simulate"]


def simulate(pair: Pair, batch: Batch) -> tuple[Batch, dict[str, Tensor]]:
    """Draw latents from the prior and data from the likelihood: as many as the batch has rows.

    ``z_i ~ p(z),  x_i ~ p(x | z_i)``, so that ``z_i`` is one exact draw from the posterior of ``x_i``.

    What an observed site draws is written over the part of the batch that the site observes; what no site observes
    (labels that the pair is conditioned on) stays as it is. A batch whose later values depend on earlier ones (``x[:, t]``
    on ``x[:, t - 1]``) is drawn in the model's own order. Where a site is masked, the batch keeps its values.

    Args:
        pair: the pair; its model is run in evaluation mode, on the generator that torch uses at the time.
        batch: data of the kind wanted.

    Returns:
        A batch of the same kind, and the latents by site, each (data, other plates..., event...).

    Raises:
        NotPerDatum: the data are not independent of each other; the message names the site.
        PairError: what a site observes is no part of the batch, or the batch has it in two places; a site is no draw from a
            distribution; the model computes a distribution from the very data that it is to draw.

    Example:
        >>> from pyrogen.models import LinearGaussianVAE
        >>> x, latents = simulate(LinearGaussianVAE((4,), latent=2), torch.zeros(3, 4))
        >>> x.shape, latents["z"].shape
        (torch.Size([3, 4]), torch.Size([3, 2]))
    """
    structure = pair.structure(batch)
    structure.require_per_datum("drawing data one by one")
    if structure.subsampled:
        raise NotPerDatum(f"plate '{pair.data_plate}' draws a subsample of the batch: give the plate no subsample_size")
    fresh = map_tensors(batch, lambda tensor: tensor.detach().clone(memory_format=torch.contiguous_format))
    args, kwargs = arguments(fresh)
    with evaluation(pair), pair.scope():
        with _Drawing([value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]) as drawing:
            model = run_model(pair, args, kwargs, {}, nesting=structure.nesting, draw=True)
        latents = {name: site for name, site in model.visited.items() if not site.observed}
        values = {name: site.value for name, site in latents.items()}
        again = run_model(pair, args, kwargs, values, indices=model.indices, nesting=structure.nesting)
        _check_same(drawing.log_probs, again.visited)
    return fresh, {name: _by_datum(site, structure.nesting) for name, site in latents.items()}


class _Drawing(Messenger):
    """The outermost handler: draws what is observed, into the batch itself."""

    def __init__(self, tensors: list[Tensor]) -> None:
        super().__init__()
        self.tensors = tensors
        self.written = [torch.zeros_like(tensor, dtype=torch.bool) for tensor in tensors]
        self.log_probs: dict[str, Tensor] = {}

    def _process_message(self, msg: Any) -> None:
        if msg["type"] != "sample" or not msg["is_observed"] or msg["infer"].get("_deterministic") or is_subsample(msg):
            return
        name, fn, value = msg["name"], msg["fn"], msg["value"]
        if isinstance(fn, Unit):
            raise PairError(f"site '{name}' is a pyro.factor, from which no data can be drawn: write it as a distribution")
        place, written = self._place(name, value)
        if bool(written.any()):
            raise PairError(f"site '{name}' observes data that another site observes too: they cannot be drawn from both")
        batch_shape = value.shape[: value.dim() - fn.event_dim]
        try:
            drawn = fn() if batch_shape == fn.batch_shape else fn.expand(batch_shape)()
        except (RuntimeError, ValueError, AssertionError, NotImplementedError) as error:
            raise PairError(
                f"site '{name}' has batch shape {tuple(fn.batch_shape)}, and what it observes {tuple(batch_shape)}: no data "
                f"of that shape can be drawn ({type(error).__name__}: {error})"
            ) from error
        mask = msg["mask"]
        if isinstance(mask, Tensor):
            drawn = torch.where(mask.reshape(mask.shape + (1,) * fn.event_dim), drawn, value)
        elif mask is False:
            drawn = value.clone()
        place.copy_(drawn.reshape(place.shape))
        written.fill_(True)
        msg["value"] = drawn.to(value.dtype)

    def _postprocess_message(self, msg: Any) -> None:
        if msg["type"] == "sample" and not is_subsample(msg) and not msg["infer"].get("_deterministic"):
            # Now, for what the distribution was computed from may be overwritten by later draws.
            self.log_probs[msg["name"]] = msg["fn"].log_prob(msg["value"])

    def _place(self, name: str, value: Any) -> tuple[Tensor, Tensor]:
        """The part of the batch that a site observes, and the same part of what has been written."""
        if isinstance(value, Tensor):
            for tensor, written in zip(self.tensors, self.written, strict=True):
                if _shares_memory(value, tensor) and _is_one_to_one(value):
                    return value, written.as_strided(value.shape, value.stride(), value.storage_offset())
            equal = [place for place, tensor in enumerate(self.tensors) if _equal(value, tensor)]
            if len(equal) == 1:
                return self.tensors[equal[0]], self.written[equal[0]]
            if equal:
                raise PairError(f"site '{name}' observes what {len(equal)} tensors of the batch hold: pass it only once")
        raise PairError(
            f"site '{name}' observes no tensor of the batch, nor a slice of one, so that what it draws has no place in a "
            "batch: let it observe the data as they are passed, and change them before they are passed"
        )


def _shares_memory(value: Tensor, tensor: Tensor) -> bool:
    same = value.untyped_storage().data_ptr() == tensor.untyped_storage().data_ptr()
    return tensor.numel() > 0 and value.dtype == tensor.dtype and same


def _is_one_to_one(value: Tensor) -> bool:
    return all(stride != 0 or size <= 1 for stride, size in zip(value.stride(), value.shape, strict=True))


def _equal(value: Tensor, tensor: Tensor) -> bool:
    return value.numel() == tensor.numel() and bool((value.reshape(tensor.shape) == tensor).all())


def _check_same(drawn: dict[str, Tensor], visited: dict[str, Site]) -> None:
    """Refuse draws from other distributions than those that the model has once it sees the data drawn."""
    for name, log_prob in drawn.items():
        again = visited[name].fn.log_prob(visited[name].value)
        tolerance = 1e-8 if log_prob.dtype == torch.float64 else 1e-3
        if log_prob.shape != again.shape or not torch.allclose(log_prob, again, tolerance, tolerance, equal_nan=True):
            raise PairError(
                f"the distribution at site '{name}' is computed from data that are drawn after it, or at it, so that the "
                "model does not say how to draw them: let each distribution depend on earlier draws only"
            )


def _by_datum(site: Site, nesting: int) -> Tensor:
    """A latent's value as (data, other plates..., event...)."""
    missing = nesting - (site.value.dim() - site.fn.event_dim)
    value = site.value.reshape((1,) * missing + site.value.shape)  # (plates..., event...)
    return value.movedim((site.dim or 0) - site.fn.event_dim, 0) if site.dim is not None else value
