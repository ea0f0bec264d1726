"""The particle filter: the evidence of sequences, per datum, for any pair that marks time.

Axes: particles, islands, data, draws; rows (particles times islands).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from tqdm.auto import trange

from pyrogen.batch import Batch, arguments, device_of, index, length
from pyrogen.errors import ConfigurationError, NotPerDatum, PairError
from pyrogen.pair import Pair
from pyrogen.programs.run import run_guide, run_model
from pyrogen.programs.structure import Structure

from ...weights.chunks import DEFAULT_MAX_BYTES, AllocationCounter, evaluation
from ..estimate import Draws, Estimate, Estimator, columns
from .from_prior import FromPrior
from .histories import choose, draw, join
from .islands import Filtered, Plan, run_islands
from .timeline import timeline

__all__ = ["ParticleFilter", "Proposal"]

Proposal: TypeAlias = Literal["guide", "prior"]

_ROWS = 2**16  # particles times islands times data that run together
_LARGEST_SPREAD = 1.0  # nats


class ParticleFilter(Estimator):
    r"""log p(x) of sequences by particle filters, each datum's own.

    At step t the guide proposes :math:`z_t` given the particle's own history, and its weight grows by

    .. math:: \frac{p(z_t \mid z_{<t}) \, p(x_t \mid z_{\le t}, x_{<t})}{q(z_t \mid z_{<t}, x)}.

    Where the effective number of a filter's particles falls below a share of them, they are resampled, histories and all.
    The estimate of the evidence is unbiased, whatever the number of particles, and nearly log-normal; its mean over
    independent filters (islands) has the standard error that their spread tells, and its logarithm is, in expectation, a
    lower bound that closes as particles grow.

    Time is what ``for t in pyro.markov(range(T))`` marks, in the model and in the guide; the module
    `pyrogen.inference.estimators.filtering.timeline` says what else does. A step may depend on all steps before it, through
    latents or through what the program computes from them, such as the state of a recurrent network. Sequences of different
    lengths have their missing steps masked (`poutine.mask`). Latents may be discrete, and those that Pyro's enumeration
    would sum out are proposed from the prior. Draws are whole histories; of steps long ago few different ones are left,
    which ``ancestors`` counts.

    Reference:
        Doucet & Johansen 2011, A Tutorial on Particle Filtering and Smoothing: Fifteen Years Later,
        https://www.stats.ox.ac.uk/~doucet/doucet_johansen_tutorialPF2011.pdf
        Bérard, Del Moral & Doucet 2014, A Lognormal Central Limit Theorem for Particle Approximations of Normalizing
        Constants, https://arxiv.org/abs/1307.0181

    Args:
        particles: particles of each filter.
        islands: independent filters of each datum.
        ess_threshold: a filter is resampled where its effective number of particles falls below this share: 0 never
            does, 1 always.
        proposal: ``"guide"``, or ``"prior"``, the bootstrap filter, for which the pair needs no guide.
        draws: posterior draws to keep for each datum; 0 keeps none.
        max_bytes: memory that an estimate may use.

    Raises:
        ConfigurationError: fewer than two particles or islands, or another number that cannot be used.

    Example:
        >>> from pyrogen.models import LinearGaussianSSM
        >>> pair, x = LinearGaussianSSM((5, 2), latent=2), torch.zeros(3, 10)
        >>> estimate = ParticleFilter(100, islands=4).estimate(pair, x)
        >>> estimate.log_prob.shape, estimate.draws.latents["z_4"].shape
        (torch.Size([3]), torch.Size([100, 3, 2]))
    """

    def __init__(
        self,
        particles: int = 1000,
        *,
        islands: int = 10,
        ess_threshold: float = 0.5,
        proposal: Proposal = "guide",
        draws: int = 100,
        max_bytes: int = DEFAULT_MAX_BYTES,
    ) -> None:
        if particles < 2:
            raise ConfigurationError(f"particles must be at least 2, to choose between, not {particles}")
        if islands < 2:
            raise ConfigurationError(f"islands must be at least 2, to have a standard error, not {islands}")
        if not 0 <= ess_threshold <= 1:
            raise ConfigurationError(f"ess_threshold must lie between 0 and 1, not {ess_threshold}")
        if proposal not in ("guide", "prior"):
            raise ConfigurationError(f"unknown proposal {proposal!r}: use 'guide' or 'prior'")
        if draws < 0:
            raise ConfigurationError(f"draws must not be negative, and it is {draws}")
        self.particles, self.islands, self.ess_threshold = particles, islands, ess_threshold
        self.proposal, self.draws, self.max_bytes = proposal, draws, max_bytes
        self.name = f"PF({islands}x{particles})" + (" from the prior" if proposal == "prior" else "")

    def require(self, pair: Pair, batch: Batch) -> None:
        """See `Estimator.require`."""
        _filterable(pair if self.proposal == "guide" else FromPrior(pair), batch)

    def estimate(self, pair: Pair, batch: Batch, *, progress: bool = False) -> Estimate:
        """See `Estimator.estimate`.

        Raises:
            PairError: no site is marked with time, or the guide draws against its order.
        """
        start = time.perf_counter()
        guided = self.proposal == "guide"
        pair = pair if guided else FromPrior(pair)
        structure = _filterable(pair, batch)
        log_prob, standard_error, ess, lost, resamplings, ancestors, extinct, spread = columns(8, batch)
        kept: list[Draws] = []
        evaluations = 0.0
        with evaluation(pair):
            at_once, islands_at_once = self._sizes(pair, batch, structure)
            for data, part in _parts(batch, at_once, progress):
                line = timeline(pair, part, structure, first_row=data.start, guided=guided)
                found: list[Filtered] = []
                drawn: list[Draws] = []
                for first in range(0, self.islands, islands_at_once):
                    islands = min(islands_at_once, self.islands - first)
                    plan = Plan(pair, structure, line, self.particles, islands, self.ess_threshold, guided)
                    filtered = run_islands(plan, part)
                    evaluations += filtered.evaluations
                    drawn.append(draw(filtered, self.draws))
                    found.append(filtered._replace(latents={}))
                each = torch.cat([filtered.log_evidence for filtered in found])  # (islands, data)
                log_prob[data], standard_error[data], spread[data] = _log_mean(each)
                extinct[data] = (each == -math.inf).sum(0).double()
                ess[data] = torch.cat([filtered.least for filtered in found]).sum(0)
                resamplings[data] = torch.cat([filtered.resamplings for filtered in found]).mean(0)
                ancestors[data] = torch.cat([filtered.ancestors for filtered in found]).sum(0).double()
                lost[data] = torch.stack([filtered.lost for filtered in found]).sum(0)
                if self.draws:
                    kept.append(choose(drawn, each, islands_at_once))
        return Estimate(
            name=self.name,
            kind="consistent",
            log_prob=log_prob,
            standard_error=standard_error,
            evaluations=round(evaluations),
            seconds=time.perf_counter() - start,
            particles=self.particles * self.islands,
            ess=ess,
            draws=join(kept),
            diagnostics={"resamplings": resamplings, "ancestors": ancestors, "lost": lost, "extinct": extinct},
            freedom=self.islands - 1,
            flagged=(spread > _LARGEST_SPREAD) | (extinct > 0),
            notes=tuple(self._notes(lost, extinct, spread)),
        )

    def _sizes(self, pair: Pair, batch: Batch, structure: Structure) -> tuple[int, int]:
        """How many data, and how many islands of them, run together."""
        rows = length(batch)
        least = min(2, rows) if structure.amortized else rows
        each = _bytes_per_row(pair, index(batch, slice(least)), structure) * self.particles  # of one filter
        fewest = 1 if structure.amortized else rows
        if each * fewest > self.max_bytes:
            raise ConfigurationError(
                f"{self.particles} particles of {fewest} datum(s) take about {each * fewest:,.0f} bytes, more than "
                f"max_bytes={self.max_bytes:,}: use fewer particles, or more memory"
            )
        filters = max(fewest, min(int(self.max_bytes // each), _ROWS // self.particles))
        islands = max(1, min(self.islands, filters // fewest))
        islands = -(-self.islands // -(-self.islands // islands))  # as even as can be
        at_once = max(1, min(rows, filters // islands)) if structure.amortized else rows
        return -(-rows // -(-rows // at_once)), islands

    def _notes(self, lost: Tensor, extinct: Tensor, spread: Tensor) -> Iterator[str]:
        if bool((lost > 0).any()):
            yield (
                f"{int(lost.sum())} particles of {int((lost > 0).sum())} data met a value that is not a number, and count "
                "as having no weight"
            )
        if bool((extinct > 0).any()):
            yield (
                f"{int(extinct.sum())} filters of {int((extinct > 0).sum())} data have lost all their particles: use more "
                "particles, or a better guide"
            )
        wide = (spread > _LARGEST_SPREAD) & (extinct == 0)
        if bool(wide.any()):
            yield (
                f"the filters of {int(wide.sum())} data differ by more than {_LARGEST_SPREAD:g} nat (standard deviation), "
                "so that neither the estimate nor its error can be trusted: use more particles, or a better guide"
            )


def _filterable(pair: Pair, batch: Batch) -> Structure:
    structure = pair.structure(batch)
    structure.require_per_datum("a filter")
    if structure.subsampled:
        raise NotPerDatum(
            f"plate '{pair.data_plate}' draws a subsample of the batch",
            remedy="pass the data of interest as the batch, and give the plate no subsample_size",
        )
    if structure.loop is not None:
        raise PairError(f"the pair does not run for several particles at once: {structure.loop}")
    return structure


def _parts(batch: Batch, rows: int, progress: bool) -> Iterator[tuple[slice, Batch]]:
    for first in trange(0, length(batch), rows, disable=not progress, unit="block", leave=False):
        data = slice(first, min(first + rows, length(batch)))
        yield data, index(batch, data) if rows < length(batch) else batch


def _bytes_per_row(pair: Pair, batch: Batch, structure: Structure) -> float:
    """Bytes of all that one run over all steps allocates for one particle of one datum: more than a filter ever holds."""
    args, kwargs = arguments(batch)
    count = 8
    devices = [device_of(batch)] if device_of(batch).type == "cuda" else []
    with torch.random.fork_rng(devices=devices), pair.scope(), AllocationCounter() as counter:
        guide = run_guide(pair, args, kwargs, particles=count, nesting=structure.nesting)
        model = run_model(pair, args, kwargs, guide.latents(), particles=count, nesting=structure.nesting, draw=True)
        for site in (*guide.visited.values(), *model.visited.values()):
            site.log_prob()
    return max(float(counter.bytes) / (length(batch) * count), 1.0)


def _log_mean(log_evidence: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The log of the mean over islands, its standard error, and the standard deviation of the islands, each (data,).

    A filter's estimate is nearly log-normal. The mean of n log-normals whose logarithms have variance s^2 has the relative
    variance (e^(s^2) - 1) / n, which the logarithms tell better than the estimates, of which few large ones make the mean.
    Where a filter has lost all its particles, it is the relative variance of the estimates themselves.
    """
    count = len(log_evidence)
    total = log_evidence.logsumexp(0)  # (data,)
    spread = log_evidence.std(0)
    relative = count * (log_evidence - total).exp()  # (islands, data), with mean 1
    variance = torch.where(spread.isfinite(), torch.expm1(spread.square()), (relative - 1).square().sum(0) / (count - 1))
    error = (variance / count).sqrt().masked_fill(total == -math.inf, math.inf)
    return total - math.log(count), error, spread.nan_to_num(math.inf, math.inf)
