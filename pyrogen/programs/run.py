"""One run of a pair for many particles at once: the sites that the guide and the model visited, with their values.

Axes: particles (leftmost, absent when one particle is drawn), plates (`nesting` of them), event (per site).

A particle is a leftmost dimension on the latents alone. The outermost handler draws a latent whose distribution has no
particle dimension yet that many times; everything computed from it then broadcasts, and what does not depend on
a latent (an encoder, the data) is computed once for all particles.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor

from . import faults
from .program import Program
from .traces import data_dim, is_summed_out

__all__ = ["Site", "Sites", "draw_particles", "forget_plates", "own_gradients", "run_guide", "run_model"]


@dataclass(slots=True)
class Site:
    """One ``pyro.sample`` statement as it was met in a run."""

    name: str
    fn: Any
    value: Tensor
    observed: bool
    auxiliary: bool
    scale: float | Tensor
    mask: Tensor | bool | None
    dim: int | None
    """Dimension of the data plate at this site, or None for a global site."""
    plates: Mapping[int, str] = field(default_factory=dict)
    """Names of the vectorized plates around the site, by their dimension."""

    def log_prob(self, value: Tensor | None = None) -> Tensor:
        """Log density at the site's value (or another), masked but not scaled, in nats, of its batch shape."""
        return self.masked(self.fn.log_prob(self.value if value is None else value))

    def masked(self, log_prob: Tensor) -> Tensor:
        """A quantity of the site's batch shape, with zeros where the site's mask is false."""
        if self.mask is None or self.mask is True:
            return log_prob
        if self.mask is False:
            return torch.zeros_like(log_prob)
        return torch.where(self.mask, log_prob, log_prob.new_zeros(()))


@dataclass(slots=True)
class Sites:
    """The sites of one program in the order of their visit, and how its data plate was subsampled."""

    visited: dict[str, Site] = field(default_factory=dict)
    indices: dict[str, Tensor] = field(default_factory=dict)
    plate_size: int | None = None
    subsample_size: int | None = None

    @property
    def scale(self) -> float:
        """Full size of the data plate over the size of its subsample."""
        if self.plate_size is None or self.subsample_size is None:
            return 1.0
        return self.plate_size / self.subsample_size

    def latents(self) -> dict[str, Tensor]:
        """Values of the unobserved sites."""
        return {name: site.value for name, site in self.visited.items() if not site.observed}


def run_guide(
    pair: Program,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    particles: int | None = None,
    nesting: int = 1,
    given: Mapping[str, Tensor | Callable[[Any], Tensor]] | None = None,
    indices: Mapping[str, Tensor] | None = None,
    until: Callable[[Any], bool] | None = None,
) -> Sites:
    """Run the guide; its latents are drawn, or taken from `given`. Call inside ``pair.scope()``.

    Args:
        pair: the pair.
        args, kwargs: the batch; see `pyrogen.batch.arguments`.
        particles: size of the particle dimension, or None for a run without one.
        nesting: number of plate dimensions that the pair uses.
        given: values of latents, by name, or what makes a value of its site's distribution.
        indices: subsample indices, by plate, of an earlier run that this one repeats; drawn if not given.
        until: asked with the message of every site before it is visited; where it says so, the run ends there.
    """
    handler = _Recorder(pair, particles, nesting, given or {}, indices or {}, until, draw=True)
    try:
        with own_gradients(pair), handler:
            pair.guide(*args, **kwargs)
    except _FarEnough:
        forget_plates(pair)
    except Exception:
        forget_plates(pair)
        raise
    return handler.sites


def run_model(
    pair: Program,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    latents: Mapping[str, Tensor | Callable[[Any], Tensor]],
    *,
    indices: Mapping[str, Tensor] | None = None,
    particles: int | None = None,
    nesting: int = 1,
    draw: bool = False,
    until: Callable[[Any], bool] | None = None,
) -> Sites:
    """Run the model on given latents and subsample indices. Call inside ``pair.scope()``.

    Args:
        pair, args, kwargs, particles, nesting, until: as in `run_guide`.
        latents: values of latents, by name, or what makes a value of its site's distribution.
        indices: subsample indices that the guide drew, by plate.
        draw: draw latents that are not given from the prior, instead of refusing them.

    Raises:
        PairError: a latent is not among the given ones, and `draw` is false.
    """
    handler = _Recorder(pair, particles, nesting, latents, indices or {}, until, draw=draw)
    with suppress(_FarEnough), own_gradients(pair), handler:
        pair.model(*args, **kwargs)
    return handler.sites


