"""What every estimator gives: log p(x) per datum, with its error, its direction, its diagnostics and its cost.

Axes: data, draws.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from pyrogen.batch import Batch, device_of, length
from pyrogen.pair import Pair

from .standard_errors import central_quantile

__all__ = ["Curve", "Draws", "Estimate", "Estimator", "Kind"]

Kind = Literal["lower", "upper", "consistent", "exact"]
KHAT_LIMIT = 0.7


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
    """Draws from the posterior of each datum, by sampling-importance-resampling."""

    latents: Mapping[str, Tensor]
    """By site: (draws, data, event...)."""
    log_likelihood: Tensor
    """``log p(x_i | z)`` at each draw: (draws, data), in nats."""


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


def columns(count: int, batch: Batch) -> list[Tensor]:
    """Columns (data,), in double precision and on the batch's device, to write results into.

    They are made before the work begins: small results that were kept from between large temporary tensors would pin the
    heap, which then grows with the number of data.
    """
    return [torch.empty(length(batch), dtype=torch.float64, device=device_of(batch)) for _ in range(count)]


class Estimator(ABC):
    """A way to evaluate log p(x), or a bound on it.

    To write one, give it a `name` and implement `estimate`.
    """

    name: str

    @abstractmethod
    def estimate(self, pair: Pair, batch: Batch, *, progress: bool = False) -> Estimate:
        """Estimate log p(x) for each datum of a batch.

        Args:
            pair: the pair; it is run in evaluation mode, without gradients.
            batch: the data.
            progress: show a progress bar.

        Raises:
            NotPerDatum: the pair has no evidence of each datum alone; the message names the site.
        """

    def require(self, pair: Pair, batch: Batch) -> None:  # noqa: B027 (to be overridden where there is something to refuse)
        """Refuse a pair or data that this estimator cannot do, before any work; `compare` asks all of its estimators first.

        Args:
            pair: the pair.
            batch: the data.

        Raises:
            PairError: the pair, or the number of data, does not suit; the message says why.
        """

    def __repr__(self) -> str:
        return self.name

    def record(self) -> dict[str, Any]:
        """How the estimator was set up, for saving."""
        return {k: v for k, v in vars(self).items() if isinstance(v, str | int | float | bool | None)}
