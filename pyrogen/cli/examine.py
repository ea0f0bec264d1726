"""Look closer at a run: brackets on simulated data, gaps of the guide, posteriors side by side, calibration of the guide.

sandwich     how exact annealing is on data that the model has made, from below and from above
gaps         the part of log p(x) - ELBO that a better encoder would close, and the part that needs a richer guide
posterior    the guide's posteriors against importance-resampled and annealed ones
calibration  ranks of known latents among the guide's draws, over simulated data
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse import ActionYesNo, ArgumentParser, Namespace

from pyrogen.errors import ConfigurationError

from .pictures import spread_rows
from .saved import Saved, open_run
from .specs import make_estimators

if TYPE_CHECKING:
    from pyrogen.data import Split
    from pyrogen.inference.studies.posteriors.posterior_draws import Method

__all__ = ["add_arguments", "run"]


def add_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    add = parser.add_argument
    add("directory", metavar="RUN_DIRECTORY", type=str, help="what pyrogen fit wrote")
    add(
        "--what",
        nargs="+",
        type=Literal["sandwich", "gaps", "posterior", "calibration"],
        default=list(_LOOKS),
        help="what to do",
    )
    add("--split", type=Literal["test", "validation", "train"], default="test", help="which data")
    add("--rows", type=int, default=20, help="at most so many, evenly spread over the split, for gaps and posterior")
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
    add("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:1, ...")
    add("--seed", type=int, default=0, help="seeds all draws")
    add("--progress", action=ActionYesNo(no_prefix="no-"), default=None, help="show progress bars; as if on a terminal")


def run(options: Namespace) -> None:
    """Look, print, save, render.

    Raises:
        PyrogenError: the run cannot be opened, or its pair not be looked at in this way; the message says why.
    """
    from pyrogen.devices import device_named
    from pyrogen.report import render

    for name in ("rows", "simulations"):
        if options[name] < 1:
            raise ConfigurationError(f"--{name} must be at least 1, not {options[name]}")
    saved = open_run(options.directory)
    place = device_named(options.device)
    saved.pair.to(place)
    rows = spread_rows(saved.split(options.split), options.rows).to(place)
    progress = sys.stderr.isatty() if options.progress is None else options.progress
    for name in dict.fromkeys(options.what):
        found = _LOOKS[name](saved, rows, options, progress)
        found.save(saved.directory)
        print(f"{found}\n", flush=True)
    print(f"report: {render(saved.directory, say=print)}")


def _sandwich(saved: Saved, rows: Split, options: Namespace, progress: bool) -> Any:
    from pyrogen.inference import sandwich

    return sandwich(
        saved.pair,
        rows,
        options.simulations,
        temperatures=options.temperatures,
        device=options.device,
        seed=options.seed,
        progress=progress,
    )


def _gaps(saved: Saved, rows: Split, options: Namespace, progress: bool) -> Any:
    from pyrogen.inference import gaps

    usual = ["exact"] if hasattr(saved.pair, "log_evidence") else ["ais:500"]
    return gaps(saved.pair, rows, make_estimators(options.evidence or usual), seed=options.seed, progress=progress)


def _posterior(saved: Saved, rows: Split, options: Namespace, progress: bool) -> Any:
    from pyrogen.inference import posterior

    exact: list[Method] = ["exact"] if hasattr(saved.pair, "posterior") else []
    methods: list[Method] = ["guide", *make_estimators(options.methods), *exact]
    return posterior(saved.pair, rows, methods, seed=options.seed, progress=progress)


def _calibration(saved: Saved, rows: Split, options: Namespace, progress: bool) -> Any:
    from pyrogen.inference import calibration

    return calibration(saved.pair, rows, simulations=options.simulations, seed=options.seed, progress=progress)


_LOOKS: dict[str, Callable[[Saved, Split, Namespace, bool], Any]] = {
    "sandwich": _sandwich,
    "gaps": _gaps,
    "posterior": _posterior,
    "calibration": _calibration,
}
