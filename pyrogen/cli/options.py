"""Options that several commands share, and what they stand for: a data set, a part of it, processes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from jsonargparse import ActionYesNo, ArgumentParser, Namespace

from pyrogen.errors import ConfigurationError

if TYPE_CHECKING:
    from pyrogen.data import Dataset, Split
    from pyrogen.processes import Processes

__all__ = ["add_compile_option", "add_data_options", "add_run_options", "load_data", "processes_on", "spread_rows"]

_SECONDS_TO_PRINT = 1.0  # for the first process: torchrun ends all of them once one has ended


def add_run_options(parser: ArgumentParser, *, rows: int, use: str = "") -> None:
    """A run directory, and which of its data are looked at: at most `rows`, for some `use`; where, and with which seed."""
    add = parser.add_argument
    add("directory", metavar="RUN_DIRECTORY", type=str, help="what pyrogen fit wrote")
    add("--split", type=Literal["test", "validation", "train"], default="test", help="which data")
    add("--rows", type=int, default=rows, help=f"at most so many, evenly spread over the split{use}")
    add("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:1, ...")
    add("--seed", type=int, default=0, help="seeds all draws")
    add("--progress", action=ActionYesNo(no_prefix="no-"), default=None, help="show progress bars; as if on a terminal")


def add_compile_option(parser: ArgumentParser) -> None:
    """``--compile``, alone or with how."""
    parser.add_argument(
        "--compile",
        metavar="HOW",
        nargs="?",
        const=True,
        type=bool | Literal["auto", "graph"],
        default=False,
        help="record the pair's run as a graph and compile it; auto: as far as it pays; graph: without a compiler",
    )


def add_data_options(parser: ArgumentParser) -> None:
    """All options of `pyrogen.data.load` but the source."""
    add = parser.add_argument
    add(
        "--binarize",
        type=Literal["none", "threshold", "static", "dynamic"],
        default="none",
        help="none; threshold: value > 0.5; static: one draw when loading; dynamic: a new draw for each training batch",
    )
    add("--labels", action=ActionYesNo(no_prefix="no-"), default=False, help="batches are pairs of values and labels")
    add("--validation", type=float | None, default=None, help="fraction of training rows held out, 0 for none")
    add("--test", type=float, default=0.1, help="fraction of rows held out, where there is no test set")
    add("--scale", type=float | None, default=None, help="what values are divided by, if not the usual")
    add("--data-seed", type=int, default=0, help="seeds the splitting and the binarization")


def load_data(source: str | None, options: Namespace) -> Dataset:
    """Load a source with the options; see `pyrogen.data.load`.

    Raises:
        ConfigurationError: no source is named, it is unknown, or an option can't be used.
        DataError: for files and values that can't serve as data.
    """
    from pyrogen.data import load

    if source is None:
        raise ConfigurationError("name the data: --data digits, or --data FILE.npy; pyrogen data --help lists the forms")
    given = {name: options[name] for name in ("binarize", "labels", "validation", "test", "scale")}
    return load(source, **given, seed=options.data_seed)


def spread_rows(split: Split, count: int) -> Split:
    """At most so many rows, evenly spread over all of them, in case files are sorted.

    Example:
        >>> from pyrogen.data import load
        >>> rows = load("digits").test
        >>> len(rows), len(spread_rows(rows, 1000))
        (180, 180)
        >>> bool((spread_rows(rows, 3).values == rows[[0, 60, 120]].values).all())
        True
    """
    rows = len(split)
    return split if rows <= count else split[[number * rows // count for number in range(count)]]


@contextmanager
def processes_on(device: str) -> Iterator[Processes]:
    """The processes that torchrun has started, joined; what the first one says, the others do not say, too.

    Raises:
        SystemExit: in place of an error that the first process has met and will print as well.
    """
    from pyrogen.devices import device_named
    from pyrogen.processes import joined, own_device

    with joined(own_device(device_named(device))) as processes:
        try:
            yield processes
        except (Exception, KeyboardInterrupt) as error:
            if processes.told_by_first(error):
                time.sleep(_SECONDS_TO_PRINT)
                raise SystemExit(130 if isinstance(error, KeyboardInterrupt) else 2) from error
            raise
