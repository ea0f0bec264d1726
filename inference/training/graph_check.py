"""Whether a recorded graph still computes what the pair computes, and where they part."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ..graphs.compiled_function import SITE
from .recorded_loss import GRADIENT, LOSS, STATE, UNSEEN, named

__all__ = ["difference", "first_difference"]

_TOLERANCE = {"float32": 2e-2, "tf32": 5e-2, "bf16": 2e-1}
_LOSS_TOLERANCE = {"float32": 1e-4, "tf32": 2e-3, "bf16": 2e-2}


def difference(graph: Mapping[str, Tensor], pair: Mapping[str, Tensor], precision: str = "float32") -> str | None:
    """What differs between the outputs of a graph and those of the pair's own run with the same random numbers.

    In float32 the loss may differ by 1e-4 of itself (or of 1), a gradient by 2e-2 of its norm; gradients far smaller than
    the whole one by 1e-5 of that. Rounding errors are far smaller, but one of them may push a rectified unit over its kink
    for one datum, which changes the gradient by one part in the root of units times data.

    Returns:
        A description of the first output that differs, or None where all agree.
    """
    pair = dict(pair)
    for name, past in named(pair, UNSEEN).items():
        pair[f"{GRADIENT}{name}"] = past + pair.get(f"{GRADIENT}{name}", 0.0)
    gradients = named(pair, GRADIENT)
    whole = math.sqrt(sum(float(value.double().square().sum()) for value in gradients.values()))
    recorded = named(graph, GRADIENT)
    for where, there, other in (("pair", gradients, recorded), ("graph", recorded, gradients)):
        for name in there:
            if name not in other:
                return f"only the {where} gives the parameter '{name}' a gradient"
    for name, expected in pair.items():
        if name.startswith((SITE, UNSEEN)):
            continue
        seen = graph.get(name)
        if seen is None or seen.shape != expected.shape:
            return f"{_words(name)} is missing or has another shape"
        gap, size = float((seen.double() - expected.double()).norm()), float(expected.double().norm())
        if name == LOSS:
            allowed = _LOSS_TOLERANCE[precision] * max(1.0, size)
        else:
            allowed = _TOLERANCE[precision] * size + (1e-5 * whole if name.startswith(GRADIENT) else 1e-6)
        if _finite(seen) != _finite(expected) or (_finite(expected) and gap > allowed):
            return f"{_words(name)} differs by {gap:.3g}, where its size is {size:.3g}"
    return None


def first_difference(graph: Mapping[str, Tensor], pair: Mapping[str, Tensor]) -> str | None:
    """The first site whose log probability differs, in words, or None."""
    sites = [name for name in pair if name.startswith(SITE)]
    for name in sites:
        if name not in graph:
            return f"site '{name.removeprefix(SITE)}' was not there when the graph was recorded"
        gap = abs(float(graph[name]) - float(pair[name]))
        if not gap <= 1e-4 * max(1.0, abs(float(pair[name]))) and _finite(pair[name]):
            return (
                f"the log probability of site '{name.removeprefix(SITE)}' is {float(graph[name]):.6g} in the graph and "
                f"{float(pair[name]):.6g} in the pair"
            )
    gone = [name for name in graph if name.startswith(SITE) and name not in pair]
    return (
        f"site '{gone[0].removeprefix(SITE)}' was there when the graph was recorded, and is not any more" if gone else None
    )


def _finite(value: Tensor) -> bool:
    return bool(torch.isfinite(value).all())


def _words(name: str) -> str:
    for prefix, word in ((GRADIENT, "the gradient of"), (STATE, "the objective's"), ("buffer.", "buffer")):
        if name.startswith(prefix):
            return f"{word} '{name.removeprefix(prefix)}'"
    return f"the {name}"
