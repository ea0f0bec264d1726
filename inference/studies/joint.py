"""The evidence of all data together, and the posterior of what they share, by NUTS on the model itself.

Axes: chains, draws, points, data, dims (all latents of all data, unconstrained and laid side by side).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from pyrogen.batch import Batch
from pyrogen.errors import NotPerDatum
from pyrogen.pair import Pair
from pyrogen.run_directory import fingerprint

from ..estimators.joint_density import JointDensity
from ..estimators.mcmc.bridge_sampling import bridge
from ..estimators.mcmc.chains import ChainSettings, Health, health, run_chains
from ..estimators.result_files import arviz_data, arviz_group, read_netcdf
from ..weights.evaluation import evaluation
from .saved_result import SavedResult, plain, restored

__all__ = ["JointEvidence", "joint_evidence"]

_NETCDF = "joint_evidence.nc"


@dataclass(frozen=True)
class JointEvidence(SavedResult):
    """The log evidence of all data together, with draws of the latents from their posterior.

    It is saved as ``joint_evidence.json``, and its draws as ``joint_evidence.nc``, which ArviZ reads.

    Attributes:
        log_evidence: ``log p(x_1, ..., x_N)``, in nats.
        standard_error: of `log_evidence`, in nats, by bridge sampling.
        latents: draws by site, (chains, draws, plates..., event...), of the chains that are left.
        health: R-hat and effective numbers of draws of each site, of its worst dimension.
        divergences: number of trajectories that diverged.
        acceptance: mean probability of acceptance.
        lost: number of chains that met values that are not finite.
        evaluations: number of evaluations of the joint density of all data.
        gradients: number of gradients of it.
        seconds: wall time.
        notes: what fails, in sentences.
    """

    log_evidence: float
    standard_error: float
    latents: Mapping[str, Tensor]
    health: Mapping[str, Health]
    divergences: int
    acceptance: float
    lost: int
    evaluations: int
    gradients: int
    seconds: float
    notes: tuple[str, ...] = ()

    file = "joint_evidence.json"

    @property
    def log_prob(self) -> float:
        """`log_evidence`, as an `Estimate` calls it."""
        return self.log_evidence

    def __str__(self) -> str:
        first = (
            f"log p(x) of all data together: {self.log_evidence:.3f} ± {self.standard_error:.3f} nats, by NUTS and bridge "
            f"sampling ({self.gradients:,} gradients, {self.seconds:.0f} s)"
        )
        sites = [
            f"latent '{name}': R-hat {found.rhat:.3f}, effective draws {found.bulk:.0f} (bulk) and {found.tail:.0f} (tail)"
            for name, found in self.health.items()
        ]
        return "\n".join([first, *sites, *(f"Mind that {note}." for note in self.notes)])

    def record(self) -> dict[str, Any]:
        """See `SavedResult.record`."""
        return {"version": 1, **plain(self, without=["latents"])}

    def to_arviz(self) -> Any:
        """The draws as ArviZ holds them, in the group ``posterior``."""
        return arviz_data({"posterior": arviz_group({name: value.cpu().numpy() for name, value in self.latents.items()})})

    def _draws(self) -> dict[str, Any]:
        return {_NETCDF: self.to_arviz()}

    @classmethod
    def _of(cls, record: dict[str, Any], directory: Path) -> JointEvidence:
        drawn = read_netcdf(directory / _NETCDF).posterior
        latents = {str(name): torch.from_numpy(value.to_numpy().copy()) for name, value in drawn.items()}
        health = {name: Health(**values) for name, values in record["health"].items()}
        return restored(cls, record, latents=latents, health=health)


def joint_evidence(
    pair: Pair,
    batch: Batch,
    *,
    draws: int = 1000,
    warmup: int = 500,
    chains: int = 4,
    target_acceptance: float = 0.8,
    max_depth: int = 10,
    full_mass: bool = False,
    progress: bool = False,
) -> JointEvidence:
    r"""The evidence of all data together of a pair whose data share latents, and the posterior of all latents.

    .. math::
        \log p(x_1, \dots, x_N) = \log \int p(g) \prod_i \int p(x_i, z_i \mid g) \, dz_i \, dg

    A pair with a global latent has no evidence of each datum, so that no `Estimator` takes it. Here the chains of
    ``pyro.infer.NUTS`` move all of its latents at once, those of each datum too, from draws of the guide; the
    evidence comes by bridge sampling on the same unconstrained space. It is meant for few data, or few local latents.

    Args:
        pair: the pair.
        batch: all data.
        draws: draws of each chain that are kept.
        warmup: steps before them, in which step size and mass matrix adapt.
        chains: number of chains; random numbers come from torch's default generator.
        target_acceptance: mean acceptance probability to which the step size is adapted.
        max_depth: a trajectory has at most two to the power of this many steps.
        full_mass: adapt a dense mass matrix, for latents that are strongly correlated.
        progress: show a progress bar.

    Raises:
        PairError: a latent is discrete, or there is none.
        NotPerDatum: the joint density is not that of the model: sites are scaled, or data are subsampled.
        ConfigurationError: a number cannot be used.

    Example:
        >>> from pyrogen.models import GlobalGaussian
        >>> _ = torch.manual_seed(0)
        >>> found = joint_evidence(GlobalGaussian((1,)), torch.zeros(3, 1), draws=50, warmup=50, chains=2)
        >>> found.latents["mu"].shape
        torch.Size([2, 50, 1])
    """
    start = time.perf_counter()
    sampler = ChainSettings(draws, warmup, chains, target_acceptance, max_depth, full_mass)
    structure = pair.structure(batch)
    structure.require_joint("the joint evidence")
    if structure.subsampled:
        raise NotPerDatum(
            f"plate '{pair.data_plate}' draws a subsample of the data: the joint evidence needs all of them; give the plate "
            "no subsample_size, and pass all data as the batch"
        )
    bar = tqdm(total=chains, disable=not progress, unit="chain", leave=False)
    with bar, evaluation(pair), pair.scope():
        density = JointDensity(pair, batch, structure)
        found = run_chains(density, density.starts, sampler, advance=bar.update)
        log_evidence, error, evaluations, strays = torch.nan, torch.nan, 0, 0
        if len(found.values):
            log_evidence, error, evaluations, strays = bridge(found.values, density)
        sites = {name: health(found.values[..., place]) for name, place in density.places.items()}
        latents = density.latents(found.values) if len(found.values) else {}
    said = [f"of latent '{name}', {complaint}" for name, one in sites.items() for complaint in one.complaints()]
    if found.divergences:
        said.append(f"{found.divergences} trajectories diverged: raise target_acceptance")
    if found.lost:
        said.append(f"{found.lost} of {chains} chains met values that are not finite, and were left out")
    if strays:
        said.append(f"the log density was not a number at {strays} points of the bridge's proposal, taken for zeros of it")
    return JointEvidence(
        log_evidence,
        error,
        latents,
        sites,
        found.divergences,
        found.acceptance,
        found.lost,
        evaluations + found.gradients,
        found.gradients,
        time.perf_counter() - start,
        tuple(said),
        parameters=fingerprint(pair.state_dict()),
    )
