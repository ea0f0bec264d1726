"""Import an example from a checkout of Pyro, with stand-ins for what it imports and its model does not use."""

from __future__ import annotations

import importlib
import logging
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from .attempt import Example

__all__ = ["imported", "version_of"]

_IN_PYRO = "pyro/"


def version_of(checkout: Path) -> str:
    """The version that a checkout of Pyro says it has."""
    found = re.search(r'version_prefix = "(.*)"', (checkout / "pyro" / "__init__.py").read_text())
    return found.group(1) if found else "of an unknown version"


class _StandIn(ModuleType):
    """A module whose every attribute is an empty class."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = type(name, (), {"mirrors": []})
        setattr(self, name, made)
        return made


@contextmanager
def imported(example: Example, checkout: Path) -> Iterator[ModuleType]:
    """The example's module; afterwards ``sys.modules``, ``sys.path``, torch's and logging's settings are as they were.

    An example that is a part of Pyro itself comes from the installed Pyro.
    """
    if example.path.startswith(_IN_PYRO):
        yield importlib.import_module(example.path.removesuffix("/__init__.py").replace("/", "."))
        return
    file = checkout / "examples" / example.path
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing: PYROGEN_PYRO must name a checkout of pyro-ppl/pyro")
    modules, path, level = dict(sys.modules), list(sys.path), logging.getLogger().level
    handlers, dtype = list(logging.getLogger().handlers), torch.get_default_dtype()
    try:
        for name in example.stand_ins:
            sys.modules[name] = _StandIn(name)
            parent, _, child = name.rpartition(".")
            if parent:
                setattr(sys.modules[parent], child, sys.modules[name])
        if any(name.startswith("torchvision") for name in example.stand_ins):
            # It makes a folder for downloads when it is imported.
            util = importlib.import_module("pyro.contrib.examples.util")
            util.get_data_directory = lambda filepath=None: tempfile.gettempdir()  # type: ignore[attr-defined]
        sys.path.insert(0, str(file.parent))
        yield importlib.import_module(file.stem)
    finally:
        for name in set(sys.modules) - set(modules):
            source = getattr(sys.modules[name], "__file__", None) or ""
            if isinstance(sys.modules[name], _StandIn) or source.startswith(str(checkout)) or "contrib.examples" in name:
                del sys.modules[name]
        for name in set(example.stand_ins) & set(modules):
            sys.modules[name] = modules[name]
        sys.path[:] = path
        torch.set_default_dtype(dtype)
        logging.getLogger().handlers[:] = handlers
        logging.getLogger().setLevel(level)
