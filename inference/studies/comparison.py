"""Several estimates of log p(x) on the same data, side by side.

Axes: data, draws.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor

from pyrogen.batch import length
from pyrogen.checks import preflight
from pyrogen.devices import device_named
from pyrogen.errors import ConfigurationError
from pyrogen.limits import KHAT_LIMIT
from pyrogen.pair import Pair
from pyrogen.processes import joined, own_device
from pyrogen.randomness import forked
from pyrogen.report import format_table, plots
from pyrogen.report.comparison_table import latex_table, markdown_table
from pyrogen.report.records import check_record
from pyrogen.report.wording import measured
from pyrogen.run_directory import fingerprint

from ..estimators.estimate import Curve, Draws, Estimate, Estimator
from ..estimators.result_files import arviz_data, arviz_group, as_chains, as_draws, read_netcdf
from ..estimators.shares import estimate_in_shares
from ..estimators.standard_errors import mean_and_error
from ..graphs import Compile, SharedGraphs
from ..weights.evaluation import evaluation_batch
from .saved_result import SavedResult, description, named, plain, restored

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Comparison", "compare"]

_NETCDF = "comparison.nc"


def compare(
    pair: Pair,
    data: Any,
    estimators: Sequence[Estimator],
    *,
    device: str | torch.device = "auto",
    seed: int = 0,
    progress: bool = False,
    compile: Compile = False,
) -> Comparison:
    """Estimate log p(x) of the same data in several ways.

    Under ``torchrun`` each process estimates its share of the data, and every one returns the whole comparison.

    Args:
        pair: the pair; it is moved to the device and run in evaluation mode.
        data: a `pyrogen.data.Split`, or what `fit` takes; the data set of a loader, from first to last.
        estimators: what to estimate with, for instance ``[ELBO(), IWAE(50), ImportanceSampling(5000)]``.
        device: ``"auto"``, or a device.
        seed: seeds the particles; the caller's generators are left as they were.
        progress: show a progress bar for each estimator.
        compile: compute log weights by a recorded graph of the pair, compiled once a shape of chunk has come up often
            enough; see `pyrogen.inference.fit`. The draws stay the same.

    Raises:
        ConfigurationError: no estimator, or two of one name.
        NotPerDatum: the pair has no evidence of each datum alone; the message names the site.
        ProcessError: another process is gone.

    Example:
        >>> from pyrogen.inference import ELBO, Exact, ImportanceSampling, compare
        >>> from pyrogen.models import LinearGaussianVAE
        >>> x = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
        >>> table = compare(LinearGaussianVAE((4,), latent=2), x, [ELBO(), ImportanceSampling(500), Exact()])
        >>> [estimate.kind for estimate in table.estimates]
        ['lower', 'consistent', 'exact']
    """
    names = [estimator.name for estimator in estimators]
    if not names:
        raise ConfigurationError("compare needs at least one estimator, for instance ELBO()")
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"two estimators are called {name!r}: give one another `name`")
    place = own_device(device_named(device))
    pair.to(place)
    batch = evaluation_batch(data, place)
    described = description(data, batch)
    estimates = []
    graphs = SharedGraphs(compile)
    with joined(place) as processes, forked(place):
        pair.initialise(batch)
        preflight(pair, batch)
        processes.require_same("arguments", {"rows": length(batch), "estimators": names})
        if processes.size == 1:  # a share of the data may suit where all of them do not
            for estimator in estimators:
                estimator.require(pair, batch)
        for number, estimator in enumerate(estimators):
            found = estimate_in_shares(
                estimator, pair, batch, processes, seed=seed + number, compile=graphs, progress=progress
            )
            estimates.append(found)
    return Comparison(estimates, described, parameters=fingerprint(pair.state_dict()))


@dataclass(frozen=True)
class Comparison(SavedResult):
    """Several estimates of log p(x) on the same data: a table, pictures, files.

    It is saved as ``comparison.json``, which people and the report read, and ``comparison.nc``, which ArviZ reads.

    Attributes:
        estimates: the estimates, in the order asked for.
        data: what the data are: name, rows, dimensions, binarization.
    """

    estimates: list[Estimate]
    data: Mapping[str, Any]

    file = "comparison.json"

    def __getitem__(self, name: str) -> Estimate:
        return named(self.estimates, name, "estimate")

    def __str__(self) -> str:
        return format_table(self.record())

    def __repr__(self) -> str:
        return f"Comparison({', '.join(e.name for e in self.estimates)}; {self.data.get('rows')} data)"

    @property
    def reference(self) -> Estimate:
        """The estimate nearest to log p(x): an exact one, else a consistent one, else the largest lower bound.

        The logarithm of an unbiased estimate of the evidence errs downwards, so of several the largest is nearest; of those
        within two standard errors of it, the one of least error. One that has missed mass (`missed`) is none, if another is
        left.
        """
        rank = {"exact": 3, "consistent": 2, "lower": 1}
        missed = {e.name: bool(self.missed(e.name).any()) for e in self.estimates}
        first = max(
            self.estimates,
            key=lambda e: (not bool(e.log_prob.isnan().any()), not missed[e.name], rank.get(e.kind, 0), e.log_prob.mean()),
        )
        if first.kind != "consistent":
            return first

        near = [
            other
            for other in self.estimates
            if other.kind == "consistent"
            and missed[other.name] == missed[first.name]
            and float((first.log_prob - other.log_prob).mean()) <= 2 * math.hypot(_error(first), _error(other))
        ]
        return min(near, key=_error, default=first)

    def missed(self, name: str) -> Tensor:
        """For which data an estimate has missed mass, (data,): it lies significantly below another, or a lower bound.

        Of lower bounds that is nothing to object to; of an upper one, that it is none. See `Estimate.lies_below`.
        """
        estimate = self[name]
        found = torch.zeros_like(estimate.log_prob, dtype=torch.bool)
        for other in self.estimates if estimate.kind in ("consistent", "upper") else ():
            if other.kind != "upper":
                found |= estimate.lies_below(other).to(found.device)
        return found

    def gap(self, name: str) -> tuple[float, float]:
        """How far an estimate lies below the reference, datum by datum, on average.

        Returns:
            The mean difference and its standard error over the data (which takes the Monte Carlo error in), in nats.
        """
        difference = self.reference.log_prob - self[name].log_prob
        if len(difference) > 1:
            return mean_and_error(difference)
        error = (self.reference.standard_error**2 + self[name].standard_error ** 2).sqrt().mean()
        return float(difference.mean()), float(error)

    def sentences(self) -> list[str]:
        """What the estimates say, in words."""
        reference, said = self.reference, []
        called = {"exact": "exact evidence", "consistent": f"evidence that {reference.name} estimates"}.get(
            reference.kind, f"largest bound, {reference.name}"
        )
        for estimate in self.estimates:
            if estimate is not reference:
                gap, error = self.gap(estimate.name)
                side = "below" if gap >= 0 else "above"
                said.append(f"{estimate.name} lies {measured(abs(gap), error)} nats {side} the {called}.")
        said += [sentence for estimate in self.estimates for sentence in self._missed_mass(estimate, estimate.name)]
        for estimate in self.estimates:
            if estimate.khat is not None and bool((estimate.khat > KHAT_LIMIT).any()):
                said.append(
                    f"k-hat of {estimate.name} is above {KHAT_LIMIT} for "
                    f"{float((estimate.khat > KHAT_LIMIT).double().mean()):.1%} of the data, for which no importance "
                    "estimate can be trusted."
                )
            elif estimate.khat is not None and not bool(torch.isnan(estimate.khat).any()):
                said.append(f"k-hat of {estimate.name} is at most {KHAT_LIMIT} for all data.")
        return said

    def record(self) -> dict[str, Any]:
        """See `SavedResult.record`."""
        return {
            "version": 1,
            **plain(self, without=["estimates"]),
            "sentences": self.sentences(),
            "rows": [self._row(estimate) for estimate in self.estimates],
            "estimates": [
                {**plain(estimate, without=["draws"]), "draws": estimate.draws is not None} for estimate in self.estimates
            ],
        }

    def plot(self, kind: Literal["overview", "bounds", "khat", "cost"] = "overview") -> Figure:
        """Draw the estimates, the bounds against the number of particles, the k-hat of each datum, or nats against cost."""
        return cast("Figure", getattr(plots, kind)(self.record()))

    def to_markdown(self) -> str:
        """The table in Markdown, as ``print`` shows it."""
        return markdown_table(self.record())

    def to_latex(self) -> str:
        """The table as a ``tabular`` of LaTeX, which needs the package booktabs."""
        return latex_table(self.record())

    def to_dataframe(self, *, per_datum: bool = False, labels: Any = None) -> Any:
        """The numbers as a pandas frame.

        Args:
            per_datum: a row for each datum and estimate, with ``log_prob`` and ``standard_error`` in nats, ``khat``,
                ``ess``, and whether the estimate has ``missed`` mass or is ``untrusted``; else a row for each estimate.
            labels: what to call the data by, such as classes, shape (data,), as a column of the former.

        Raises:
            ConfigurationError: there are not as many labels as data, or labels without `per_datum`.
        """
        import pandas

        if labels is not None and (not per_datum or len(labels) != len(self.estimates[0].log_prob)):
            raise ConfigurationError(f"labels are one for each datum, with per_datum=True: there are {len(labels)}")
        if not per_datum:
            return pandas.DataFrame(self.record()["rows"])
        parts = []
        for estimate in self.estimates:
            columns: dict[str, Any] = {
                "estimator": estimate.name,
                "kind": estimate.kind,
                "datum": range(len(estimate.log_prob)),
            }
            if labels is not None:
                columns["label"] = labels.tolist() if hasattr(labels, "tolist") else list(labels)
            for name in ("log_prob", "standard_error", "khat", "ess"):
                value = getattr(estimate, name)
                columns[name] = math.nan if value is None else value.double().cpu().numpy()
            columns["missed"], columns["untrusted"] = self.missed(estimate.name).cpu(), estimate.untrusted().cpu()
            parts.append(pandas.DataFrame(columns))
        return pandas.concat(parts, ignore_index=True)

    def to_arviz(self) -> Any:
        """The comparison as ArviZ holds it: an ``InferenceData``, or a ``DataTree`` from version 1 on.

        Groups: ``posterior``, the draws (chain, draw, data, ...) of the estimate that has them; ``log_likelihood``, of each
        datum at each draw; ``estimates``, every estimate's log_prob, standard_error, khat and ess, by estimator and datum.
        ``arviz.loo``, ``arviz.plot_khat`` and ``arviz.compare`` take it. Mind what they then say: the
        latents are each datum's own, so leaving a datum out leaves its prior, and their k-hat is that of the step from
        the posterior to the prior.
        """
        import xarray

        unknown = torch.full_like(self.estimates[0].log_prob, math.nan)
        columns = {}
        for name in ("log_prob", "standard_error", "khat", "ess"):
            found = [getattr(estimate, name) for estimate in self.estimates]
            rows = [(unknown if values is None else values).double().cpu() for values in found]
            columns[name] = ("estimator", "data"), torch.stack(rows).numpy()
        estimates = xarray.Dataset(columns, coords={"estimator": [estimate.name for estimate in self.estimates]})
        drawn = next((estimate.draws for estimate in self.estimates if estimate.draws is not None), None)
        groups = {}
        if drawn is not None:
            chains = {} if drawn.chains is None else {"markov_chains": drawn.chains}
            latents = {name: as_chains(value) for name, value in drawn.latents.items()}
            groups = {
                "posterior": arviz_group(latents, ["data"], chains),
                "log_likelihood": arviz_group({"x": as_chains(drawn.log_likelihood)}, ["data"]),
            }
        return arviz_data({**groups, "estimates": estimates})

    def _draws(self) -> dict[str, Any]:
        return {_NETCDF: self.to_arviz()}

    @classmethod
    def _of(cls, record: dict[str, Any], directory: Path) -> Comparison:
        check_record(record, str(directory / cls.file))
        draws = _saved_draws(directory / _NETCDF)
        estimates = []
        for saved in record["estimates"]:
            curve = None if saved.get("curve") is None else Curve(**saved["curve"])
            estimates.append(restored(Estimate, saved, draws=draws if saved.get("draws") else None, curve=curve))
        return restored(cls, record, estimates=estimates)

    def _row(self, estimate: Estimate) -> dict[str, Any]:
        nats, ess, dimensions = float(estimate.log_prob.mean()), estimate.ess, self.data.get("dimensions")
        khat = torch.empty(0, device="cpu") if estimate.khat is None else estimate.khat[~torch.isnan(estimate.khat)]
        return {
            "name": estimate.name,
            "kind": estimate.kind,
            "nats": nats,
            "error": _error(estimate),
            "spread": mean_and_error(estimate.log_prob)[1] if len(estimate.log_prob) > 1 else None,
            "bits_per_dimension": -nats / (dimensions * math.log(2)) if dimensions else None,
            "worst_khat": float(khat.max()) if len(khat) else None,
            "share_khat_above": float((khat > KHAT_LIMIT).double().mean()) if len(khat) else None,
            "median_ess": None if ess is None else float(ess.median()),
            "worst_ess": None if ess is None else float(ess.min()),
            "evaluations": estimate.evaluations,
            "gradients": estimate.gradients,
            "seconds": estimate.seconds,
            "missed": float(self.missed(estimate.name).double().mean()),
            "warnings": [*self._missed_mass(estimate, "it"), *estimate.warnings()],
        }

    def _missed_mass(self, estimate: Estimate, subject: str) -> list[str]:
        """What the others say against an estimate, as a sentence on that `subject`."""
        missed = self.missed(estimate.name)
        if not bool(missed.any()):
            return []
        above = ", ".join(e.name for e in self.estimates if e.kind != "upper" and bool(estimate.lies_below(e).any()))
        verdict = "is no upper bound" if estimate.kind == "upper" else "has missed mass"
        share = f"{float(missed.double().mean()):.1%}"
        return [f"{subject} lies significantly below {above} for {share} of the data: it {verdict} there."]


def _error(estimate: Estimate) -> float:
    """The Monte Carlo standard error of the mean over the data."""
    return float(estimate.standard_error.square().sum().sqrt() / len(estimate.standard_error))


def _saved_draws(path: Path) -> Draws | None:
    found = read_netcdf(path) if path.exists() else None
    if found is None or not hasattr(found, "posterior"):
        return None
    return Draws(
        latents={str(name): as_draws(values) for name, values in found.posterior.items()},
        log_likelihood=as_draws(found.log_likelihood["x"]),
        chains=None if (chains := found.posterior.attrs.get("markov_chains")) is None else int(chains),
    )
