"""The options that say which data a command reads, and the data set that they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from jsonargparse import ActionYesNo, ArgumentParser, Namespace

if TYPE_CHECKING:
    from pyrogen.data import Dataset

__all__ = ["add_data_options", "load_data"]


def add_data_options(parser: ArgumentParser) -> None:
    """Add all options of `pyrogen.data.load` but the source."""
    parser.add_argument(
        "--binarize",
        type=Literal["none", "threshold", "static", "dynamic"],
        default="none",
        help="none; threshold: value > 0.5; static: one draw when loading; dynamic: a new draw for each training batch",
    )
    parser.add_argument(
        "--labels", action=ActionYesNo(no_prefix="no-"), default=False, help="batches are pairs of values and labels"
    )
    parser.add_argument(
        "--validation", type=float | None, default=None, help="fraction of training rows held out, 0 for none"
    )
    parser.add_argument("--test", type=float, default=0.1, help="fraction of rows held out, where there is no test set")
    parser.add_argument("--scale", type=float | None, default=None, help="what values are divided by, if not the usual")
    parser.add_argument("--data-seed", type=int, default=0, help="seeds the splitting and the binarization")


def load_data(source: str, options: Namespace) -> Dataset:
    """Load a source with the options.

    Raises:
        ConfigurationError: for an unknown source or an option that can't be used.
        DataError: for files and values that can't serve as data.
    """
    from pyrogen.data import load

    return load(
        source,
        binarize=options.binarize,
        labels=options.labels,
        validation=options.validation,
        test=options.test,
        scale=options.scale,
        seed=options.data_seed,
    )
