"""Whose fault the gap is: log p(x) - ELBO, split into what the encoder and what the guide's family leave on the table.

Axes: data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from pyrogen.batch import Batch, length
from pyrogen.errors import ConfigurationError
from pyrogen.pair import Pair
from pyrogen.randomness import forked
from pyrogen.report.gaps import format_gaps, gap_picture
from pyrogen.run_directory import fingerprint

from ..estimators.estimate import Estimate, Estimator, Kind
from ..estimators.exact import Exact
from ..estimators.importance import ImportanceSampling
from ..weights.evaluation import evaluation_batch
from .comparison import Comparison
from .refinement import Refinement, refine
from .saved_result import SavedResult, description

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Gaps", "gaps"]

_IMPLAUSIBLE = 4.0  # standard errors


def gaps(
    pair: Pair,
    data: Any,
    evidence: Sequence[Estimator] | Comparison | None = None,
    *,
    refine_steps: int = 300,
    particles: int = 16,
    draws: int = 1000,
    learning_rate: float = 0.1,
    seed: int = 0,
    progress: bool = False,
) -> Gaps:
    """Split the gap between log p(x) and the ELBO, datum by datum.

    ``log p(x) - ELBO(encoder)  =  [ELBO(refined) - ELBO(encoder)]  +  [log p(x) - ELBO(refined)]``

    The first is the amortization gap, which a better encoder would close; the second the approximation gap, which only a
    richer family of guides would. The refined guide is that of `pyrogen.inference.refine`, evaluated with fresh
    draws. What optimisation has not found counts as approximation gap.

    Reference:
        Cremer, Li & Duvenaud 2018, Inference Suboptimality in Variational Autoencoders, https://arxiv.org/abs/1801.03558

    Args:
        pair: the pair, on the data's device; it is run in evaluation mode and left as it was.
        data: a `pyrogen.data.Split`, or a batch.
        evidence: estimators of log p(x), or a comparison on the same data; `Exact` where the pair knows its evidence and
            ``ImportanceSampling(5000)`` where it does not, if not given. The one nearest to log p(x) is taken, see
            `Comparison.reference`, upper bounds left out.
        refine_steps: steps of the refinement.
        particles: draws for each datum in a step.
        draws: fresh draws for each datum with which both ELBOs are evaluated.
        learning_rate: where the rate of the refinement begins, in units of the guide's own scale.
        seed: seeds all draws; the caller's generators are left as they were.
        progress: show progress bars.

    Raises:
        ConfigurationError: no estimator that could tell the evidence, or a comparison on other data.
        NotPerDatum: the pair's latents are not each datum's own.
        PairError: the guide cannot be refined; the message names the site.

    Example:
        >>> import torch
        >>> from pyrogen.models import LinearGaussianVAE
        >>> x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
        >>> found = gaps(LinearGaussianVAE((4,), latent=2), x, refine_steps=50)
        >>> found.evidence_kind, found.amortization.shape
        ('exact', torch.Size([5]))
    """
    batch = evaluation_batch(data)
    rows = length(batch)
    pair.initialise(batch)
    with forked(batch, seed):
        refinement = refine(
            pair,
            batch,
            steps=refine_steps,
            particles=particles,
            draws=draws,
            learning_rate=learning_rate,
            progress=progress,
        )
        best = _best(_estimates(pair, batch, evidence, progress))
    if len(best.log_prob) != rows:
        raise ConfigurationError(
            f"the evidence given is that of {len(best.log_prob)} data, and there are {rows}: compare the same data"
        )
    return _joined(refinement, best, description(data, batch), refine_steps, fingerprint(pair.state_dict()))


@dataclass(frozen=True)
class Gaps(SavedResult):
    """The two gaps of each datum, in nats, with their Monte Carlo standard errors: a table, a picture, ``gaps.json``.

    Attributes:
        elbo: (data,), the ELBO of the guide as it is, and `elbo_error`.
        refined: (data,), the ELBO of the guide refined for each datum, and `refined_error`.
        evidence: (data,), the best estimate of log p(x), and `evidence_error`.
        amortization: (data,), refined minus encoder, and `amortization_error`; below zero by Monte Carlo error only.
        approximation: (data,), evidence minus refined, and `approximation_error`.
        lost: (data,), steps of the refinement at which the datum's bound was not finite.
        evidence_name: what estimated the evidence.
        evidence_kind: what kind of estimate that is; the approximation gap is a lower bound where it is ``"lower"``.
        steps: steps of the refinement.
        evaluations: evaluations of the model for the two ELBOs and the refinement.
        gradients: evaluations of the model's gradient.
        seconds: of the refinement.
        notes: what the reader must know, in sentences.
        data: what the data are.
    """

    elbo: Tensor
    elbo_error: Tensor
    refined: Tensor
    refined_error: Tensor
    evidence: Tensor
    evidence_error: Tensor
    amortization: Tensor
    amortization_error: Tensor
    approximation: Tensor
    approximation_error: Tensor
    lost: Tensor
    evidence_name: str
    evidence_kind: Kind
    steps: int
    evaluations: int
    gradients: int
    seconds: float
    notes: tuple[str, ...]
    data: Mapping[str, Any]

    file = "gaps.json"

    def __str__(self) -> str:
        return format_gaps(self.record())

    def __repr__(self) -> str:
        return f"Gaps({len(self.elbo)} data; evidence by {self.evidence_name})"

    def plot(self) -> Figure:
        """Draw both gaps of every datum."""
        return gap_picture(self.record())


def _estimates(
    pair: Pair, batch: Batch, evidence: Sequence[Estimator] | Comparison | None, progress: bool
) -> list[Estimate]:
    if isinstance(evidence, Comparison):
        return list(evidence.estimates)
    if evidence is None:
        evidence = [Exact()] if hasattr(pair, "log_evidence") else [ImportanceSampling(5000, draws=0)]
    return [estimator.estimate(pair, batch, progress=progress) for estimator in evidence]


def _best(estimates: list[Estimate]) -> Estimate:
    """The estimate nearest to log p(x), of those that are not, in expectation, too large."""
    usable = [estimate for estimate in estimates if estimate.kind != "upper"]
    if not usable:
        raise ConfigurationError(
            "the gap needs an estimate of log p(x) that is no upper bound: give evidence=[ImportanceSampling(5000)], "
            f"not {[estimate.name for estimate in estimates]}"
        )
    return Comparison(usable, {}).reference


def _joined(refinement: Refinement, best: Estimate, described: Mapping[str, Any], steps: int, parameters: str) -> Gaps:
    evidence, evidence_error = (value.detach().double().cpu() for value in (best.log_prob, best.standard_error))
    refined, refined_error, lost = (x.cpu() for x in (refinement.refined, refinement.refined_error, refinement.lost))
    error = (evidence_error.square() + refined_error.square()).sqrt()
    notes = list(refinement.notes)
    if best.kind == "lower":
        notes.append(f"{best.name} is a lower bound of log p(x) in expectation, and so is the approximation gap")
    notes += [f"{best.name}: {warning}" for warning in best.warnings()]
    below = int((evidence - refined < -_IMPLAUSIBLE * error).sum())
    if below:
        notes.append(
            f"for {below} data the evidence by {best.name} lies below the refined ELBO, which none can: it is too low, "
            "and so is the approximation gap; estimate it with more particles, or by annealed importance sampling"
        )
    strayed = int((lost > 0).sum())
    if strayed:
        notes.append(
            f"the bound of {strayed} data was not finite at some step of the refinement, in which they took no part"
        )
    return Gaps(
        elbo=refinement.encoder.cpu(),
        elbo_error=refinement.encoder_error.cpu(),
        refined=refined,
        refined_error=refined_error,
        evidence=evidence,
        evidence_error=evidence_error,
        amortization=refinement.gain.cpu(),
        amortization_error=refinement.gain_error.cpu(),
        approximation=evidence - refined,
        approximation_error=error,
        lost=lost,
        evidence_name=best.name,
        evidence_kind=best.kind,
        steps=steps,
        evaluations=refinement.evaluations,
        gradients=refinement.gradients,
        seconds=refinement.seconds,
        notes=tuple(notes),
        data=described,
        parameters=parameters,
    )
