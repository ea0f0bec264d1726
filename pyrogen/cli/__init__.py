"""The command line, the composition root: the only place of the package that knows both `models/` and `inference/`.

Each command is a module with `add_arguments` and `run`. What is heavy (torch, Pyro, matplotlib) is imported inside the
functions that need it, so that help is there at once.
"""

from .entry import main

__all__ = ["main"]
