"""List the zoo and the parts that its models take by name, or describe one pair and its arguments."""

from __future__ import annotations

import inspect

from jsonargparse import ArgumentParser, Namespace

from .pairs import constructor_of

__all__ = ["add_arguments", "run"]


def add_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    what = "describe this one, not the whole zoo"
    parser.add_argument("pair", metavar="PAIR", nargs="?", type=str | None, default=None, help=what)


def run(options: Namespace) -> None:
    """Print the zoo and the parts, or what a pair's documentation says.

    Raises:
        ConfigurationError: there is no such pair.
    """
    from pyrogen.models import ENCODERS, LIKELIHOODS, PRIORS, ZOO

    if options.pair is not None:
        found = constructor_of(options.pair)
        for part in [found] if isinstance(found, type) else found:
            print(f"{part.__name__}({', '.join(_parameters(part))})\n")
            # Its own docstring: inspect.getdoc would give that of `Pair` to a class that has none.
            print(inspect.cleandoc(part.__doc__ or "It has no documentation."))
        return
    width = max(map(len, ZOO)) + 2
    for name, pair in ZOO.items():
        print(f"{name:<{width}}{(inspect.getdoc(pair) or '').partition(chr(10))[0]}")
        for parameter in _parameters(pair):
            print(f"{'':<{width}}  --args.{parameter}")
    print("\nparts by name; what stands after one are its options, given as --args.PART NAME:OPTION=VALUE:...")
    for registry in (PRIORS, ENCODERS, LIKELIHOODS):
        for name, part in registry.items():
            choices = [text for text in _parameters(part) if " = " in text]
            print(f"  {registry.what:<12}{name:<{width + 8}}{', '.join(choices)}".rstrip())
    print("\npyrogen models PAIR says what its arguments mean; pyrogen fit PAIR --args.NAME VALUE sets them.")


def _parameters(constructor: object) -> list[str]:
    """Parameters as they are written, such as ``latent: int = 20``."""
    assert callable(constructor)
    texts = []
    for parameter in inspect.signature(constructor).parameters.values():
        # Where annotations are texts, str(parameter) would show them in quotes.
        kind = parameter.annotation
        kind = kind if isinstance(kind, str) else inspect.formatannotation(kind)
        known = parameter.annotation is not parameter.empty
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        texts.append(f"{parameter.name}{f': {kind}' if known else ''}{default}")
    return texts