def draw_particles(fn: Any, particles: int | None, nesting: int) -> Tensor:
    """Draw from a site's distribution, of batch shape (plates...) or (particles, plates...), once for each particle.

    What has a particle dimension is drawn from as it is; without `particles` there is one draw, and no such dimension.
    """
    if particles is None:
        return fn()  # type: ignore[no-any-return]
    batch_shape = fn.batch_shape
    if len(batch_shape) <= nesting:
        ones = (1,) * (nesting - len(batch_shape))
        return fn(torch.Size((particles, *ones)))  # type: ignore[no-any-return]
    if batch_shape[0] != particles:
        fn = fn.expand(torch.Size((particles, *batch_shape[1:])))
    return fn()  # type: ignore[no-any-return]


def own_gradients(pair: Program) -> AbstractContextManager[Any]:
    """Let a program that differentiates within itself do so where the caller wants no gradients."""
    return torch.enable_grad() if pair.differentiates else nullcontext()


def forget_plates(pair: Program) -> None:
    """Drop the plates that an `EasyGuide` keeps when its run breaks off: the next run may have data of another length."""
    easyguide = sys.modules.get("pyro.contrib.easyguide")  # where it is not imported, there are none
    for module in pair.modules() if easyguide is not None else ():
        if isinstance(module, easyguide.EasyGuide):  # type: ignore[union-attr]
            module.plates.clear()


class _FarEnough(Exception):
    """Ends a run that has been asked to end early."""


class _Recorder(Messenger):
    """The outermost handler: gives latents their values and writes every site down."""

    def __init__(
        self,
        pair: Program,
        particles: int | None,
        nesting: int,
        given: Mapping[str, Tensor | Callable[[Any], Tensor]],
        indices: Mapping[str, Tensor],
        until: Callable[[Any], bool] | None,
        *,
        draw: bool,
    ) -> None:
        super().__init__()
        self.pair, self.particles, self.nesting = pair, particles, nesting
        self.given, self.indices, self.until, self.draw = given, indices, until, draw
        self.sites = Sites()
        self.detached = not torch.is_grad_enabled()

    def _process_message(self, msg: Any) -> None:
        if self.until is not None and msg["type"] == "sample" and not _is_subsample(msg) and self.until(msg):
            raise _FarEnough
        if msg["type"] != "sample" or msg["is_observed"] or msg["done"] or msg["value"] is not None:
            return
        name = msg["name"]
        if _is_subsample(msg):
            msg["value"] = self.indices.get(name)
            return
        value = self.given.get(name)
        if value is None:
            if not self.draw and not is_summed_out(msg):
                raise faults.LATENT_WITHOUT_GUIDE.error(
                    f"site '{name}' of the model is neither observed nor sampled by the guide", site=name
                )
            value = draw_particles(msg["fn"], self.particles, self.nesting)
        elif not isinstance(value, Tensor):
            value = value(msg["fn"])
        msg["value"] = value
        msg["done"] = True

    def _postprocess_message(self, msg: Any) -> None:
        if msg["type"] != "sample":
            return
        name = msg["name"]
        if _is_subsample(msg):
            self.sites.indices[name] = msg["value"]
            if name == self.pair.data_plate:
                self.sites.plate_size, self.sites.subsample_size = msg["fn"].size, len(msg["value"])
            return
        infer, value = msg["infer"], msg["value"]
        if infer.get("_deterministic"):
            return
        auxiliary, dim = bool(infer.get("is_auxiliary")), data_dim(self.pair, msg)
        if self.detached and self.pair.differentiates:
            value = value.detach()
        plates = {frame.dim: frame.name for frame in msg["cond_indep_stack"] if frame.dim is not None}
        self.sites.visited[name] = Site(
            name, msg["fn"], value, msg["is_observed"], auxiliary, msg["scale"], msg["mask"], dim, plates
        )


def _is_subsample(msg: Any) -> bool:
    # The class is private to Pyro, whose own `site_is_subsample` compares its name in the same way.
    return type(msg["fn"]).__name__ == "_Subsample"
