"""PG407: a scale is the exponential of a network's output."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..differentiated import at_extremes, at_first, scale_of
from ..examples import RIGHT, changed
from ..exponentials import exponential_of_a_network
from ..finding import Finding
from ..rule import Rule

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["ScaleExplodes"]

_LEAST, _MOST = 1e-15, 1e15


class ScaleExplodes(Rule):
    """A scale that a network gives through exp, with nothing that bounds it."""

    code = "PG407"
    title = "a scale is the exponential of a network's output"
    group = "numbers"
    severity = "note"
    why = (
        "The exponential multiplies a change of the network's output: one large step or one unusual datum makes the "
        "scale infinite or zero, often after thousands of steps. softplus grows only linearly."
    )
    remedy = (
        "Use torch.nn.functional.softplus(raw) + 1e-4, or bound what is exponentiated, for instance by 5 * tanh(raw / 5)"
    )
    bad = changed(RIGHT, ("encoder(x), 0.5", "encoder(x), encoder(x).exp()"))
    mended = changed(RIGHT, ("encoder(x), 0.5", "encoder(x), nn.functional.softplus(encoder(x)) + 1e-4"))

    def look(self, subject: Subject) -> Iterator[Finding]:
        """See `Rule.look`."""
        run = at_first(subject)
        for role, site in run.sites():
            scale = scale_of(site)
            if scale is None or not exponential_of_a_network(scale):
                continue
            line = subject.line_of(site.name, guide=role == "guide")
            for other in at_extremes(subject):
                sites = (other.guide if role == "guide" else other.model).visited
                there = scale_of(sites[site.name]) if site.name in sites else None
                if there is not None and not bool(((there > _LEAST) & (there < _MOST)).all()):
                    seen = f"on {other.batch} the scale in the {role} is {_worst(there):.3g}, an exponential without a bound"
                    yield self.found(seen, site=site.name, line=line, severity="warning")
                    break
            else:
                seen = f"the scale in the {role} is the exponential of a network's output, without a bound"
                yield self.found(seen, site=site.name, line=line)


def _worst(scale: Tensor) -> float:
    values = scale.detach().flatten()
    return float(values[values.log().abs().nan_to_num(nan=torch.inf).argmax()])
