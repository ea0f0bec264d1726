"""What every estimator gives: log p(x) per datum, with its error, its direction, its diagnostics and its cost.

Axes: data, draws.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, TypeAlias

import torch
from torch import Tensor

from pyrogen.batch import Batch, length
from pyrogen.errors import PairError
from pyrogen.limits import KHAT_LIMIT
from pyrogen.pair import Pair

from ..graphs import Compile, SharedGraphs
from ..weights.chunks import Block
from ..weights.chunks import whole as all_data
from ..weights.evaluation import evaluation, require_per_datum
from ..weights.memory import DEFAULT_MAX_BYTES
from .standard_errors import central_quantile

__all__ = ["BlockEstimate", "Curve", "Draws", "Estimate", "Estimator", "Kind"]

Kind: TypeAlias = Literal["lower", "upper", "consistent", "exact"]


@dataclass(frozen=True)
class Curve:
    """A bound against the number of particles, averaged over the data."""

    particles: list[int]
    bound: list[float]
    """nats per datum."""
    error: list[float]
    """Monte Carlo standard error of `bound`, in nats."""


@dataclass(frozen=True)
class Draws:
    """Draws from the posterior of each datum."""

    latents: Mapping[str, Tensor]
    """By site: (draws, data, event...)."""
    log_likelihood: Tensor
    """``log p(x_i | z)`` at each draw: (draws, data), in nats."""
    chains: int | None = None
    """Number of Markov chains whose draws these are, chain by chain; None where they are no chain's."""


@dataclass(frozen=True)
class Estimate:
    """An estimate of log p(x) for each datum.

    Attributes:
        name: what estimated it, for instance ``IWAE(50)``.
        kind: ``"lower"`` or ``"upper"``: a bound in expectation; ``"consistent"``: it converges to log p(x) as particles
            grow; ``"exact"``: a closed form.
        log_prob: (data,), in nats.
        standard_error: (data,), the Monte Carlo standard error of `log_prob`, in nats.
        evaluations: number of evaluations of the model, one for each particle of each datum.
        seconds: wall time.
        particles: particles drawn for each datum; 0 where none are.
        khat: (data,), the Pareto tail index of the weights; above 0.7 no importance estimate can be trusted.
            ``-inf`` where the largest weights are all equal, ``nan`` where there are too few to tell.
        ess: (data,), the effective number of particles.
        curve: the bound against the number of particles.
        draws: posterior draws.
        gradients: number of evaluations of the model's gradient, each of one particle of one datum.
        diagnostics: what else tells whether a datum's estimate can be trusted, by name, each (data,): ``acceptance``, the
            share of accepted moves; ``rhat``; ``lost``, chains that met a value that is not finite.
        notes: what the reader must know of this estimate, in sentences.
        flagged: (data,), where a diagnostic of the estimator's own fails.
        freedom: degrees of freedom of `standard_error` where few independent chains gave it, or None where many did.
    """

    name: str
    kind: Kind
    log_prob: Tensor
    standard_error: Tensor
    evaluations: int
    seconds: float
    particles: int = 0
    khat: Tensor | None = None
    ess: Tensor | None = None
    curve: Curve | None = None
    draws: Draws | None = None
    gradients: int = 0
    diagnostics: Mapping[str, Tensor] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    freedom: int | None = None
    flagged: Tensor | None = None

    def untrusted(self) -> Tensor:
        """Whether a diagnostic fails, for each datum: (data,)."""
        found = ~(torch.isfinite(self.log_prob) & torch.isfinite(self.standard_error))
        if self.khat is not None:
            found = found | ~(self.khat <= KHAT_LIMIT)
        return found if self.flagged is None else found | self.flagged

    def interval(self, level: float = 0.95) -> tuple[Tensor, Tensor]:
        """Ends of the confidence interval of what is estimated, each (data,), in nats.

        It is Student's where the standard error comes from few chains, and the normal one elsewhere. It covers Monte Carlo
        error alone: of a bound, it is an interval for the bound.

        Raises:
            ConfigurationError: `level` does not lie between 0 and 1.
        """
        half = central_quantile(level, self.freedom) * self.standard_error
        return self.log_prob - half, self.log_prob + half

    def lies_below(self, other: Estimate, level: float = 0.999) -> Tensor:
        """Where this estimate lies significantly below another of the same data, (data,): then it has missed mass.

        For the logarithm of an unbiased estimate errs downwards, and exceeds the truth by a nats with probability exp(-a) at
        most. Of two confidence intervals, all of the other's lies higher; where the other's error can't be trusted, that
        bound is taken in its place.
        """
        by_markov = other.log_prob + math.log1p(-level)
        low = torch.where(other.untrusted(), by_markov, other.interval(level)[0])
        return self.interval(level)[1] < low

    def warnings(self) -> list[str]:
        """What makes this estimate less than trustworthy, in sentences; empty where nothing does."""
        found = list(self.notes)
        if not bool(torch.isfinite(self.log_prob).all()):
            bad = (~torch.isfinite(self.log_prob)).nonzero()[:, 0]
            found.append(f"log p(x) is not finite for {len(bad)} data, the first at index {int(bad[0])}")
        if not bool(torch.isfinite(self.standard_error).all()):
            found.append("some standard errors are not known: use more particles or draws")
        if self.khat is not None:
            share = (self.khat > KHAT_LIMIT).double().mean().item()
            if share > 0:
                found.append(
                    f"k-hat is above {KHAT_LIMIT} for {share:.1%} of the data, for which no importance estimate can be "
                    "trusted"
                )
            if bool(torch.isnan(self.khat).any()):
                found.append("k-hat is not known for some data: it needs 25 particles, with distinct weights in the tail")
        return found


