"""The posteriors that several methods find for the same data, side by side.

Axes: draws, data, event.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyrogen.errors import ConfigurationError, NotPerDatum, require_at_least
from pyrogen.pair import Pair
from pyrogen.randomness import forked, seed_generators
from pyrogen.report.posteriors import agreement_picture, format_posteriors
from pyrogen.run_directory import fingerprint

from ...estimators.estimate import Estimate, Estimator
from ...estimators.importance import ImportanceSampling
from ...estimators.result_files import arviz_data, arviz_group, as_chains, as_draws, read_netcdf
from ...weights.evaluation import evaluation_batch
from ..saved_result import SavedResult, description, named, plain, restored
from .agreement import Agreement, agree
from .posterior_draws import Method, PosteriorDraws, draw

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Posteriors", "posterior"]

_SHOWN = 6  # data whose draws the record holds, for pictures


def posterior(
    pair: Pair,
    data: Any,
    methods: Sequence[Method] | None = None,
    *,
    reference: str | None = None,
    draws: int = 400,
    classifier: Any = None,
    permutations: int = 199,
    seed: int = 0,
    progress: bool = False,
) -> Posteriors:
    """Draw the posteriors of the same data in several ways, and say how they differ.

    Each method is compared with the reference: means and standard deviations of every latent in units of Monte Carlo
    standard error, a classifier two-sample test and the energy distance, by datum and over all data.

    Args:
        pair: the pair, on the data's device.
        data: a `pyrogen.data.Split`, or a batch.
        methods: ``"guide"``, ``"exact"`` (where the pair has ``posterior(batch)``), estimators that keep draws
            (`ImportanceSampling`, annealed importance sampling, SMC, NUTS), or estimates with draws of the same data; the
            guide, ``ImportanceSampling(5000)`` and, where there is one, the exact posterior, if not given.
        reference: the name of the method that the others are compared with; an exact one if there is, else Markov chains,
            else the estimator with the largest evidence, if not given.
        draws: draws of each datum by each method, at most.
        classifier: a classifier of scikit-learn for the test of each datum; a ridge regression if not given.
        permutations: of each permutation test.
        seed: seeds all draws and tests; the caller's generators are left as they were.
        progress: show progress bars.

    Raises:
        ConfigurationError: fewer than two methods, two of one name, a method that keeps no draws, or an unknown reference.
        NotPerDatum: the pair's latents are not each datum's own.
        PairError: ``"exact"`` is asked for, and the pair has no ``posterior``.

    Example:
        >>> import torch
        >>> from pyrogen.models import LinearGaussianVAE
        >>> x = torch.zeros(3, 4)
        >>> found = posterior(LinearGaussianVAE((4,), latent=2), x, ["guide", "exact"], draws=100, permutations=19)
        >>> found.reference, found["guide"].latents["z"].shape
        ('exact', torch.Size([100, 3, 2]))
    """
    require_at_least(4, draws=draws)
    require_at_least(1, permutations=permutations)
    batch = evaluation_batch(data)
    if methods is None:
        exact: list[Method] = ["exact"] if hasattr(pair, "posterior") else []
        methods = ["guide", ImportanceSampling(5000, draws=draws), *exact]
    names = [method if isinstance(method, str) else method.name for method in methods]
    if len(names) < 2 or len(set(names)) < len(names):
        raise ConfigurationError(f"a comparison needs two methods or more, each of another name, not {names}")
    if reference is not None and reference not in names:
        raise ConfigurationError(f"the reference {reference!r} is none of the methods: {names}")
    structure = pair.structure(batch)
    structure.require_per_datum("the posterior of each datum")
    if structure.subsampled:
        raise NotPerDatum(f"plate '{pair.data_plate}' draws a subsample of the batch: give the plate no subsample_size")
    found, evidence = [], {}
    with forked(batch):
        for number, method in enumerate(methods):
            seed_generators(batch, seed + number)
            if isinstance(method, Estimator):
                method = method.estimate(pair, batch, progress=progress)
            if isinstance(method, Estimate):
                evidence[method.name] = method
            found.append(draw(pair, batch, method, draws, progress=progress))
    chosen = reference or _reference(found, evidence)
    standard = named(found, chosen, "method")
    agreements = [
        agree(method, standard, classifier=classifier, permutations=permutations, seed=seed)
        for method in found
        if method is not standard
    ]
    return Posteriors(found, agreements, chosen, description(data, batch), parameters=fingerprint(pair.state_dict()))


@dataclass(frozen=True)
class Posteriors(SavedResult):
    """Posterior draws of the same data by several methods, and how they agree: words, a picture, files.

    They are saved as ``posteriors.json`` and, for each method in turn, ``posterior-0.nc`` and so on, which ArviZ reads.

    Attributes:
        methods: the draws of each method.
        agreements: how each method but the reference agrees with it.
        reference: the name of the reference.
        data: what the data are.
    """

    methods: list[PosteriorDraws]
    agreements: list[Agreement]
    reference: str
    data: Mapping[str, Any]

    file = "posteriors.json"

    def __getitem__(self, name: str) -> PosteriorDraws:
        return named(self.methods, name, "method")

    def __str__(self) -> str:
        return format_posteriors(self.record())

    def __repr__(self) -> str:
        return f"Posteriors({', '.join(method.name for method in self.methods)}; {self.data.get('rows')} data)"

    def record(self) -> dict[str, Any]:
        """See `SavedResult.record`; of the draws, those of the first data."""
        return {
            "version": 1,
            **plain(self, without=["methods", "agreements"]),
            "dimensions": self.methods[0].dimensions(),
            "methods": [
                {
                    **plain(method, without=["latents"]),
                    "draws": method.count,
                    "shown": method.matrix()[:, :_SHOWN].transpose(0, 1).tolist(),  # (data, draws, dims)
                }
                for method in self.methods
            ],
            "agreements": [agreement.record() for agreement in self.agreements],
        }

    def plot(self) -> Figure:
        """Draw how the methods agree with the reference, and the posteriors of some data."""
        return agreement_picture(self.record())

    def to_arviz(self) -> dict[str, Any]:
        """The draws of each method as ArviZ holds them, by name: group ``posterior``, (chain, draw, data, ...).

        ``arviz.plot_forest`` and ``arviz.plot_density`` take the values side by side. Independent draws are dealt out to
        four chains where they divide.
        """
        return {
            method.name: arviz_data(
                {"posterior": arviz_group({name: as_chains(value) for name, value in method.latents.items()}, ["data"])}
            )
            for method in self.methods
        }

    def _draws(self) -> dict[str, Any]:
        return {_netcdf(number): found for number, found in enumerate(self.to_arviz().values())}

    @classmethod
    def _of(cls, record: dict[str, Any], directory: Path) -> Posteriors:
        methods = []
        for number, saved in enumerate(record["methods"]):
            drawn = read_netcdf(directory / _netcdf(number)).posterior
            latents = {str(name): as_draws(values) for name, values in drawn.items()}
            methods.append(restored(PosteriorDraws, saved, latents=latents))
        agreements = [Agreement.of(saved) for saved in record["agreements"]]
        return restored(cls, record, methods=methods, agreements=agreements)


def _reference(found: Sequence[PosteriorDraws], evidence: Mapping[str, Estimate]) -> str:
    """The exact posterior, else Markov chains, else what finds the largest evidence."""

    def rank(method: PosteriorDraws) -> tuple[int, float]:
        estimate = evidence.get(method.name)
        if estimate is None:
            return (3 if method.exact else 0), 0.0
        mean = float(estimate.log_prob.mean())
        chains = estimate.draws is not None and estimate.draws.chains is not None
        return (2 if chains else 1), mean if math.isfinite(mean) else -math.inf

    return max(found, key=rank).name


def _netcdf(number: int) -> str:
    return f"posterior-{number}.nc"
