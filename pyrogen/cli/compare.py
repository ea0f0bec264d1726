"""Estimate log p(x) of a run's held-out data in several ways, side by side; save the table and render the report.

An estimator is written as elbo, iwae:PARTICLES, is:PARTICLES, renyi:ALPHA:PARTICLES, ais:TEMPERATURES, smc:PARTICLES,
nuts:DRAWS, enumeration, particle-filter:PARTICLES, cubo, eubo, exact, or as a class (file.py:MyEstimator); further arguments
follow as :NAME=VALUE, as in is:5000:draws=200 or ais:100:initial=guide.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from pyrogen.errors import PairError
from pyrogen.saving import replace_file

from .factories import make_estimators
from .options import add_compile_option, add_run_options, processes_on, spread_rows
from .saved import Saved, open_run

if TYPE_CHECKING:
    from pyrogen.data import Split
    from pyrogen.pair import Pair

__all__ = ["add_arguments", "run"]


def add_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    add_run_options(parser, rows=1000)
    parser.add_argument(
        "--estimators",
        metavar="ESTIMATOR",
        nargs="+",
        type=str,
        default=None,
        help="elbo iwae:50 is:5000 if not given, and exact where the pair has a closed form; that alone without latents",
    )
    add_compile_option(parser)


def run(options: Namespace) -> None:
    """Compare, print, save, render; under torchrun the first process alone does all but the first.

    Raises:
        PyrogenError: the run cannot be opened, or an estimator does not fit it.
    """
    from pyrogen.inference import compare
    from pyrogen.report import print_table, render

    given = None if options.estimators is None else make_estimators(options.estimators)
    saved = open_run(options.directory)
    estimators = given or make_estimators(_usual(saved))
    rows = spread_rows(saved.split(options.split), options.rows)
    with processes_on(options.device) as processes:
        table = compare(
            saved.pair,
            rows,
            estimators,
            device=options.device,
            seed=options.seed,
            compile=options.compile,
            progress=options.progress,
        )
        if processes.first:
            table.save(saved.directory)
            print_table(table.record())
            for line in _save_usage(saved.pair, rows, saved.directory):
                print(line)
            print()
            print(f"report: {render(saved.directory, say=print)}")


def _usual(saved: Saved) -> list[str]:
    exact = ["exact"] if hasattr(saved.pair, "log_evidence") else []
    if exact and not saved.pair.structure(saved.dataset.train[:2].fixed()).latents:
        return exact  # all others would say the same at greater cost
    return ["elbo", "iwae:50", "is:5000", *exact]


def _save_usage(pair: Pair, rows: Split, directory: Path) -> list[str]:
    """Write ``usage.json``, how much each latent says about the data, if there are latents of a datum; a line for each."""
    from pyrogen.inference import usage
    from pyrogen.randomness import forked
    from pyrogen.run_directory import fingerprint

    path = directory / "usage.json"
    path.unlink(missing_ok=True)
    if len(rows) < 2:
        return []  # nothing varies over one datum
    device = next(pair.parameters()).device
    try:
        with forked(device, seed=0):
            found = usage(pair, rows.to(device).fixed())
    except PairError:  # latents that all data share, or whose divergence is not known
        return []
    if found:
        parameters = fingerprint(pair.state_dict())
        record = [{"parameters": parameters, **used.record()} for used in found]
        with replace_file(path) as temporary:
            temporary.write_text(json.dumps(record), encoding="utf-8")
    return [str(used) for used in found]
