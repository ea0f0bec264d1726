"""Estimate log p(x) of a run's held-out data in several ways, side by side; save the table and render the report.

An estimator is written as elbo, iwae:PARTICLES, is:PARTICLES, renyi:ALPHA:PARTICLES, ais:TEMPERATURES, smc:PARTICLES,
nuts:DRAWS, enumeration, particle-filter:PARTICLES, cubo, eubo, exact, or as a class (file.py:MyEstimator); further arguments
follow as :NAME=VALUE, as in is:5000:draws=200 or ais:100:initial=guide.
"""

from __future__ import annotations

import sys
from typing import Literal

from jsonargparse import ActionYesNo, ArgumentParser, Namespace

from pyrogen.errors import ConfigurationError

from .options import add_compile_option
from .pictures import spread_rows
from .quiet import quiet_unless_first
from .saved import Saved, open_run
from .specs import make_estimators
from .usage import save_usage

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
        help="elbo iwae:50 is:5000 if not given, and exact where the pair has a closed form; that alone without latents",
    )
    add("--split", type=Literal["test", "validation", "train"], default="test", help="which data")
    add("--rows", type=int, default=1000, help="at most so many, evenly spread over the split")
    add_compile_option(parser)
    add("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:1, ...")
    add("--seed", type=int, default=0, help="seeds the particles")
    add("--progress", action=ActionYesNo(no_prefix="no-"), default=None, help="show progress bars; as if on a terminal")


def run(options: Namespace) -> None:
    """Compare, print, save, render; under torchrun the first process alone does all but the first.

    Raises:
        PyrogenError: the run cannot be opened, or an estimator does not fit it.
    """
    from pyrogen.devices import device_named
    from pyrogen.inference import compare
    from pyrogen.processes import joined, own_device
    from pyrogen.report import print_table, render

    if options.rows < 1:
        raise ConfigurationError(f"--rows must be at least 1, not {options.rows}")
    given = None if options.estimators is None else make_estimators(options.estimators)
    saved = open_run(options.directory)
    estimators = given or make_estimators(_usual(saved))
    rows = spread_rows(saved.split(options.split), options.rows)
    with joined(own_device(device_named(options.device))) as processes, quiet_unless_first(processes):
        table = compare(
            saved.pair,
            rows,
            estimators,
            device=options.device,
            seed=options.seed,
            compile=options.compile,
            progress=sys.stderr.isatty() if options.progress is None else options.progress,
        )
        if processes.first:
            table.save(saved.directory)
            print_table(table.record())
            for line in save_usage(saved.pair, rows, saved.directory):
                print(line)
            print()
            print(f"report: {render(saved.directory, say=print)}")


def _usual(saved: Saved) -> list[str]:
    exact = ["exact"] if hasattr(saved.pair, "log_evidence") else []
    if exact and not saved.pair.structure(saved.dataset.train[:2].fixed()).latents:
        return exact  # all others would say the same at greater cost
    return ["elbo", "iwae:50", "is:5000", *exact]
