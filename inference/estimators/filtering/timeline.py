"""The time step that each site of a sequence model belongs to.

A site's step is, in this order of precedence,

- what the pair's own method ``time_of(name) -> int | None`` says, if it has one;
- the turn of the outermost ``for t in pyro.markov(...)`` loop around it;
- the turn of a sequential plate named ``"time"`` around it, ``for t in pyro.plate("time", T)``;
- of a site outside: the step that was last under way; before all, the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyro.poutine.markov_messenger import MarkovMessenger
from pyro.poutine.runtime import _PYRO_STACK

from pyrogen.batch import Batch, arguments, length
from pyrogen.errors import PairError
from pyrogen.pair import Pair
from pyrogen.programs.run import Sites, run_guide, run_model
from pyrogen.programs.structure import Structure
from pyrogen.randomness import forked

from ...weights.evaluation import check_observations

__all__ = ["TIME_PLATE", "Timeline", "timeline"]

TIME_PLATE = "time"


@dataclass(frozen=True)
class Timeline:
    """When the sites of a pair are visited."""

    steps: Mapping[str, int]
    """The step of each site of the model, and of the guide alone, counted from 0."""
    length: int
    """Number of steps."""
    ordered: bool
    """Whether each program visits its sites in the order of time, so that a run may end after any step."""


def timeline(pair: Pair, batch: Batch, structure: Structure, *, first_row: int = 0, guided: bool = True) -> Timeline:
    """Run the pair once, for two particles, and see when its sites are visited; no random number is used up.

    Latents are drawn from the prior unless `guided`; `first_row` is the number of the batch's first datum, for messages.

    Raises:
        PairError: no site has a time, the guide draws against the order of time, or the data are outside the support of what
            observes them.
    """
    args, kwargs = arguments(batch)
    clocks = _Clock(pair), _Clock(pair)
    with pair.scope(), forked(batch):
        drawn = Sites()
        if guided:
            drawn = run_guide(pair, args, kwargs, particles=2, nesting=structure.nesting, until=clocks[0])
        latents = drawn.latents()
        model = run_model(pair, args, kwargs, latents, particles=2, nesting=structure.nesting, draw=True, until=clocks[1])
    check_observations(model, range(first_row, first_row + length(batch)))
    of_guide, of_model = (clock.times() for clock in clocks)
    if clocks[1].marked == 0:
        raise PairError(
            "no site of the model is marked with time",
            remedy="Iterate over the steps with `for t in pyro.markov(range(T))` in the model and in the guide, or give the "
            "pair a method time_of(name) that tells the step of a site; without time, use ImportanceSampling",
        )
    places = {time: place for place, time in enumerate(sorted({of_model[name] for name in model.visited}))}
    steps = {name: places[of_model[name]] for name in model.visited}
    last = ("", 0)
    for name in drawn.visited:
        if name in steps:
            if steps[name] < last[1]:
                raise PairError(
                    f"the guide draws site '{name}', of step {steps[name]}, after '{last[0]}', of step {last[1]}",
                    remedy="a filter needs a guide that draws forwards in time; for another use ImportanceSampling, or "
                    "ParticleFilter(proposal='prior')",
                    site=name,
                )
            last = name, steps[name]
    for name in drawn.visited:
        if name not in steps:
            steps[name] = sum(time < of_guide[name] for time in list(places)[:-1])
    visits = [[steps[name] for name in sites.visited] for sites in (drawn, model)]
    ordered = all(sorted(found) == found for found in visits)
    return Timeline(steps, len(places), ordered)


class _Clock:
    """Asked before each site is visited; notes its time, and never ends the run."""

    def __init__(self, pair: Pair) -> None:
        self.own = getattr(pair, "time_of", None)
        self.now: int | None = None
        self.marked = 0
        self._times: dict[str, int | None] = {}

    def __call__(self, message: Any) -> bool:
        time = self._time(message)
        if time is not None:
            self.marked += 1
            self.now = time if self.now is None else max(self.now, time)
        self._times[message["name"]] = self.now if time is None else time
        return False

    def times(self) -> dict[str, int]:
        """The time of each site; of those before all that are marked, the least."""
        first = min((time for time in self._times.values() if time is not None), default=0)
        return {name: first if time is None else time for name, time in self._times.items()}

    def _time(self, message: Any) -> int | None:
        if self.own is not None:
            told = self.own(message["name"])
            if told is not None:
                return int(told)
        for handler in _PYRO_STACK:  # the outermost first
            if isinstance(handler, MarkovMessenger):
                return int(handler._pos)  # Pyro tells the turn of the loop nowhere else
        for frame in message["cond_indep_stack"]:
            if frame.dim is None and frame.name == TIME_PLATE:
                return int(frame.counter)
        return None
