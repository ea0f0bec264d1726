"""Bidirectional Monte Carlo: the evidence of simulated data, from below and from above.

Axes: temperatures, chains, data.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from pyrogen.batch import device_of, index, length
from pyrogen.devices import device_named
from pyrogen.errors import ConfigurationError, require_at_least
from pyrogen.pair import Pair
from pyrogen.randomness import forked
from pyrogen.report import plots
from pyrogen.run_directory import fingerprint

from ..estimators.annealing.ais import anneal, log_normal_mean
from ..estimators.annealing.mover import Mover, rows_at_once
from ..estimators.annealing.schedule import Schedule, plan, require_schedule
from ..estimators.annealing.transition import HMC, Transition
from ..estimators.exact import Exact
from ..estimators.latent_density import Initial, LatentDensity
from ..estimators.standard_errors import central_quantile, mean_and_error
from ..graphs import Compile, SharedGraphs
from ..weights.evaluation import evaluation_batch
from ..weights.memory import DEFAULT_MAX_BYTES
from .saved_result import SavedResult, plain, restored
from .simulation import simulate

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

__all__ = ["Bracket", "Sandwich", "sandwich"]

_MEANING = (
    "A bracket says how exact annealed importance sampling is on data that the model itself has made, where it holds the "
    "truth at its stated rate. On real data only the lower end exists: there the same sampler is likely as exact as here if "
    "the data are like what the model makes, and may be worse if the model fits them badly."
)


@dataclass(frozen=True)
class Bracket:
    """Bounds on log p(x) of each simulated datum, at one number of temperatures.

    Attributes:
        temperatures: number of temperatures.
        lower: (data,), the logarithm of an unbiased estimate of the evidence: in expectation a lower bound, in nats.
        upper: (data,), minus the logarithm of an unbiased estimate of its inverse: in expectation an upper bound, in nats.
        lower_error: (data,), the Monte Carlo standard error of `lower`.
        gradients: gradients evaluated.
        seconds: wall time.
    """

    temperatures: int
    lower: Tensor
    upper: Tensor
    lower_error: Tensor
    gradients: int
    seconds: float

    @property
    def gap(self) -> tuple[float, float]:
        """Mean distance of the bounds and its standard error over the data, in nats."""
        return mean_and_error(self.upper - self.lower)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Two numbers that hold the mean of log p(x) over these data with at least this probability, in nats.

        Below, the mean lower bound less its Monte Carlo error; above, the mean upper bound plus an error taken from the
        spread of the gaps, for the reverse chains of a datum all begin at one draw and do not show theirs alone.

        Raises:
            ConfigurationError: `level` does not lie between 0 and 1.
        """
        quantile = central_quantile(level)
        below = float(self.lower_error.square().sum().sqrt() / len(self.lower))
        return float(self.lower.mean()) - quantile * below, float(self.upper.mean()) + quantile * self.gap[1]

    def guaranteed(self, level: float = 0.95) -> tuple[Tensor, Tensor]:
        """For each datum two numbers, each (data,), that hold log p(x) with at least this probability.

        By Markov's inequality an unbiased estimate of a positive number exceeds it by a factor of c with probability 1/c at
        most. Nothing is assumed of the number of chains or data, at the price of about 3.7 nats on either side at 95%.

        Raises:
            ConfigurationError: `level` does not lie between 0 and 1.
        """
        central_quantile(level)
        margin = math.log(2 / (1 - level))
        return self.lower - margin, self.upper + margin


@dataclass(frozen=True)
class Sandwich(SavedResult):
    """Brackets on the evidence of simulated data, for growing numbers of temperatures; saved as ``sandwich.json``.

    Attributes:
        brackets: one for each number of temperatures, on the same data.
        exact: (data,), the pair's own closed form, where it has one.
        chains: chains in either direction, for each datum.
        initial: where the path begins.
    """

    brackets: list[Bracket]
    exact: Tensor | None
    chains: int
    initial: str

    file = "sandwich.json"

    @property
    def last(self) -> Bracket:
        """The bracket of most temperatures."""
        return self.brackets[-1]

    def __str__(self) -> str:
        rows = len(self.last.lower)
        lines = [
            f"bidirectional Monte Carlo: {rows} simulated data, {self.chains} chains each way from the {self.initial}",
            "temperatures   lower      upper      gap                 95% bracket of the mean    seconds",
        ]
        for bracket in self.brackets:
            gap, error = bracket.gap
            low, high = bracket.interval()
            lines.append(
                f"{bracket.temperatures:12d}   {float(bracket.lower.mean()):<10.3f} {float(bracket.upper.mean()):<10.3f} "
                f"{gap:7.3f} ± {error:<8.3f}  [{low:.3f}, {high:.3f}]   {bracket.seconds:8.1f}"
            )
        if self.exact is not None:
            lines.append(f"exact evidence: {float(self.exact.mean()):.3f}")
        return "\n".join([*lines, _MEANING])

    def record(self) -> dict[str, Any]:
        """See `SavedResult.record`."""
        brackets = [{**plain(one), "interval": one.interval(), "gap": one.gap} for one in self.brackets]
        return {**super().record(), "brackets": brackets, "meaning": _MEANING}

    def plot(self) -> Figure:
        """Draw the bounds against the number of temperatures."""
        return plots.bracket(self.record())

    @classmethod
    def _of(cls, record: dict[str, Any], directory: Path) -> Sandwich:
        return restored(cls, record, brackets=[restored(Bracket, found) for found in record["brackets"]])


