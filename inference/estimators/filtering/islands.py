"""Many independent particle filters of the same data, side by side.

Axes: particles (of a filter), islands, data; rows (particles times islands, a run's leftmost dimension).

A pair is a program, whose state between two statements cannot be resampled. So the program is run again from its first
statement, on the histories that were resampled, and goes on with new draws from there. Each filter of each datum has its
own clock: between two runs it goes from where it was to its own next resampling, so that the number of runs is the number
of resamplings of that filter which is resampled most, whatever the number of data and islands.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from pyrogen.batch import Batch, arguments, device_of, length
from pyrogen.errors import PairError
from pyrogen.pair import Pair
from pyrogen.programs.run import Site, Sites, draw_particles, run_guide, run_model

from ...weights.resampling import effective_size, inherit, systematic
from ...weights.terms import reduce_site
from .timeline import Timeline

__all__ = ["Filtered", "Islands"]

_Given: TypeAlias = "dict[str, Tensor | Callable[[Any], Tensor]]"
_LOOK_AHEAD = 4  # times the steps that a filter advances in a run: few filters get farther
_CHECKS = 2  # of the runs that replay histories: whether they find the log probabilities of the run before
_TOLERANCE = 1e-8
_SINGLE_TOLERANCE = 1e-3


class Filtered(NamedTuple):
    """Filters at the end of time."""

    log_evidence: Tensor
    """(islands, data), in nats; the estimate of each filter."""
    log_weight: Tensor
    """(rows, data), of each particle, in nats: the sum over a filter's particles is its estimate of the evidence."""
    latents: dict[str, Tensor]
    """(rows, data, other plates..., event...)."""
    log_likelihood: Tensor
    """(rows, data), in nats."""
    least: Tensor
    """(islands, data), the least effective size over all steps."""
    resamplings: Tensor
    """(islands, data)."""
    ancestors: Tensor
    """(islands, data), number of the first step's particles that have descendants at the end."""
    lost: Tensor
    """(data,), number of particles that met a NaN."""
    evaluations: float
    """Runs of the model, each of one particle of one datum over all steps."""