@dataclass(frozen=True)
class BlockEstimate:
    """The estimates of a block's data.

    Attributes:
        log_prob: (data,), in nats.
        standard_error: (data,), in nats.
        khat: see `Estimate`, as all below.
        ess: (data,).
        diagnostics: by name, each (data,).
        draws: posterior draws; of some blocks' latents there may be fewer, the others then count as zero.
        evaluations: evaluations of the model; one for each particle of each datum if left out.
        gradients: evaluations of its gradient.
    """

    log_prob: Tensor
    standard_error: Tensor
    khat: Tensor | None = None
    ess: Tensor | None = None
    diagnostics: Mapping[str, Tensor] = field(default_factory=dict)
    draws: Draws | None = None
    evaluations: float | None = None
    gradients: int = 0


class Estimator(ABC):
    """A way to evaluate log p(x), or a bound on it.

    To write one, give it a `name`, a `kind` and the method `block`, which estimates log p(x) of a few data, by log weights
    of fresh particles (``block.log_weights(particles)``) or by runs of ``block.pair``. The template `estimate` does the
    rest: it refuses pairs without an evidence of each datum, puts the pair in evaluation mode, splits the data so that
    `particles_per_datum` fit `max_bytes`, shows progress, counts, times, and puts the blocks together.

    An estimator that needs more overrides

    - `require`, to refuse what it cannot do, before any work;
    - `begin`, to choose another size of block, or to set up what all blocks share (`Block.state`);
    - `finish`, to add notes and flags, or what belongs to all data together.

    Attributes:
        name: what it is called.
        max_bytes: memory that an estimate may use.
        together: whether several particles have to run at once.

    Example:
        >>> import math
        >>> class Median(Estimator):
        ...     '''The median of the importance-weighted bounds of a few groups of particles.'''
        ...
        ...     name, kind, particles = "Median", "consistent", 900
        ...
        ...     def block(self, block):
        ...         groups = block.log_weights(self.particles).double().reshape(100, 9, -1)  # (particles, groups, data)
        ...         bounds = groups.logsumexp(0) - math.log(100)  # (groups, data)
        ...         return BlockEstimate(bounds.median(0).values, 1.2533 * bounds.std(0) / 3)
        >>> from pyrogen.models import LinearGaussianVAE
        >>> Median().estimate(LinearGaussianVAE((4,), latent=2), torch.zeros(3, 4)).evaluations
        2700
    """

    name: str
    max_bytes: int = DEFAULT_MAX_BYTES
    together: ClassVar[bool] = False

    @property
    @abstractmethod
    def kind(self) -> Kind:
        """See `Estimate`."""

    @property
    def particles_per_datum(self) -> int:
        """Particles drawn for each datum: the attribute `particles`, unless a subclass says otherwise; 0 where none are."""
        return getattr(self, "particles", 0)

    @abstractmethod
    def block(self, block: Block) -> BlockEstimate:
        """Estimate log p(x) of the data of a block, in evaluation mode and without gradients.

        Args:
            block: ``block.batch``, the data; ``block.pair``; ``block.log_weights(particles)``; see `Block`.
        """

    def subject(self, pair: Pair) -> Pair:
        """The pair that is run in place of the one given."""
        return pair

    def require(self, pair: Pair, batch: Batch) -> None:
        """Refuse a pair or data that this estimator cannot do, before any work; `compare` asks all of its estimators first.

        Args:
            pair: the pair.
            batch: the data.

        Raises:
            PairError: the pair, or the number of data, does not suit; the message says why.
        """
        require_per_datum(self.subject(pair), batch, self.name, together=self.together)

    def begin(self, whole: Block) -> Block:
        """Say into blocks of how many data to split, and leave in their `state` what they share.

        Args:
            whole: all data.

        Returns:
            The same, ``sized`` or ``sized_for`` a number of particles.
        """
        return whole.sized_for(max(1, self.particles_per_datum))

    def finish(self, found: Estimate, whole: Block) -> Estimate:
        """Add what the blocks do not know to the estimate of all data.

        Args:
            found: the estimate.
            whole: what `begin` has returned.
        """
        return found

    def estimate(
        self, pair: Pair, batch: Batch, *, compile: Compile | SharedGraphs = False, progress: bool = False
    ) -> Estimate:
        """Estimate log p(x) for each datum of a batch.

        Args:
            pair: the pair; it is run in evaluation mode, without gradients.
            batch: the data.
            compile: compute log weights and transitions by recorded graphs; see `pyrogen.inference.compare`. Several
                estimates share theirs if they are handed one `pyrogen.inference.graphs.SharedGraphs`.
            progress: show a progress bar.

        Raises:
            NotPerDatum: the pair has no evidence of each datum alone; the message names the site.
            PairError: the pair does not suit this estimator; the message says why.
            ConfigurationError: a single datum needs more memory than there is.
        """
        started = time.perf_counter()
        self.require(pair, batch)
        pair, table = self.subject(pair), _Table(self.name, length(batch))
        with evaluation(pair):
            whole = self.begin(all_data(pair, batch, max_bytes=self.max_bytes, compile=compile, progress=progress))
            for block in whole.split():
                part = self.block(block)
                table.add(block.data, part)
                if part.evaluations is None:
                    table.evaluations += max(1, self.particles_per_datum) * block.rows
        found = Estimate(
            name=self.name,
            kind=self.kind,
            evaluations=round(table.evaluations),
            seconds=0.0,
            particles=self.particles_per_datum,
            gradients=table.gradients,
            **table.columns,
            diagnostics=table.diagnostics,
            draws=table.draws,
        )
        return replace(self.finish(found, whole), seconds=time.perf_counter() - started)

    def __repr__(self) -> str:
        return self.name

    def record(self) -> dict[str, Any]:
        """How the estimator was set up, for saving."""
        return {k: v for k, v in vars(self).items() if isinstance(v, str | int | float | bool | None)}


