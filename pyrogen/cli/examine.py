"""Look closer at a run: brackets on simulated data, gaps of the guide, posteriors side by side, calibration of the guide.

sandwich     how exact annealing is on data that the model has made, from below and from above
gaps         the part of log p(x) - ELBO that a better encoder would close, and the part that needs a richer guide
posterior    the guide's posteriors against importance-resampled and annealed ones
calibration  ranks of known latents among the guide's draws, over simulated data
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse import ArgumentParser, Namespace

from .factories import make_estimators
from .options import add_run_options, spread_rows
from .saved import Saved, open_run

if TYPE_CHECKING:
    from pyrogen.data import Split
    from pyrogen.inference.studies.posteriors.posterior_draws import Method

__all__ = ["add_arguments", "run"]


def add_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    add = parser.add_argument
    add_run_options(parser, rows=20, use=", for gaps and posterior")
    looks = Literal["sandwich", "gaps", "posterior", "calibration"]
    add("--what", nargs="+", type=looks, default=list(_LOOKS), help="what to do")
    add("--simulations", type=int, default=100, help="simulated data, for sandwich and calibration")
    add("--temperatures", type=int, nargs="+", default=[100, 500], help="for sandwich")
    add(
        "--evidence",
        metavar="ESTIMATOR",
        nargs="+",
        type=str,
        default=None,
        help="for gaps; exact if not given and the pair has a closed form, ais:500 where it has none",
    )
    add(
        "--methods",
        metavar="ESTIMATOR",
        nargs="+",
        type=str,
        default=["is:5000:draws=400", "smc"],
        help="for posterior, beside the guide and an exact posterior where there is one",
    )


def run(options: Namespace) -> None:
    """Look, print, save, render.

    Raises:
        PyrogenError: the run cannot be opened, or its pair not be looked at in this way; the message says why.
    """
    from pyrogen.devices import device_named
    from pyrogen.report import render

    saved = open_run(options.directory)
    place = device_named(options.device)
    saved.pair.to(place)
    rows = spread_rows(saved.split(options.split), options.rows).to(place)
    common = {"seed": options.seed, "progress": options.progress}
    for name in dict.fromkeys(options.what):
        found = _LOOKS[name](saved, rows, options, common)
        found.save(saved.directory)
        print(f"{found}\n", flush=True)
    print(f"report: {render(saved.directory, say=print)}")


def _sandwich(saved: Saved, rows: Split, options: Namespace, common: dict[str, Any]) -> Any:
    from pyrogen.inference import sandwich

    given = {"temperatures": options.temperatures, "device": options.device}
    return sandwich(saved.pair, rows, options.simulations, **given, **common)


def _gaps(saved: Saved, rows: Split, options: Namespace, common: dict[str, Any]) -> Any:
    from pyrogen.inference import gaps

    usual = ["exact"] if hasattr(saved.pair, "log_evidence") else ["ais:500"]
    return gaps(saved.pair, rows, make_estimators(options.evidence or usual), **common)


def _posterior(saved: Saved, rows: Split, options: Namespace, common: dict[str, Any]) -> Any:
    from pyrogen.inference import posterior

    exact: list[Method] = ["exact"] if hasattr(saved.pair, "posterior") else []
    return posterior(saved.pair, rows, ["guide", *make_estimators(options.methods), *exact], **common)


def _calibration(saved: Saved, rows: Split, options: Namespace, common: dict[str, Any]) -> Any:
    from pyrogen.inference import calibration

    return calibration(saved.pair, rows, simulations=options.simulations, **common)


_LOOKS: dict[str, Callable[[Saved, Split, Namespace, dict[str, Any]], Any]] = {
    "sandwich": _sandwich,
    "gaps": _gaps,
    "posterior": _posterior,
    "calibration": _calibration,
}