class Islands:
    """Filters of a batch, and their state between two runs of the pair.

    Args:
        pair: the pair, in evaluation mode.
        batch: the data.
        timeline: when the pair's sites are visited.
        nesting: number of plate dimensions of the pair.
        particles: particles of a filter.
        islands: filters of a datum.
        threshold: a filter is resampled where its effective size falls below this share of its particles.
        guided: propose from the guide, and not from the prior.
    """

    def __init__(
        self,
        pair: Pair,
        batch: Batch,
        timeline: Timeline,
        *,
        nesting: int,
        particles: int,
        islands: int,
        threshold: float,
        guided: bool,
    ) -> None:
        self.pair, self.batch, self.timeline, self.nesting = pair, batch, timeline, nesting
        self.threshold, self.guided = threshold, guided
        self.last = timeline.length - 1
        self.shape = particles, islands, length(batch)  # (particles, islands, data)
        self.rows = particles * islands
        device = device_of(batch)
        columns = self.shape[1:]
        self.known = torch.full(columns, -1, device=device)  # the last step that is settled
        self.weight = torch.zeros(self.shape, dtype=torch.float64, device=device)  # since the last resampling
        self.settled = torch.zeros_like(self.weight)  # log weight of all settled steps, as a later run must find it
        self.log_evidence = torch.zeros(columns, dtype=torch.float64, device=device)  # up to the last resampling
        self.least = torch.full(columns, float(particles), dtype=torch.float64, device=device)
        self.resamplings = torch.zeros_like(self.least)
        self.roots = torch.arange(particles, device=device).reshape(-1, 1, 1).expand(self.shape)
        self.lost = torch.zeros(columns[1], dtype=torch.float64, device=device)
        self.history: dict[str, tuple[Tensor, int]] = {}  # latents, (rows, plates..., event...), and the data's axis in them
        self.evaluations = 0.0
        self.horizon = self.last  # of the next run
        self.precise = True  # all log densities are in double precision
        self.checks = _CHECKS

    def filtered(self) -> Filtered:
        """Run all filters to the end of time.

        Raises:
            PairError: a step's log probabilities change when later steps are drawn anew, or sites come and go.
        """
        horizon = self.last
        while True:
            guide, model = self._run(horizon)
            self._advance(guide, model, horizon)
            if bool((self.known == self.last).all()):
                break
            horizon = self.horizon
        if horizon < self.last:  # no filter has come to the end; there still must be something to draw
            guide, model = self._run(self.last)
        likelihood = torch.zeros((), device="cpu")
        latents = {}
        for name, site in model.visited.items():
            if site.observed:
                likelihood = likelihood + self._term(site)
            else:
                latents[name] = self._by_datum(site.value, site)
        total = self.weight - math.log(self.shape[0])  # (particles, islands, data)
        roots = 1 + (self.roots.diff(dim=0) != 0).sum(0)  # they are sorted
        return Filtered(
            log_evidence=self.log_evidence + total.logsumexp(0),
            log_weight=(self.log_evidence + total).reshape(self.rows, -1),
            latents=latents,
            log_likelihood=likelihood.expand(self.shape).reshape(self.rows, -1),
            least=self.least,
            resamplings=self.resamplings,
            ancestors=roots,
            lost=self.lost,
            evaluations=self.evaluations,
        )

    def _run(self, horizon: int) -> tuple[Sites, Sites]:
        """Run guide and model up to a step, on the settled histories and new draws after them."""
        steps = self.timeline.steps
        args, kwargs = arguments(self.batch)
        least = int(self.known.min())  # settled in all filters
        given: _Given = {}
        for name, (value, axis) in self.history.items():
            step = steps[name]
            given[name] = value if step <= least else self._mixed(value, axis, self.known >= step)

        def until(message: Any) -> bool:
            return steps.get(message["name"], 0) > horizon

        stop = until if horizon < self.last else None
        options: dict[str, Any] = {"particles": self.rows, "nesting": self.nesting, "until": stop}
        with self.pair.scope():
            guide = run_guide(self.pair, args, kwargs, given=given, **options) if self.guided else Sites()
            model = run_model(self.pair, args, kwargs, {**given, **guide.latents()}, draw=True, **options)
        for sites in (guide, model):
            for name in sites.visited:
                if name not in steps:
                    raise PairError(
                        f"site '{name}' comes and goes from run to run",
                        remedy="let every run visit the same sites, and mask what does not count (poutine.mask)",
                        site=name,
                    )
        self.evaluations += self.rows * self.shape[2] * (horizon + 1) / (self.last + 1)
        return guide, model

    def _advance(self, guide: Sites, model: Sites, horizon: int) -> None:
        """Take each filter to its next resampling, or to the end of the run."""
        least, most = int(self.known.min()), int(self.known.max())
        if checked := most >= 0 and self.checks > 0:
            self.checks -= 1
        terms = self._terms(guide, model, range(0 if checked else least + 1, horizon + 1))
        expected = self.settled
        replayed, size = torch.zeros_like(self.weight), torch.zeros_like(self.weight)
        event = torch.full_like(self.known, -1)  # the step at which a filter is resampled
        alive = self.weight > -math.inf
        broken = torch.zeros_like(alive)
        for step, found in terms.items():
            increment = sum(found, start=torch.zeros_like(self.weight))
            if checked and step <= most:
                old = step <= self.known
                replayed = torch.where(old, replayed + increment, replayed)
                size = torch.where(old, size + sum(term.abs() for term in found), size)
            if step <= least:
                continue
            active = (step > self.known) & (event < 0)  # (islands, data)
            self.settled = torch.where(active, self.settled + increment, self.settled)
            broken |= increment.isnan() & active
            self.weight = torch.where(
                active, self.weight + increment.nan_to_num(-math.inf, math.inf, -math.inf), self.weight
            )
            effective = self._effective_size()
            self.least = torch.where(active, torch.minimum(self.least, effective), self.least)
            if step < self.last:
                event = torch.where(active & (effective < self.threshold * self.shape[0]), step, event)
        if checked:
            self._compare(expected, replayed, size, self.known <= horizon)
        self.lost += (alive & broken).sum((0, 1))
        before, going = self.known, self.known < self.last
        self.known = torch.where(event >= 0, event, self.known.clamp(min=horizon))
        ancestors = self._resample(event >= 0)
        self._keep(guide, model, ancestors)
        if self.timeline.ordered:
            ahead = math.ceil(_LOOK_AHEAD * float((self.known - before)[going].double().mean()))
            going = self.known < self.last
            farthest = int(self.known[going].max()) if bool(going.any()) else 0
            self.horizon = min(self.last, farthest + ahead)

    def _resample(self, chosen: Tensor) -> Tensor:
        """Resample the chosen filters, (islands, data), and give each particle's ancestor, (rows, data).

        The evidence so far goes from their weights into `log_evidence`.
        """
        particles, islands, data = self.shape
        drawn = systematic(self.weight.reshape(particles, -1)).reshape(self.shape)
        own = torch.arange(particles, device=drawn.device).reshape(-1, 1, 1)
        ancestors = torch.where(chosen, drawn, own)  # (particles, islands, data)
        self.log_evidence += torch.where(chosen, self.weight.logsumexp(0) - math.log(particles), 0.0)
        self.weight = torch.where(chosen, 0.0, self.weight)
        self.resamplings += chosen
        dead = self.log_evidence == -math.inf
        self.known = torch.where(dead, self.last, self.known)  # nothing is to be learned any more
        self.roots, self.settled = self.roots.gather(0, ancestors), self.settled.gather(0, ancestors)
        offset = torch.arange(islands, device=drawn.device).unsqueeze(1)  # (islands, 1)
        return (ancestors * islands + offset).reshape(self.rows, data)

    def _keep(self, guide: Sites, model: Sites, ancestors: Tensor) -> None:
        """Keep the latents of settled steps, each particle those of its ancestor."""
        farthest = int(self.known.max())
        for name in dict.fromkeys([*guide.latents(), *model.latents()]):
            if self.timeline.steps[name] <= farthest:
                site = guide.visited.get(name) or model.visited[name]
                value = self._by_datum(site.value, site)  # (rows, data, ...)
                axis = self._axis(site)
                self.history[name] = inherit(value, ancestors).movedim(1, axis), axis

    def _mixed(self, value: Tensor, axis: int, settled: Tensor) -> Callable[[Any], Tensor]:
        """What draws a latent anew for those filters, (islands, data), whose histories do not reach it."""
        shape = [1] * value.dim()
        shape[0], shape[axis] = self.rows, self.shape[2]
        known = settled.expand(self.shape).reshape(shape)  # (rows, 1..., data, 1...)
        return lambda fn: torch.where(known, value, draw_particles(fn, self.rows, self.nesting))

    def _terms(self, guide: Sites, model: Sites, wanted: range) -> dict[int, list[Tensor]]:
        """What each site adds to the log weight, by step; a latent that is drawn from its prior adds nothing."""
        steps = self.timeline.steps
        terms: dict[int, list[Tensor]] = {step: [] for step in wanted}
        for name, site in model.visited.items():
            if steps[name] in terms and (site.observed or name in guide.visited):
                terms[steps[name]].append(self._term(site))
        for name, site in guide.visited.items():
            if steps[name] in terms:
                terms[steps[name]].append(-self._term(site))
        return terms

    def _term(self, site: Site) -> Tensor:
        """A site's log density: (particles, islands, data), or with ones where all have the same."""
        value = reduce_site(site.log_prob(), site.dim, self.nesting)  # (rows or 1, data)
        self.precise &= value.dtype == torch.float64
        value = value.double()
        return value.reshape(self.shape) if len(value) == self.rows else value.unsqueeze(0)

    def _effective_size(self) -> Tensor:
        particles, islands, data = self.shape
        return effective_size(self.weight.reshape(particles, -1)).reshape(islands, data)

    def _compare(self, expected: Tensor, replayed: Tensor, size: Tensor, whole: Tensor) -> None:
        """Refuse a pair whose settled steps have other log probabilities in a later run."""
        tolerance = (_TOLERANCE if self.precise else _SINGLE_TOLERANCE) * (1 + size)
        different = ((replayed - expected).abs() > tolerance) & whole
        if bool(different.any()):
            raise PairError(
                "the log probabilities of early steps change when later steps are drawn anew, so that no filter can know "
                "them in time",
                remedy="let the sites of a step depend on those of this step and the steps before it alone, and on no "
                "random number but those of pyro.sample; the data may be looked at as a whole. For another pair use "
                "ImportanceSampling",
            )

    def _by_datum(self, value: Tensor, site: Site) -> Tensor:
        """A latent's values, (rows, data, other plates..., event...)."""
        return value.movedim(self._axis(site), 1)

    def _axis(self, site: Site) -> int:
        """The data's axis in a latent's values, (rows, plates..., event...)."""
        return 1 + self.nesting + (site.dim or 0)
