"""Constructor arguments from the command line and from YAML, checked against the constructor's signature.

jsonargparse does the checking, so that an argument whose type is a class takes a ``class_path`` and its ``init_args``, to
any depth, and an argument of the wrong type is refused by name.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from inspect import signature
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace

from pyrogen.errors import ConfigurationError

from .names import suggestion

__all__ = ["Arguments", "check", "one_line", "split_tokens"]

_KEY = "args"


@dataclass(frozen=True)
class Arguments:
    """Checked arguments of a constructor, not yet made into objects; those that were `given`, as plain values."""

    given: dict[str, Any]
    _parser: ArgumentParser
    _values: Namespace

    def make(self) -> dict[str, Any]:
        """All arguments, defaults included, as the constructor takes them; objects among them are made anew."""
        made = self._parser.instantiate(self._values)
        return made[_KEY].as_dict() if _KEY in made else {}  # which undoes the marks of names such as `values`


def check(
    constructor: type,
    given: Mapping[str, Any],
    tokens: Sequence[str] = (),
    *,
    skip: AbstractSet[str] = frozenset(),
) -> Arguments:
    """Check arguments against a constructor's signature.

    Args:
        constructor: the class.
        given: arguments by name, plain values as YAML holds them.
        tokens: more of them, as text, ``"name=value"`` or ``"name.init_args.other=value"``; they win over `given`.
        skip: arguments that the caller passes itself.

    Raises:
        ConfigurationError: an argument is unknown, missing or of the wrong type.

    Example:
        >>> class Coin:
        ...     def __init__(self, bias: float = 0.5, tosses: int = 3) -> None: ...
        >>> arguments = check(Coin, {"bias": 0.1}, ["tosses=5"])
        >>> arguments.given, arguments.make()
        ({'bias': 0.1, 'tosses': 5}, {'bias': 0.1, 'tosses': 5})
    """
    parser = ArgumentParser(exit_on_error=False, prog="pyrogen", add_help=False)
    skipped = skip & signature(constructor).parameters.keys()
    added = parser.add_class_arguments(constructor, _KEY, skip=set(skipped), instantiate=False, fail_untyped=False)
    known = [name.removeprefix(f"{_KEY}.") for name in added]
    for name in (*given, *(re.split(r"[.=]", token)[0] for token in tokens)):
        if name not in known:
            near = suggestion(str(name), known)
            takes = f"{'It' if near else '; it'} takes {', '.join(known) or 'none'}"
            raise ConfigurationError(f"{constructor.__name__} has no argument {name!r}{near}{' ' if near else ''}{takes}")
    # As one command line, so that a required argument may come from either, and a token may change part of an object.
    words = [f"--{_KEY}={yaml.safe_dump(dict(given), default_flow_style=True, width=sys.maxsize)}"] if given else []
    words += [f"--{_KEY}.{token}" for token in tokens]
    try:
        values = parser.parse_args(words)
        plain = parser.parse_args(words, defaults=False).as_dict().get(_KEY) or {}
    except ArgumentError as error:
        raise ConfigurationError(f"{constructor.__name__}: {one_line(error)}") from error
    return Arguments(plain, parser, values)


def split_tokens(argv: Sequence[str], prefix: str) -> tuple[list[str], list[str]]:
    """Take the options that start with a prefix out of a command line.

    Returns:
        The rest, and the options as ``"name=value"``.

    Raises:
        ConfigurationError: one has no value.

    Example:
        >>> split_tokens(["vae", "--args.latent", "20", "--lr=0.1", "--args.hidden=[400]"], "--args.")
        (['vae', '--lr=0.1'], ['latent=20', 'hidden=[400]'])
    """
    rest, tokens = [], []
    words = iter(argv)
    for word in words:
        if not word.startswith(prefix):
            rest.append(word)
            continue
        if "=" not in word:
            value = next(words, None)
            if value is None:
                raise ConfigurationError(f"{word} needs a value, as {word}=VALUE")
            word = f"{word}={value}"
        tokens.append(word.removeprefix(prefix))
    return rest, tokens


def one_line(error: Exception) -> str:
    r"""What a parser's error says, on one line and without the parser's own terms.

    Example:
        >>> one_line(ValueError("Parser key \"lr\":\n  Expected a <class 'float'>. Got value: x"))
        'lr: expected float, got x'
    """
    text = str(error)
    if "Unable to load config" in text:  # a preface that repeats all that was given
        text = text[text.find("\n  - ") + 5 :]
    text = " ".join(text.split())
    text = re.sub(r"Does not validate against any of the Union subtypes Subtypes: \[.*?\] Errors: - ", "", text)
    text = re.sub(r" - Expected a <class 'NoneType'>", "", text)
    text = re.sub(r" Given value type: .*?(?= - |$)", "", text)
    text = re.sub(r'Parser key "([^"]*)":', r"\1:", text)
    text = re.sub(r"<class '(?:[\w.]+\.)?(\w+)'>", r"\1", text)
    text = re.sub(r"Expected a (.*?)\. Got value:", r"expected \1, got", text)
    text = text.replace('in "<unicode string>", ', "")
    return re.sub(r"typing\.Literal\[(.*?)\]", r"one of \1", text)
