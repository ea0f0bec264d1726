"""The rules' example pairs: Python source that defines ``pair`` and ``batch``, and how it is run."""

from __future__ import annotations

import linecache
from typing import Any

import torch

from pyrogen.batch import Batch
from pyrogen.pair import Pair
from pyrogen.randomness import forked

__all__ = ["PRELUDE", "RIGHT", "changed", "load_example"]

PRELUDE = """\
import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import nn
from torch.distributions import constraints
from pyrogen import Pair
"""
"""The imports before every example."""

RIGHT = """\
def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(1))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""
"""A pair without faults, of which most rules make their bad one."""


def changed(source: str, *replacements: tuple[str, str]) -> str:
    """Replace passages of a source.

    Args:
        source: the source.
        replacements: each passage, which must occur exactly once, and its replacement.

    Raises:
        ValueError: a passage does not occur exactly once.

    Example:
        >>> changed("a = 1", ("1", "2"))
        'a = 2'
    """
    for old, new in replacements:
        if source.count(old) != 1:
            raise ValueError(f"{old!r} occurs {source.count(old)} times in the source, not once")
        source = source.replace(old, new)
    return source


def load_example(source: str, name: str = "example") -> tuple[Pair, Batch]:
    """Run a source and return its pair and batch.

    Args:
        source: Python source that defines ``pair`` and ``batch``; `PRELUDE` runs before it, with torch's generator seeded.
        name: takes the place of a file's name in the lines of findings, as ``<name>:12``.
    """
    file = f"<{name}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    space: dict[str, Any] = {"__name__": name}
    with forked(torch.device("cpu"), seed=0):
        exec(PRELUDE, space)
        exec(compile(source, file, "exec"), space)
    return space["pair"], space["batch"]