def sandwich(
    pair: Pair,
    data: Any,
    simulations: int = 100,
    *,
    temperatures: int | Sequence[int] = (100, 1000),
    chains: int = 16,
    initial: Initial = "prior",
    transition: Transition | None = None,
    schedule: Schedule = "sigmoid",
    max_bytes: int = DEFAULT_MAX_BYTES,
    device: str | torch.device = "auto",
    seed: int = 0,
    compile: Compile = False,
    progress: bool = False,
) -> Sandwich:
    """Bracket log p(x) of data that the model has made, by annealing forwards from the prior and back from the posterior.

    Latents and data drawn together from the model give an exact draw from each datum's posterior. Chains that go from
    there back to the initial distribution give an unbiased estimate of the inverse evidence, whose logarithm bounds log
    p(x) from above in expectation; chains that go forwards bound it from below. How far the two are apart is more than
    either errs.

    Reference:
        Grosse, Ghahramani & Adams 2015, Sandwiching the marginal likelihood using bidirectional Monte Carlo,
        https://arxiv.org/abs/1511.02543

    Args:
        pair: the pair; it is moved to the device and run in evaluation mode.
        data: a `pyrogen.data.Split`, or a batch, whose shapes (and whatever the model does not draw, such as labels it is
            conditioned on) the simulated data take; its rows are repeated where they are too few.
        simulations: number of data to simulate.
        temperatures: numbers of temperatures, one bracket for each.
        chains: chains each way, for each datum.
        initial: where the path begins.
        transition: `HMC` or `MALA`.
        schedule: see `AnnealedImportance`.
        max_bytes: memory to use.
        device: ``"auto"``, or a device.
        seed: seeds simulation and chains; the caller's generators are left as they were.
        compile: see `pyrogen.inference.compare`.
        progress: show a progress bar.

    Raises:
        ConfigurationError: fewer than two data or chains, or no temperatures.
        PairError: the model's data cannot be simulated, or its latents not be moved; see `LatentDensity`.

    Example:
        >>> from pyrogen.models import LinearGaussianVAE
        >>> found = sandwich(LinearGaussianVAE((4,), latent=2), torch.zeros(1, 4), 10, temperatures=(5, 50), chains=4)
        >>> found.brackets[0].gap[0] > found.last.gap[0]
        True
    """
    counts = [temperatures] if isinstance(temperatures, int) else list(temperatures)
    require_schedule(schedule)
    graphs = SharedGraphs(compile)
    if not isinstance(schedule, str):
        counts = [len(schedule) - 1]
    if not counts:
        raise ConfigurationError("sandwich needs at least one number of temperatures")
    require_at_least(2, simulations=simulations, chains=chains)
    require_at_least(1, temperatures=min(counts))
    place = device_named(device)
    pair.to(place)
    batch = evaluation_batch(data, place)
    rows = torch.arange(simulations, device=device_of(batch)) % length(batch)
    kind = HMC() if transition is None else transition
    with forked(place, seed):
        made, latents = simulate(pair, index(batch, rows))
        density = LatentDensity(pair, made, initial=initial)
        posterior = density.unconstrained({name: value[None] for name, value in latents.items()}, made)  # (1, data, dims)
        size = rows_at_once(density, made, chains, max_bytes)
        blocks = [slice(first, min(first + size, simulations)) for first in range(0, simulations, size)]
        brackets = []
        for count in tqdm(sorted(counts), disable=not progress, unit="schedule", leave=False):
            start, gradients = time.perf_counter(), 0
            lower, upper, error = (torch.empty(simulations, dtype=torch.float64, device=place) for _ in range(3))
            for block in blocks:
                part = index(made, block) if len(blocks) > 1 else made
                pilot, mover = Mover(density), Mover(density, graphs, calls=2 * count * len(blocks))
                chosen = plan(pilot, part, kind, schedule, count)
                there = anneal(mover, part, mover.start(density.draw(part, chains), part), chosen, kind)
                lower[block], error[block], _ = log_normal_mean(there.log_weight.nan_to_num(nan=-math.inf, neginf=-math.inf))
                ends = mover.start(posterior[:, block].expand(chains, -1, -1), part)
                back = anneal(mover, part, ends, chosen, kind, backwards=True)
                # A weight that is no number counts as none at all: the bound stays above.
                upper[block] = -log_normal_mean(-back.log_weight.nan_to_num(nan=-math.inf))[0]
                gradients += pilot.gradients + mover.gradients
            brackets.append(Bracket(count, lower.cpu(), upper.cpu(), error.cpu(), gradients, time.perf_counter() - start))
        exact = None
        if getattr(pair, "log_evidence", None) is not None:
            exact = Exact().estimate(pair, made).log_prob.detach().double().cpu()
    return Sandwich(brackets, exact, chains, initial, parameters=fingerprint(pair.state_dict()))
