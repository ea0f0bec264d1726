"""Estimate log p(x) of a run's held-out data in several ways, side by side; save the table and render the report.

An estimator is written as elbo, iwae:PARTICLES, is:PARTICLES, renyi:ALPHA:PARTICLES, exact, or as a class
(file.py:MyEstimator); further arguments follow as :NAME=VALUE, as in is:5000:draws=200.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Literal

from jsonargparse import ActionYesNo, ArgumentParser, Namespace

from pyrogen.errors import ConfigurationError

from .pictures import spread_rows
from .saved import open_run
from .specs import make_estimators

if TYPE_CHECKING:
    from pyrogen.pair import Pair

__all__ = ["add_arguments", "run"]


def add_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    add = parser.add_argument
    add("directory", metavar="RUN_DIRECTORY", type=str, help="what pyrogen fit wrote")
    add(
        "--estimators",
        metavar="ESTIMATOR",
        nargs="+",
        type=str,
        default=None,
        help="elbo iwae:50 is:5000 if not given, and exact where the pair has a closed form",
    )
    add("--split", type=Literal["test", "validation", "train"], default="test", help="which data")
    add("--rows", type=int, default=1000, help="at most so many, evenly spread over the split")
    add("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:1, ...")
    add("--seed", type=int, default=0, help="seeds the particles")
    add("--progress", action=ActionYesNo(no_prefix="no-"), default=None, help="show progress bars; as if on a terminal")


def run(options: Namespace) -> None:
    """Compare, print, save, render.

    Raises:
        PyrogenError: the run cannot be opened, or an estimator does not fit it.
    """
    from pyrogen.inference import compare
    from pyrogen.report import print_table, render

    if options.rows < 1:
        raise ConfigurationError(f"--rows must be at least 1, not {options.rows}")
    given = None if options.estimators is None else make_estimators(options.estimators)
    saved = open_run(options.directory)
    estimators = given or make_estimators(_usual(saved.pair))
    table = compare(
        saved.pair,
        spread_rows(saved.split(options.split), options.rows),
        estimators,
        device=options.device,
        seed=options.seed,
        progress=sys.stderr.isatty() if options.progress is None else options.progress,
    )
    table.save(saved.directory)
    print_table(table.record())
    print(f"\nreport: {render(saved.directory)}")


def _usual(pair: Pair) -> list[str]:
    return ["elbo", "iwae:50", "is:5000", *(["exact"] if hasattr(pair, "log_evidence") else [])]
