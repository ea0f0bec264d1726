"""The program ``pyrogen``: its commands, and what becomes of their errors."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Protocol

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from pyrogen import __version__
from pyrogen.errors import ConfigurationError, PairError, PyrogenError
from pyrogen.registry.construct import one_line, split_tokens
from pyrogen.registry.names import suggestion, unknown

from . import check, compare, data, examine, fit, models, predict, report

__all__ = ["COMMANDS", "Command", "main"]


class Command(Protocol):
    """A module, or an object, that is a command; its docstring is the command's help.

    To add one, write the module and name it in `COMMANDS`. It imports at its head nothing that imports torch.
    """

    __doc__: str | None

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the command's arguments to its parser."""

    def run(self, options: Namespace) -> int | None:
        """Do what was asked, print what came of it, and return the exit status if it is not 0."""


COMMANDS: dict[str, Command] = {
    "check": check,
    "fit": fit,
    "compare": compare,
    "examine": examine,
    "sample": predict.Sample(),
    "encode": predict.Encode(),
    "reconstruct": predict.Reconstruct(),
    "interpolate": predict.Interpolate(),
    "log-prob": predict.LogProb(),
    "report": report,
    "data": data,
    "models": models,
}
"""The commands by their names, in the order of the help."""

_OPTIONS = {"--help", "-h", "--version"}
_PAIR_OPTIONS = "--args."


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: the words after the program's name; those of the process if not given.

    Returns:
        The exit status: 0; 1 where `check` has found an error in a pair; 2 after an error, 130 after Ctrl-C, 141 where the
        output's reader is gone. An error is one line on the standard error, unless ``--traceback`` is given or
        ``PYROGEN_TRACEBACK=1`` is set in the environment.

    Raises:
        SystemExit: after ``--help`` and ``--version``.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    verbose = "--traceback" in words or os.environ.get("PYROGEN_TRACEBACK") == "1"
    words = [word for word in words if word != "--traceback"]
    try:
        with _working_folder_importable():
            name, options = _parse(words or ["--help"])
            status = COMMANDS[name].run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # who reads the output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt as interrupt:
        return _failed(str(interrupt) or "interrupted", verbose=verbose, status=130)
    except (PyrogenError, OSError) as error:
        # An error of the user's own model or guide, which the library has met on the way.
        where = " (--traceback shows where)" if isinstance(error, PairError) and error.__cause__ and not verbose else ""
        return _failed(f"error: {one_line(error)}{where}", verbose=verbose, status=2)
    return status or 0


def _parse(words: Sequence[str]) -> tuple[str, Namespace]:
    """The command that a command line names, and its options."""
    if words[0] not in COMMANDS and words[0] not in _OPTIONS:
        raise unknown("command", words[0], COMMANDS)
    words, tokens = split_tokens(words, _PAIR_OPTIONS)
    if tokens and words[0] not in ("check", "fit"):
        option = f"{_PAIR_OPTIONS}{tokens[0].partition('=')[0]}"
        raise ConfigurationError(f"{option}: only pyrogen fit takes a pair's arguments, and pyrogen check")
    program, parsers = _parsers()
    try:
        options = program.parse_args([_hyphenated(word) for word in words])
    except ArgumentError as error:
        text = one_line(error)
        wrong = re.search(r"nrecognized arguments: --([\w-]+)|does not accept option '(\w+)'", text)
        if wrong:
            key = (wrong[1] or wrong[2]).replace("-", "_")
            text += suggestion(key, parsers[words[0]].get_defaults().keys(branches=False))
        files = [after for word, after in pairwise(words) if word == "--config"]
        where = f"{' '.join(files)} or the command line: " if files else ""
        raise ConfigurationError(f"{where}{text} (pyrogen {words[0]} --help)") from error
    name: str = options.command
    chosen: Namespace = options[name]
    chosen["tokens"] = tokens
    for counted in ("rows", "simulations", "count"):
        if chosen.get(counted, 1) < 1:
            raise ConfigurationError(f"--{counted} must be at least 1, not {chosen[counted]}")
    if "progress" in chosen and chosen.progress is None:
        chosen.progress = sys.stderr.isatty()
    return name, chosen


def _parsers() -> tuple[ArgumentParser, dict[str, ArgumentParser]]:
    """The program's parser, and its commands'."""
    program = ArgumentParser(
        prog="pyrogen",
        description="Deep generative models as Pyro model/guide pairs, and how far their answers are from the truth.",
        version=__version__,
        exit_on_error=False,
    )
    program.add_argument("--traceback", action="store_true", help="after an error, show where it arose; for any command")
    commands = program.add_subcommands(required=True, dest="command", metavar="COMMAND")
    parsers = {}
    for name, command in COMMANDS.items():
        text = command.__doc__ or ""
        parser = ArgumentParser(description=text, exit_on_error=False, print_config="--print-config")
        command.add_arguments(parser)
        commands.add_subcommand(name, parser, help=text.partition("\n")[0])
        parsers[name] = parser
    return program, parsers


def _hyphenated(word: str) -> str:
    """An option as the parsers know it, whether it was written as ``--batch-size`` or, as in YAML, ``--batch_size``."""
    name, equals, value = word.partition("=")
    return f"{name.replace('_', '-')}{equals}{value}" if word.startswith("--") else word


@contextmanager
def _working_folder_importable() -> Iterator[None]:
    """Let names of code be found in the working folder, after all installed packages, as long as a command runs."""
    before = list(sys.path)
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())
    try:
        yield
    finally:
        sys.path[:] = before


def _failed(text: str, *, verbose: bool, status: int) -> int:
    if verbose:
        traceback.print_exc()
    print(f"pyrogen: {text}", file=sys.stderr)
    return status
