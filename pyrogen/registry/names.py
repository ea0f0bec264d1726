"""Names that people type: near matches of a wrong one, and the objects that a name of code stands for.

Code is named as ``package.module:Name``, ``package.module.Name`` or ``path/to/file.py:Name``.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import traceback
import zlib
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from pyrogen.errors import ConfigurationError

__all__ = ["absolute", "is_code", "resolve", "suggestion", "unknown"]

_FILE = re.compile(r"(?P<file>.+\.py)(?::(?P<name>.*))?", re.DOTALL)


def suggestion(name: str, known: Iterable[str]) -> str:
    """The known names that are near a wrong one, as the end of a sentence; empty where none is near.

    Example:
        >>> suggestion("VEA", ["vae", "made"])
        ": did you mean 'vae'?"
    """
    lowered: dict[str, list[str]] = {}
    for other in known:
        lowered.setdefault(other.lower(), []).append(other)
    close = [other for match in get_close_matches(name.lower(), lowered, n=3, cutoff=0.6) for other in lowered[match]]
    return f": did you mean {' or '.join(map(repr, close))}?" if close else ""


def unknown(what: str, name: str, known: Iterable[str]) -> ConfigurationError:
    """The error to raise for a name that isn't among the known ones; `what` is what it should have named."""
    known = list(known)
    near = suggestion(name, known)
    there_are = f"{near} There are" if near else "; there are"
    return ConfigurationError(f"no {what} is called {name!r}{there_are} {', '.join(known)}")


def is_code(name: str) -> bool:
    """Whether a name has the form of a name of code, and not that of a member of a table."""
    return "." in name or ":" in name


def absolute(name: str) -> str:
    """The same name of code, with the path of its file, if any, made absolute."""
    match = _FILE.fullmatch(name)
    if match is None:
        return name
    rest = name[len(match["file"]) :]
    return f"{Path(match['file']).expanduser().resolve()}{rest}"


def resolve(name: str) -> list[Any]:
    """The objects that a name of code stands for; several names after the colon are separated by commas.

    Raises:
        ConfigurationError: there is no such file, module or name, or its code raises an error when it is imported.
    """
    match = _FILE.fullmatch(name)
    if match is not None:
        module, names = _load_file(Path(match["file"])), match["name"]
        if not names:
            defined = [n for n, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
            raise ConfigurationError(
                f"{name}: say which of its names is meant, as {name}:NAME: it defines {', '.join(defined)}"
            )
    else:
        path, colon, names = name.partition(":")
        if not colon:
            path, _, names = name.rpartition(".")
        module = _load_module(path, name)
    found = []
    for part in map(str.strip, names.split(",")):
        if not hasattr(module, part):
            near = suggestion(part, [known for known in dir(module) if not known.startswith("_")])
            where = match["file"] if match else module.__name__
            raise ConfigurationError(f"{where} has no {part!r}{near or ': check the spelling'}")
        found.append(getattr(module, part))
    return found


def _load_file(path: Path) -> ModuleType:
    """Run a file as a module, whose name depends on nothing but the file's path."""
    path = path.expanduser().resolve()
    if not path.is_file():
        raise ConfigurationError(f"{path}: no such file: check the path (the working folder is {Path.cwd()})")
    name = f"pyrogen_file_{path.stem}_{zlib.crc32(str(path).encode()):08x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"{path} cannot be loaded as a Python file")
    module = importlib.util.module_from_spec(spec)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # as for a script; last, so that it hides no installed package
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise _broken(str(path), error) from error
    return module


def _load_module(path: str, name: str) -> ModuleType:
    if not all(part.isidentifier() for part in path.split(".")):
        raise ConfigurationError(f"{name!r} is no name of code: write package.module:NAME or path/to/file.py:NAME")
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{path}.".startswith(f"{error.name}."):
            raise _broken(path, error) from error  # the module is there, and one that it imports is missing
        raise ConfigurationError(
            f"{name}: there is no module {error.name!r}: install it, or name a file, as path/to/file.py:NAME"
        ) from error
    except Exception as error:
        raise _broken(path, error) from error


def _broken(where: str, error: Exception) -> ConfigurationError:
    """The error to raise for code that raised one itself, with the line of that code."""
    if isinstance(error, SyntaxError):
        line = error.lineno
    else:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == where]
        line = lines[-1] if lines else None
    place = where if line is None else f"{where}, line {line}"
    return ConfigurationError(f"{place}: {type(error).__name__} on import: {error} (--traceback shows where)")
