"""Look for faults of a pair before it trains: its sites, supports, shapes, numbers, and what it would do on a GPU.

PAIR is what pyrogen fit takes, or a run directory that it wrote, whose guide's quality is then looked at, too. Every finding
has a code, which docs/generated/checks.md explains; a comment "# pyrogen: ignore[CODE]" on its line silences it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

from pyrogen.errors import ConfigurationError

from .options import add_data_options, load_data, spread_rows
from .pairs import build_pair
from .saved import open_run

if TYPE_CHECKING:
    from pyrogen.data import Split
    from pyrogen.pair import Pair

__all__ = ["add_arguments", "run"]


def add_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    add = parser.add_argument
    add("name", metavar="PAIR", type=str, help="what to check; a run directory is checked with its fitted parameters")
    add("--args", type=dict[str, Any], default={}, help="the pair's arguments, as --args.NAME VALUE")
    add("--data", type=str | None, default=None, help="where the data come from; see pyrogen data")
    add_data_options(parser)
    add("--rows", type=int, default=128, help="at most so many data, evenly spread over those to train on")
    add("--select", metavar="CODE", nargs="+", type=str, default=[], help="only rules whose codes begin so, such as PG1")
    add("--ignore", metavar="CODE", nargs="+", type=str, default=[], help="not those whose codes begin so")
    add("--device", type=str | None, default=None, help="where it is meant to run: cuda makes faults of what a GPU refuses")
    add("--json", action="store_true", help="print the report as JSON")
    add("--seed", type=int, default=0, help="seeds initial parameters")


def run(options: Namespace) -> int:
    """Check, and print the report.

    Returns:
        1 if there is an error, else 0.

    Raises:
        PyrogenError: the pair, the data or a code cannot be used.
    """
    from pyrogen.checks import check

    pair, split, trained = _subject(options)
    batch = spread_rows(split, options.rows).fixed()
    report = check(pair, batch, select=options.select, ignore=options.ignore, trained=trained, device=options.device)
    print(report.to_json() if options.json else report)
    return 0 if report.ok else 1


def _subject(options: Namespace) -> tuple[Pair, Split, bool]:
    """The pair, the data to train on, and whether the pair is fitted."""
    if Path(options.name).is_dir():
        if options.data is not None:
            raise ConfigurationError(f"{options.name} is a run directory, which names its own data: leave --data out")
        saved = open_run(options.name)
        return saved.pair, saved.split("train"), True
    dataset = load_data(options.data, options)
    pair, _ = build_pair(options.name, options.args, options.get("tokens", []), shape=dataset.shape, seed=options.seed)
    return pair, dataset.train, False