class _Table:
    """What the blocks have found, side by side.

    Columns are made once, at the first block: small results that were kept from between large temporary tensors would pin
    the heap, which then grows with the number of data.
    """

    def __init__(self, name: str, rows: int) -> None:
        self.name, self.rows = name, rows
        self.columns: dict[str, Any] = {}
        self.diagnostics: dict[str, Tensor] = {}
        self.latents: dict[str, Tensor] = {}
        self.draws: Draws | None = None
        self.evaluations, self.gradients = 0.0, 0

    def add(self, data: slice, part: BlockEstimate) -> None:
        for name in ("log_prob", "standard_error", "khat", "ess"):
            self._put(self.columns, name, getattr(part, name), data)
        for name, value in part.diagnostics.items():
            self._put(self.diagnostics, name, value, data)
        if part.draws is not None:
            for name, value in {**part.draws.latents, "": part.draws.log_likelihood}.items():
                self._put(self.latents, name, value, data, axis=1)
            latents = {name: value for name, value in self.latents.items() if name}
            self.draws = Draws(latents, self.latents[""], part.draws.chains)
        self.evaluations += part.evaluations or 0
        self.gradients += part.gradients

    def _put(self, columns: dict[str, Tensor], name: str, value: Tensor | None, data: slice, axis: int = 0) -> None:
        if value is None:
            return
        shape, rows = value.shape, data.stop - data.start
        if len(shape) <= axis or shape[axis] != rows:
            raise PairError(f"{self.name} gives '{name}' of shape {tuple(shape)} for {rows} data: it must be (data,)")
        if name not in columns:
            dtype = value.dtype if axis else torch.float64
            columns[name] = value.new_zeros(*shape[:axis], self.rows, *shape[axis + 1 :], dtype=dtype)
        columns[name].narrow(axis, data.start, rows).copy_(value)
