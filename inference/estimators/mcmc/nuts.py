"""The No-U-Turn sampler as the reference for a few data: posterior draws, diagnostics, and the evidence by a bridge.

Axes: chains, draws, data, dims.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pyrogen.batch import Batch, device_of, length
from pyrogen.errors import ConfigurationError, require_at_least
from pyrogen.pair import Pair

from ...weights.chunks import Block
from ..estimate import BlockEstimate, Draws, Estimate, Estimator
from ..latent_density import LatentDensity
from .bridge_sampling import bridge
from .chains import ESS_LIMIT, RHAT_LIMIT, ChainSettings, health, run_chains

__all__ = ["NUTS"]

_POINTS = 1024  # evaluated at once
_DIAGNOSTICS = ("rhat", "ess_bulk", "ess_tail", "divergences", "acceptance", "lost", "strays")


class NUTS(Estimator):
    """Posterior draws of each datum's latents by NUTS, and log p(x) from them by bridge sampling.

    Each datum has chains of its own, on the unconstrained space, which begin at draws of the guide and run one after
    another through ``pyro.infer.MCMC``. That costs thousands of gradients for each datum: it is the reference for a few
    data, against which the estimates of many are checked. The estimate is consistent where the chains have met the whole
    posterior, which the diagnostics can deny but not prove.

    The estimate's `diagnostics`, by datum: ``rhat``, rank-normalised split R-hat; ``ess_bulk`` and ``ess_tail``, effective
    numbers of draws, all three of the worst dimension; ``divergences``; ``acceptance``; ``lost``, chains that met
    values that are not finite. What fails comes out in `notes`. Draws lie chain by chain, those of a lost chain filled up
    from the others.

    Reference:
        Hoffman & Gelman 2014, The No-U-Turn Sampler, https://www.jmlr.org/papers/v15/hoffman14a.html
        Meng & Wong 1996, see `pyrogen.inference.estimators.mcmc.bridge_sampling`

    Args:
        draws: draws of each chain that are kept.
        warmup: steps before them, in which step size and mass matrix adapt.
        chains: chains of each datum.
        target_acceptance: mean acceptance probability to which the step size is adapted.
        max_depth: a trajectory has at most two to the power of this many steps.
        full_mass: adapt a dense mass matrix, for latents that are strongly correlated.
        max_data: more data than these are refused.

    Raises:
        ConfigurationError: a number cannot be used.

    Example:
        >>> from pyrogen.models import LinearGaussianVAE
        >>> _ = torch.manual_seed(0)
        >>> pair = LinearGaussianVAE((4,), latent=1)
        >>> found = NUTS(50, warmup=50, chains=2).estimate(pair, torch.zeros(1, 4))
        >>> found.kind, found.draws.latents["z"].shape
        ('consistent', torch.Size([100, 1, 1]))
    """

    kind = "consistent"

    def __init__(
        self,
        draws: int = 1000,
        *,
        warmup: int = 500,
        chains: int = 4,
        target_acceptance: float = 0.8,
        max_depth: int = 10,
        full_mass: bool = False,
        max_data: int = 50,
    ) -> None:
        self.sampler = ChainSettings(draws, warmup, chains, target_acceptance, max_depth, full_mass)
        require_at_least(1, max_data=max_data)
        self.max_data, self.chains = max_data, chains
        self.name = f"NUTS({draws})"

    def record(self) -> dict[str, Any]:
        """See `Estimator.record`."""
        return {**super().record(), **vars(self.sampler)}

    @property
    def particles_per_datum(self) -> int:
        """See `Estimator.particles_per_datum`."""
        return self.chains * self.sampler.draws

    def require(self, pair: Pair, batch: Batch) -> None:
        """See `Estimator.require`.

        Raises:
            ConfigurationError: there are more data than `max_data`, or the pair does not run on single data.
            PairError: a latent is discrete; see `LatentDensity`.
        """
        rows, run = length(batch), self.sampler
        if rows > self.max_data:
            steps = rows * run.chains * (run.draws + run.warmup)
            raise ConfigurationError(
                f"{self.name} on {rows} data would run {rows * run.chains:,} chains, {steps:,} trajectories of several "
                f"gradients each, one after another: pass at most {self.max_data} data, for instance "
                f"batch[:{self.max_data}], raise max_data, or take an estimator that moves all data at once"
            )
        density = LatentDensity(pair, batch, initial="prior")
        if rows > 1 and not density.structure.amortized:
            raise ConfigurationError(
                f"{type(pair).__name__} runs on a whole batch only, and {self.name} takes one datum at a time: pass a "
                "single datum, or use a guide that computes its parameters from the data"
            )

    def begin(self, whole: Block) -> Block:
        """See `Estimator.begin`."""
        return whole.sized(1, state=LatentDensity(whole.pair, whole.batch, initial="prior"))

    def block(self, block: Block) -> BlockEstimate:
        """See `Estimator.block`; a block is one datum."""
        density, datum, run = block.state, block.batch, self.sampler
        with block.pair.scope():
            log_joint = _log_joint(density, datum)
            found = run_chains(log_joint, lambda count: density.draw_guide(datum, count)[:, 0], run)
            log_prob, standard_error, evaluations, strays = math.nan, math.nan, found.gradients, 0
            if len(found.values):
                joined = bridge(found.values, log_joint)
                log_prob, standard_error = joined.log_evidence, joined.standard_error
                evaluations += joined.evaluations
                strays = joined.lost
            latents = _latents(density, _filled(found.values, run), datum)
        values = (log_prob, standard_error, *health(found.values), found.divergences, found.acceptance, found.lost, strays)
        first, second, *rest = torch.tensor(values, dtype=torch.float64, device=device_of(datum)).unsqueeze(1)  # (data,)
        diagnostics = dict(zip(_DIAGNOSTICS, rest, strict=True))
        draws = Draws(log_likelihood=latents.pop(""), latents=latents, chains=run.chains)
        return BlockEstimate(
            first,
            second,
            ess=diagnostics["ess_bulk"],
            diagnostics=diagnostics,
            draws=draws,
            evaluations=evaluations,
            gradients=found.gradients,
        )

    def finish(self, found: Estimate, whole: Block) -> Estimate:
        """See `Estimator.finish`."""
        table = dict(found.diagnostics)
        notes = _notes(self.name, table, self.chains, int(table.pop("strays").sum()))
        return replace(found, diagnostics=table, flagged=_fails(table), notes=tuple(notes))


def _log_joint(density: LatentDensity, datum: Batch) -> Callable[[Tensor], Tensor]:
    """The log joint density of one datum and its latents, from unconstrained points (points, dims)."""

    def log_joint(points: Tensor) -> Tensor:
        parts = [density.terms(part.unsqueeze(1), datum) for part in torch.split(points, _POINTS)]
        return torch.cat([(base + slope)[:, 0] for base, slope in parts])  # (points,)

    return log_joint


def _filled(values: Tensor, run: ChainSettings) -> Tensor:
    """Draws (chains, draws, dims) of as many chains as were asked for: the lost ones repeat the others."""
    if len(values) == run.chains:
        return values
    if not len(values):
        return values.new_full((run.chains, run.draws, values.shape[-1]), torch.nan)
    return values[torch.arange(run.chains, device=values.device) % len(values)]


def _latents(density: LatentDensity, values: Tensor, datum: Batch) -> dict[str, Tensor]:
    """The latents of one datum by site, (chains * draws, 1, ...), and log p(x | z) under the name ``""``."""
    parts = []
    for part in torch.split(values.flatten(0, 1), _POINTS):
        latents, log_likelihood = density.constrained(part.unsqueeze(1), datum)
        parts.append({**latents, "": log_likelihood})
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _fails(table: Mapping[str, Tensor]) -> Tensor:
    """Whether a diagnostic fails, for each datum: (data,)."""
    ess = torch.minimum(table["ess_bulk"], table["ess_tail"])  # (data,)
    mixed = (table["rhat"] <= RHAT_LIMIT) & (ess >= ESS_LIMIT)
    return ~mixed | (table["divergences"] > 0) | (table["lost"] > 0)


def _notes(name: str, table: Mapping[str, Tensor], chains: int, strays: int) -> list[str]:
    """Which diagnostics fail, and on how many data."""
    rows = len(table["rhat"])
    ess = torch.minimum(table["ess_bulk"], table["ess_tail"])  # (data,)
    said = []
    if unmixed := int((~(table["rhat"] <= RHAT_LIMIT)).sum()):
        worst = float(table["rhat"].nan_to_num(nan=torch.inf).max())
        said.append(
            f"R-hat of {name} is above {RHAT_LIMIT} for {unmixed} of {rows} data, at worst {worst:.3f}: their chains have "
            "not met one posterior; take more warmup and draws"
        )
    if few := int((~(ess >= ESS_LIMIT)).sum()):
        said.append(
            f"the effective number of draws of {name} is below {ESS_LIMIT:.0f} for {few} of {rows} data, at worst "
            f"{float(ess.nan_to_num().min()):.0f}: take more draws"
        )
    if diverged := int((table["divergences"] > 0).sum()):
        said.append(
            f"{int(table['divergences'].sum())} trajectories of {name} diverged, on {diverged} of {rows} data: the chains "
            "may miss where the posterior is strongly curved; raise target_acceptance"
        )
    if lost := int(table["lost"].sum()):
        said.append(f"{lost} of {rows * chains} chains of {name} met values that are not finite, and were left out")
    if strays:
        said.append(
            f"the log density was not a number at {strays} points of the bridge's proposals, which count as zero density"
        )
    return said
