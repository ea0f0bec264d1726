"""The particle filter: the evidence of sequences, per datum, for any pair that marks time.

Axes: particles, islands, data, draws; rows (particles times islands).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import torch
from pyro import poutine
from torch import Tensor

from pyrogen.batch import Batch, arguments, length
from pyrogen.errors import ConfigurationError, require_at_least
from pyrogen.pair import Pair
from pyrogen.programs.run import run_guide, run_model
from pyrogen.programs.structure import Structure

from ...weights.chunks import Block
from ...weights.memory import DEFAULT_MAX_BYTES, bytes_per_row, evenly, rows_that_fit
from ..estimate import BlockEstimate, Draws, Estimate, Estimator
from .islands import Filtered, Islands
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

    kind = "consistent"
    together = True

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
        require_at_least(2, particles=particles, islands=islands)
        require_at_least(0, draws=draws)
        if not 0 <= ess_threshold <= 1:
            raise ConfigurationError(f"ess_threshold must lie between 0 and 1, not {ess_threshold}")
        if proposal not in ("guide", "prior"):
            raise ConfigurationError(f"unknown proposal {proposal!r}: use 'guide' or 'prior'")
        self.particles, self.islands, self.ess_threshold = particles, islands, ess_threshold
        self.proposal, self.draws, self.max_bytes = proposal, draws, max_bytes
        self.name = f"PF({islands}x{particles})" + (" from the prior" if proposal == "prior" else "")

    @property
    def particles_per_datum(self) -> int:
        """See `Estimator.particles_per_datum`."""
        return self.particles * self.islands

    def subject(self, pair: Pair) -> Pair:
        """See `Estimator.subject`."""
        return pair if self.proposal == "guide" else FromPrior(pair)

    def begin(self, whole: Block) -> Block:
        """See `Estimator.begin`; the state is the number of islands that run together."""
        size, islands = self._sizes(whole.pair, whole.batch, whole.structure)
        return whole.sized(size, state=islands)

    def block(self, block: Block) -> BlockEstimate:
        """See `Estimator.block`.

        Raises:
            PairError: no site is marked with time, or the guide draws against its order.
        """
        pair, batch, structure = block.pair, block.batch, block.structure
        guided = self.proposal == "guide"
        line = timeline(pair, batch, structure, first_row=block.data.start, guided=guided)
        found: list[Filtered] = []
        drawn: list[Draws] = []
        for first in range(0, self.islands, block.state):
            islands = min(block.state, self.islands - first)
            filtered = Islands(
                pair,
                batch,
                line,
                nesting=structure.nesting,
                particles=self.particles,
                islands=islands,
                threshold=self.ess_threshold,
                guided=guided,
            ).filtered()
            drawn.append(_draw(filtered, self.draws))
            found.append(filtered._replace(latents={}))
        each = torch.cat([filtered.log_evidence for filtered in found])  # (islands, data)
        log_prob, standard_error, spread = _log_mean(each)
        return BlockEstimate(
            log_prob,
            standard_error,
            ess=torch.cat([filtered.least for filtered in found]).sum(0),
            diagnostics={
                "resamplings": torch.cat([filtered.resamplings for filtered in found]).mean(0),
                "ancestors": torch.cat([filtered.ancestors for filtered in found]).sum(0),
                "lost": torch.stack([filtered.lost for filtered in found]).sum(0),
                "extinct": (each == -math.inf).sum(0),
                "spread": spread,
            },
            draws=_choose(drawn, each, block.state) if self.draws else None,
            evaluations=sum(filtered.evaluations for filtered in found),
        )

    def finish(self, found: Estimate, whole: Block) -> Estimate:
        """See `Estimator.finish`."""
        diagnostics = dict(found.diagnostics)
        spread, lost, extinct, notes = diagnostics.pop("spread"), diagnostics["lost"], diagnostics["extinct"], []
        wide = spread > _LARGEST_SPREAD
        if bool((lost > 0).any()):
            notes.append(
                f"{int(lost.sum())} particles of {int((lost > 0).sum())} data met a value that is not a number, and count "
                "as having no weight"
            )
        if bool((extinct > 0).any()):
            notes.append(
                f"{int(extinct.sum())} filters of {int((extinct > 0).sum())} data have lost all their particles: use more "
                "particles, or a better guide"
            )
        if alive := int((wide & (extinct == 0)).sum()):
            notes.append(
                f"the filters of {alive} data differ by more than {_LARGEST_SPREAD:g} nat (standard deviation), "
                "so that neither the estimate nor its error can be trusted: use more particles, or a better guide"
            )
        flagged = wide | (extinct > 0)
        return replace(found, diagnostics=diagnostics, freedom=self.islands - 1, flagged=flagged, notes=tuple(notes))

    def _sizes(self, pair: Pair, batch: Batch, structure: Structure) -> tuple[int, int]:
        """How many data, and how many islands of them, run together."""

        def run(few: Batch) -> None:  # over all steps: more than a filter ever holds
            args, kwargs = arguments(few)
            with pair.scope():
                guide = run_guide(pair, args, kwargs, particles=8, nesting=structure.nesting)
                model = run_model(pair, args, kwargs, guide.latents(), particles=8, nesting=structure.nesting, draw=True)
                for site in (*guide.visited.values(), *model.visited.values()):
                    site.log_prob()

        rows = length(batch)
        fewest = 1 if structure.amortized else rows
        each = bytes_per_row(batch, structure, 8, run) * self.particles  # of one filter
        fitting = rows_that_fit(each, self.max_bytes, least=fewest, what=f"{self.particles} particles")
        filters = max(fewest, min(fitting, _ROWS // self.particles))
        islands = evenly(self.islands, max(1, min(self.islands, filters // fewest)))
        return evenly(rows, max(1, min(rows, filters // islands)) if structure.amortized else rows), islands


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


def _draw(filtered: Filtered, draws: int) -> Draws:
    """Draws from the particles of some islands, each with the probability of its weight."""
    if draws == 0:
        return Draws({}, filtered.log_weight[:0])
    log_weight = filtered.log_weight
    highest = log_weight.amax(0)
    dead = highest == -math.inf  # there is nothing to choose by
    weight = torch.where(dead, 1.0, (log_weight - torch.where(dead, 0.0, highest)).exp())  # (rows, data)
    chosen = torch.multinomial(weight.T, draws, replacement=True).T  # (draws, data)
    column = torch.arange(chosen.shape[1], device=chosen.device)
    latents = {name: value[chosen, column] for name, value in filtered.latents.items()}
    return Draws(latents, filtered.log_likelihood[chosen, column])


def _choose(parts: list[Draws], log_evidence: Tensor, islands: int) -> Draws:
    """One set of draws out of those of several groups of islands, each group as often as its evidence is large."""
    if len(parts) == 1:
        return parts[0]
    groups = torch.stack([group.logsumexp(0) for group in torch.split(log_evidence, islands)])  # (groups, data)
    groups = torch.where(groups.amax(0) == -math.inf, 0.0, groups)
    draws = len(parts[0].log_likelihood)
    chosen = torch.multinomial(groups.softmax(0).T, draws, replacement=True).T  # (draws, data)

    def pick(values: list[Tensor]) -> Tensor:
        stacked = torch.stack(values)  # (groups, draws, data, ...)
        place = torch.arange(draws, device=chosen.device).unsqueeze(1)
        return stacked[chosen, place, torch.arange(chosen.shape[1], device=chosen.device)]

    latents = {name: pick([part.latents[name] for part in parts]) for name in parts[0].latents}
    return Draws(latents, pick([part.log_likelihood for part in parts]))


class FromPrior(Pair):
    """A pair with the same model, whose guide draws each latent from its prior, given the latents before it.

    The parameters are those of the pair inside, whose own guide is not run and need not exist.
    """

    def __init__(self, pair: Pair) -> None:
        super().__init__()
        self.pair = pair
        self.data_plate = pair.data_plate
        if hasattr(pair, "time_of"):
            self.time_of = pair.time_of

    def model(self, *args: Any, **kwargs: Any) -> Any:
        return self.pair.model(*args, **kwargs)

    def guide(self, *args: Any, **kwargs: Any) -> Any:
        with poutine.block(hide_fn=lambda message: message["type"] == "sample" and message["is_observed"]):
            return self.pair.model(*args, **kwargs)

    @contextmanager
    def scope(self) -> Iterator[None]:
        with self.pair.scope():
            yield
