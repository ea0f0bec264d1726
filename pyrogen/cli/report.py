"""Render a run's report.html and its pictures again from what the run directory holds."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

__all__ = ["add_arguments", "run"]


def add_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("directory", metavar="RUN_DIRECTORY", type=str, help="what pyrogen fit and compare wrote")


def run(options: Namespace) -> None:
    """Render, without opening the pair.

    Raises:
        PyrogenError: there is nothing to report, or a file is damaged.
    """
    from pyrogen.report import render

    print(f"report: {render(options.directory, say=print)}")
