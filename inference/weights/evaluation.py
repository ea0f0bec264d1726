"""A pair in evaluation: its mode, and what it and its data must be, each refusal once.

Axes: data.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pyro
import torch
from torch import Tensor

from pyrogen.batch import Batch, arguments, device_of, index, length, map_tensors
from pyrogen.data.conversion import as_batch
from pyrogen.errors import NotPerDatum, PairError
from pyrogen.pair import Pair
from pyrogen.programs.matching import check_observed, grey
from pyrogen.programs.run import Sites
from pyrogen.programs.structure import Structure, evaluation_mode
from pyrogen.randomness import forked

from .terms import visit

__all__ = [
    "check_extremes",
    "check_observations",
    "evaluation",
    "evaluation_batch",
    "grey_pixels_allowed",
    "require_per_datum",
]

_GREY_ALLOWED = ContextVar("grey pixels allowed", default=False)


@contextmanager
def evaluation(pair: Pair) -> Iterator[None]:
    """Evaluate a pair: no gradients, modules in evaluation mode, and no validation (the probe has done it)."""
    with torch.no_grad(), evaluation_mode(pair), pyro.validation_enabled(False):
        yield


def evaluation_batch(data: Any, device: torch.device | None = None) -> Batch:
    """All data of a split, or of what `as_batch` takes, as one batch; on a device, or where they are.

    Example:
        >>> evaluation_batch((torch.zeros(3), torch.ones(3)), torch.device("meta"))[0].device.type
        'meta'
    """
    if hasattr(data, "fixed"):
        batch: Batch = (data if device is None else data.to(device)).fixed()
        return batch
    batch = as_batch(data)
    return batch if device is None else map_tensors(batch, lambda tensor: tensor.to(device))


def require_per_datum(pair: Pair, batch: Batch, use: str = "an estimate", *, together: bool = False) -> Structure:
    """The structure of a pair, each of whose data has latents and a log weight of its own.

    `use` is what it is wanted for; `together`, whether several particles have to run at once.

    Raises:
        NotPerDatum: a site is shared by the data or scaled, or the data are subsampled; the message names site or plate.
        PairError: the pair does not run for several particles at once, or data lie outside the likelihood's support.
    """
    structure = pair.structure(batch)
    structure.require_per_datum(use)
    if structure.subsampled:
        raise NotPerDatum(
            f"plate '{pair.data_plate}' draws a subsample of the batch, and {use} needs every datum",
            remedy="pass the data of interest as the batch, and give the plate no subsample_size when you evaluate",
        )
    if together and structure.loop is not None:
        raise PairError(f"the pair does not run for several particles at once: {structure.loop}")
    check_extremes(pair, batch)
    return structure


@contextmanager
def grey_pixels_allowed() -> Iterator[None]:
    """Estimate what training maximises, also of grey pixels under a Bernoulli, which have no probability."""
    token = _GREY_ALLOWED.set(True)
    try:
        yield
    finally:
        _GREY_ALLOWED.reset(token)


def check_observations(model: Sites, rows: Sequence[int]) -> None:
    """Refuse data outside the support of what observes them; `rows` are their numbers, for the message.

    Raises:
        PairError: with site, index, value and remedy.
    """
    observed = {name: site for name, site in model.visited.items() if site.observed and site.dim is not None}
    # What no loss can be trained on is named first.
    for name, site in sorted(observed.items(), key=lambda item: grey(item[1].fn, item[1].value)):
        if not (_GREY_ALLOWED.get() and grey(site.fn, site.value)):
            axis = site.value.dim() - site.fn.event_dim + site.dim
            check_observed(name, site.fn, site.value, masked=site.mask is not None, rows=rows, axis=axis)


def check_extremes(pair: Pair, batch: Batch) -> None:
    """Refuse data that hold a value outside the likelihood's support anywhere, by looking at the most extreme ones.

    These are the rows with the least value, with the greatest, and with the one farthest from a whole number.

    Raises:
        PairError: with site, row, value and remedy.
    """
    structure = pair.structure(batch)
    if structure.subsampled or device_of(batch).type == "meta":
        return
    rows = set(() if structure.amortized else range(length(batch)))
    args, kwargs = arguments(batch)
    for tensor in (*args, *kwargs.values()):
        if structure.amortized and isinstance(tensor, Tensor) and tensor.is_floating_point() and tensor.numel():
            flat = tensor.detach().reshape(len(tensor), -1)  # (data, elements)
            whole = (flat - flat.round()).abs_().amax(1)
            rows.update(int(place) for place in (flat.amin(1).argmin(), flat.amax(1).argmax(), whole.argmax()))
    if not rows:
        return
    chosen = sorted(rows)
    part = index(batch, torch.tensor(chosen, device=device_of(batch))) if structure.amortized else batch
    with evaluation(pair), forked(batch):
        try:
            model = visit(pair, part, structure)[1]
        except PairError:
            raise
        except Exception:  # of a program that takes no so few rows; those that it is run on are looked at then
            return
        check_observations(model, chosen)
