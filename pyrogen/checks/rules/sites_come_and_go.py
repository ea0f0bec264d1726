"""PG112: a program visits other sites from run to run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from pyrogen.programs.traces import samples

from ..examples import RIGHT
from ..finding import Finding
from ..rule import Rule

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["SitesComeAndGo"]

_BAD = """\
def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)
        if z[..., 0].mean() > 0:
            pyro.sample("extra", dist.Normal(z[..., 0], 1.0), obs=x[:, 0])

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(1))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""
_RUNS = 8


class SitesComeAndGo(Rule):
    """Several runs of the guide and the model visit the same sites, with the same shapes."""

    code = "PG112"
    title = "a program visits other sites, or gives them other shapes, from run to run"
    group = "structure"
    severity = "error"
    why = (
        "All particles of a batch are run at once, and every step repeats the last: what is seen in one run must be true of "
        "all of them."
    )
    remedy = "Let every run visit the same sites with the same shapes, and mask what does not count (poutine.mask)"
    bad = _BAD
    mended = RIGHT

    def look(self, subject: Subject) -> Iterator[Finding]:
        """Compare a few runs under different random numbers."""
        known: dict[str, dict[str, Any]] | None = None
        with subject.running():
            for seed in range(_RUNS):
                torch.manual_seed(seed)
                pairs = zip(("guide", "model"), subject.trace(), strict=True)
                seen = {role: {name: _shapes(site) for name, site in samples(trace)} for role, trace in pairs}
                known = known or seen
                for role, sites in seen.items():
                    different = [name for name in {**known[role], **sites} if known[role].get(name) != sites.get(name)]
                    if different:
                        name = different[0]
                        before, after = known[role].get(name), sites.get(name)
                        shapes = f"has shapes {before} in one run and {after} in another"
                        how = shapes if before and after else "comes and goes"
                        yield self.found(f"site '{name}' of the {role} {how}", site=name)
                        return


def _shapes(site: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return tuple(site["fn"].batch_shape), tuple(site["fn"].event_shape)
