"""PG202: the guide cannot draw where the prior has mass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from pyro.distributions import Delta

from pyrogen.programs.run import run_guide, run_model
from pyrogen.programs.traces import innermost

from ..finding import Finding
from ..rule import Rule

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["PriorNotCovered"]

_BAD = """\
def model(x):
    with pyro.plate("data", len(x)):
        rate = pyro.sample("rate", dist.HalfNormal(x.new_ones(())))
        pyro.sample("x", dist.Poisson(rate), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("rate", dist.Beta(x + 1.0, 2.0))

pair, batch = Pair.of(model, guide), torch.arange(8.0)
"""
_MENDED = _BAD.replace("dist.Beta", "dist.Gamma")
_DRAWS = 64
_FEWEST = 0.005


class PriorNotCovered(Rule):
    """Draws from the prior lie outside the support of the guide."""

    code = "PG202"
    title = "the guide's support does not cover the prior's"
    group = "support"
    severity = "warning"
    why = (
        "What the guide cannot draw is missing from every estimate: importance sampling is then biased, whatever the number "
        "of particles, and no diagnostic shows it."
    )
    remedy = "Give the guide a distribution of the prior's support"
    bad = _BAD
    mended = _MENDED

    def look(self, subject: Subject) -> Iterator[Finding]:
        """Draw latents from the prior, and ask the guide's distributions whether they could have drawn them."""
        structure, nesting = subject.structure, subject.structure.nesting
        together = structure.loop is None
        outside: dict[str, list[float]] = {}
        with subject.running():
            for _ in range(1 if together else 8):
                particles = _DRAWS if together else None
                prior = run_model(
                    subject.pair, subject.args, subject.kwargs, {}, particles=particles, nesting=nesting, draw=True
                )
                guide = run_guide(
                    subject.pair, subject.args, subject.kwargs, particles=particles, nesting=nesting, given=prior.latents()
                )
                for name in structure.latents:
                    site = guide.visited.get(name)
                    if site is None or isinstance(innermost(site.fn), Delta):
                        continue
                    try:
                        valid = innermost(site.fn).support.check(prior.visited[name].value)
                    except (AttributeError, NotImplementedError):  # a distribution that does not know its support
                        continue
                    outside.setdefault(name, []).append(float((~valid).to(torch.float64).mean()))
        for name, shares in outside.items():
            share = sum(shares) / len(shares)
            if share > _FEWEST:
                site = subject.guide[name]
                yield self.found(
                    f"{share:.1%} of draws of '{name}' from the prior ({_named(subject.model[name])}) lie outside the "
                    f"support of the guide's {_named(site)}",
                    site=name,
                    line=subject.line_of(name, guide=True),
                )


def _named(site: dict[str, object]) -> str:
    return type(innermost(site["fn"])).__name__
