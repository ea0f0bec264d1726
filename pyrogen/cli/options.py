"""Options that several commands share."""

from __future__ import annotations

from typing import Literal

from jsonargparse import ArgumentParser

__all__ = ["add_compile_option"]


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
