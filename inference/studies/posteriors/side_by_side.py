"""The posteriors that several methods find for the same data, side by side.

Axes: draws, data, event.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pyrogen.batch import Batch, device_of, length
from pyrogen.errors import ConfigurationError, DataError, NotPerDatum
from pyrogen.pair import Pair
from pyrogen.run_directory import fingerprint

from ...estimators.estimate import Estimate, Estimator
from ...estimators.importance import ImportanceSampling
from ...estimators.result_files import as_chains, as_draws, load_arviz, read_record, write_record
from .agreement import Agreement, agree
from .posterior_draws import Method, PosteriorDraws, draw

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Posteriors", "posterior"]

_RECORD = "posteriors.json"
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
        >>> from pyrogen.models import LinearGaussianVAE
        >>> x = torch.zeros(3, 4)
        >>> found = posterior(LinearGaussianVAE((4,), latent=2), x, ["guide", "exact"], draws=100, permutations=19)
        >>> found.reference, found["guide"].latents["z"].shape
        ('exact', torch.Size([100, 3, 2]))
    """
    if draws < 4:
        raise ConfigurationError(f"draws must be at least 4, not {draws}")
    if permutations < 1:
        raise ConfigurationError(f"permutations must be at least 1, not {permutations}")
    batch: Batch = data.fixed() if hasattr(data, "fixed") else data
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
    place = device_of(batch)
    found, evidence = [], {}
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        for number, method in enumerate(methods):
            torch.manual_seed(seed + number)
            if isinstance(method, Estimator):
                method = method.estimate(pair, batch, progress=progress)
            if isinstance(method, Estimate):
                evidence[method.name] = method
            found.append(draw(pair, batch, method, draws, progress=progress))
    chosen = reference or _reference(found, evidence)
    standard = next(method for method in found if method.name == chosen)
    agreements = [
        agree(method, standard, classifier=classifier, permutations=permutations, seed=seed)
        for method in found
        if method is not standard
    ]
    described = data.describe() if hasattr(data, "describe") else {"rows": length(batch)}
    return Posteriors(found, agreements, chosen, described, fingerprint(pair.state_dict()))


@dataclass(frozen=True)
class Posteriors:
    """Posterior draws of the same data by several methods, and how they agree: words, a picture, files.

    Attributes:
        methods: the draws of each method.
        agreements: how each method but the reference agrees with it.
        reference: the name of the reference.
        data: what the data are.
        parameters: fingerprint of the pair's parameters, see `pyrogen.saving.fingerprint`.
    """

    methods: list[PosteriorDraws]
    agreements: list[Agreement]
    reference: str
    data: Mapping[str, Any]
    parameters: str | None = None

    def __getitem__(self, name: str) -> PosteriorDraws:
        for method in self.methods:
            if method.name == name:
                return method
        raise ConfigurationError(f"no method is called {name!r}; there are {[method.name for method in self.methods]}")

    def __str__(self) -> str:
        from pyrogen.report.posteriors import format_posteriors

        return format_posteriors(self.record())

    def __repr__(self) -> str:
        return f"Posteriors({', '.join(method.name for method in self.methods)}; {self.data.get('rows')} data)"

    def record(self) -> dict[str, Any]:
        """Agreements, and the draws of the first data, as plain values; what is printed and drawn."""
        return {
            "version": 1,
            "parameters": self.parameters,
            "data": dict(self.data),
            "reference": self.reference,
            "dimensions": self.methods[0].dimensions(),
            "methods": [
                {
                    "name": method.name,
                    "exact": method.exact,
                    "draws": method.count,
                    "effective": method.effective.tolist(),
                    "independent": method.independent.tolist(),
                    "shown": method.matrix()[:, :_SHOWN].transpose(0, 1).tolist(),  # (data, draws, dims)
                }
                for method in self.methods
            ],
            "agreements": [agreement.record() for agreement in self.agreements],
        }

    def plot(self) -> Figure:
        """Draw how the methods agree with the reference, and the posteriors of some data."""
        from pyrogen.report.posteriors import agreement_picture

        return agreement_picture(self.record())

    def to_arviz(self) -> dict[str, Any]:
        """The draws of each method as an ``arviz.InferenceData``, by name: group ``posterior``, (chain, draw, data, ...).

        ``arviz.plot_forest`` and ``arviz.plot_density`` take the values side by side. Independent draws are dealt out to
        four chains where they divide.
        """
        arviz = load_arviz()
        return {
            method.name: arviz.from_dict(
                posterior={name: as_chains(value) for name, value in method.latents.items()},
                dims={name: ["data"] for name in method.latents},
            )
            for method in self.methods
        }

    def save(self, directory: str | Path) -> Path:
        """Write ``posteriors.json`` and, for each method in turn, ``posterior-0.nc`` and so on, which ArviZ reads."""
        path = write_record(directory, _RECORD, self.record())
        for number, found in enumerate(self.to_arviz().values()):
            temporary = path / f"{_netcdf(number)}.tmp"
            found.to_netcdf(str(temporary))
            os.replace(temporary, path / _netcdf(number))
        return path

    @staticmethod
    def load(directory: str | Path) -> Posteriors:
        """Read what `save` wrote.

        Raises:
            DataError: a file is missing or damaged.
        """
        record, path = read_record(directory, _RECORD), Path(directory)
        methods = []
        try:
            for number, saved in enumerate(record["methods"]):
                found = load_arviz().from_netcdf(str(path / _netcdf(number)))
                methods.append(
                    PosteriorDraws(
                        saved["name"],
                        {str(name): as_draws(values) for name, values in found.posterior.items()},
                        torch.tensor(saved["effective"], dtype=torch.float64),
                        torch.tensor(saved["independent"], dtype=torch.float64),
                        saved["exact"],
                    )
                )
            agreements = [Agreement.of(saved) for saved in record["agreements"]]
            return Posteriors(methods, agreements, record["reference"], record["data"], record.get("parameters"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"the posteriors in {path} are damaged ({error!r}): save them again") from error


def _reference(found: Sequence[PosteriorDraws], evidence: Mapping[str, Estimate]) -> str:
    """The exact posterior, else Markov chains, else what finds the largest evidence."""

    def rank(method: PosteriorDraws) -> tuple[int, float]:
        estimate = evidence.get(method.name)
        if estimate is None:
            return (3 if method.exact else 0), 0.0
        mean = float(estimate.log_prob.mean())
        return (2 if "ess_bulk" in estimate.diagnostics else 1), mean if math.isfinite(mean) else -math.inf

    return max(found, key=rank).name


def _netcdf(number: int) -> str:
    return f"posterior-{number}.nc"
