"""Simulation-based calibration: whether a guide's posteriors, over all data the model makes, are right on average.

Axes: simulations (data drawn from the model), draws, dims.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from pyrogen.batch import device_of, index, length
from pyrogen.errors import ConfigurationError, PairError, require_at_least
from pyrogen.pair import Pair
from pyrogen.randomness import forked
from pyrogen.report.calibration import calibration_picture, format_calibration
from pyrogen.run_directory import fingerprint

from ..estimators.result_files import arviz_data
from ..weights.evaluation import evaluation_batch
from .posteriors.posterior_draws import dimension_names
from .saved_result import SavedResult, description, named, plain, restored
from .sbc_ranks import LEAST_SIMULATIONS, RankedMethod, Ranks, judged, ranks_among
from .simulation import simulate
from .uniformity import bands

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

__all__ = ["Calibration", "Ranks", "calibration"]


def calibration(
    pair: Pair,
    data: Any,
    methods: Sequence[RankedMethod] = ("guide",),
    *,
    simulations: int = 1000,
    draws: int = 99,
    levels: Sequence[float] = (0.5, 0.8, 0.95),
    significance: float = 0.05,
    seed: int = 0,
    progress: bool = False,
) -> Calibration:
    """Simulate data whose latents are known, and look at the rank of each among draws of its posterior.

    ``z ~ p(z), x ~ p(x | z), z_1..z_L ~ q(z | x):  rank = #{z_l < z}`` is uniform on 0..L where q is the posterior. High
    ranks tell of a guide that is shifted downwards, ranks near both ends of one that is too narrow, ranks in the middle of
    one that is too wide. The data are the model's own, so that all of this is about the guide (or another method), and says
    nothing of whether the model fits real data.

    Reference:
        Talts et al. 2018, Validating Bayesian Inference Algorithms with Simulation-Based Calibration,
        https://arxiv.org/abs/1804.06788

    Args:
        pair: the pair, on the data's device; it is run in evaluation mode.
        data: a `pyrogen.data.Split`, or a batch, of the kind that is to be simulated; its rows give what the model does not
            draw (labels).
        methods: ``"guide"``, and estimators that keep as many draws, such as ``ImportanceSampling(2000, draws=99)``.
        simulations: data to simulate.
        draws: draws of the posterior of each.
        levels: of central intervals of the draws, whose coverage is reported.
        significance: the probability that anything at all is said to be wrong with a method that is right.
        seed: seeds everything; the caller's generators are left as they were.
        progress: show progress bars.

    Raises:
        ConfigurationError: an argument cannot be used, or a method keeps too few draws.
        NotPerDatum: data or latents are not each datum's own.
        PairError: the guide is not amortized, or the model does not say how to draw the data; see
            `pyrogen.inference.simulate`.

    Example:
        >>> from pyrogen.models import LinearGaussianVAE
        >>> _ = torch.manual_seed(4)
        >>> pair = LinearGaussianVAE((4,), latent=2, guide="full")
        >>> pair.set_exact_guide(scale=0.5)
        >>> found = calibration(pair, torch.zeros(1, 4), simulations=400)
        >>> [row["verdict"] for row in found.rows()]
        ['too narrow', 'too narrow']
    """
    require_at_least(LEAST_SIMULATIONS, simulations=simulations)
    require_at_least(2, draws=draws)
    if not 0 < significance < 1 or not all(0 < level < 1 for level in levels):
        raise ConfigurationError(f"levels and significance must lie between 0 and 1, not {list(levels)} and {significance}")
    names = [method if isinstance(method, str) else method.name for method in methods]
    if not names or len(set(names)) < len(names):
        raise ConfigurationError(f"give one method or more, each of another name, not {names}")
    given = evaluation_batch(data)
    if not pair.structure(given).amortized:
        raise PairError(
            "the guide has parameters for each datum of a fixed batch, and none for simulated data: calibration is for "
            "guides that compute a posterior from the datum"
        )
    rows = index(given, torch.arange(simulations, device=device_of(given)) % length(given))
    found = []
    with forked(given, seed):
        batch, latents = simulate(pair, rows)
        if not latents:
            raise PairError("the pair has no latents, and so no posterior to calibrate")
        for name, method in zip(names, methods, strict=True):
            ranks, notes = ranks_among(pair, batch, latents, method, draws, progress)
            found.append(judged(name, ranks, draws, notes, significance))
    settings = dimension_names(latents), tuple(levels), significance
    return Calibration(found, *settings, description(data, given), parameters=fingerprint(pair.state_dict()))


@dataclass(frozen=True)
class Calibration(SavedResult):
    """Ranks of known latents among posterior draws, for one method or several: words, a picture, ``calibration.json``.

    Attributes:
        methods: the ranks of each method.
        dimensions: what the dimensions are called.
        levels: of the intervals whose coverage is reported.
        significance: the probability of any verdict on a method that is right.
        data: what the data given were.
    """

    methods: list[Ranks]
    dimensions: list[str]
    levels: tuple[float, ...]
    significance: float
    data: Mapping[str, Any]

    file = "calibration.json"

    def __getitem__(self, name: str) -> Ranks:
        return named(self.methods, name, "method")

    def __str__(self) -> str:
        return format_calibration(self.record())

    def __repr__(self) -> str:
        return f"Calibration({', '.join(method.name for method in self.methods)}; {len(self.methods[0].ranks)} simulations)"

    def rows(self) -> list[dict[str, Any]]:
        """One row for each method and dimension: z scores, p-values as they are and adjusted, coverages, the verdict."""
        return [
            {
                "method": method.name,
                "dimension": self.dimensions[place],
                **vars(test),
                "p_adjusted": min(method.adjusted[place]),
                "coverage": [
                    {"nominal": nominal, "seen": float(seen[place]), "error": float(error[place])}
                    for nominal, seen, error in map(method.coverage, self.levels)
                ],
                "verdict": method.verdicts[place],
            }
            for method in self.methods
            for place, test in enumerate(method.tests)
        ]

    def record(self) -> dict[str, Any]:
        """See `SavedResult.record`."""
        methods = [
            {
                **plain(method, without=["tests", "adjusted", "verdicts"]),
                "bands": _plain_bands(len(method.ranks), method.draws, 1 - self.significance),
            }
            for method in self.methods
        ]
        return {"version": 1, **plain(self, without=["methods"]), "rows": self.rows(), "methods": methods}

    def to_arviz(self) -> Any:
        """The ranks as ArviZ holds them: group ``ranks``, a variable for each method, (simulation, dimension)."""
        import xarray

        columns = {
            method.name: ((f"simulation of {method.name}", "dimension"), method.ranks.cpu().numpy())  # some may be left out
            for method in self.methods
        }
        ranks = xarray.Dataset(columns, coords={"dimension": list(self.dimensions)})
        return arviz_data({"ranks": ranks})

    def plot(self) -> Figure:
        """Draw distribution functions of the ranks with simultaneous bands, and histograms."""
        return calibration_picture(self.record())

    @classmethod
    def _of(cls, record: dict[str, Any], directory: Path) -> Calibration:
        methods = [
            judged(saved["name"], torch.tensor(saved["ranks"]), saved["draws"], saved["notes"], record["significance"])
            for saved in record["methods"]
        ]
        return restored(cls, record, methods=methods)


def _plain_bands(simulations: int, draws: int, level: float) -> dict[str, list[float]]:
    found = bands(simulations, draws, level)
    shares = {"share": found.share, "lower": found.lower / simulations, "upper": found.upper / simulations}
    return {"outcome": found.outcome.tolist(), **{name: values.tolist() for name, values in shares.items()}}
