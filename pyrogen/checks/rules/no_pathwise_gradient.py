"""PG121: a latent's draws carry no pathwise gradient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pyro.distributions import Delta

from pyrogen.programs.traces import innermost

from ..examples import RIGHT
from ..finding import Finding
from ..rule import Rule

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["NoPathwiseGradient"]

_BAD = """\
def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Bernoulli(logits=x.new_zeros(2)).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Bernoulli(logits=encoder(x)).to_event(1))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""


class NoPathwiseGradient(Rule):
    """A guide site is not reparameterized."""

    code = "PG121"
    title = "a latent's draws carry no pathwise gradient"
    group = "structure"
    severity = "note"
    why = "Its parameters learn by the score function, whose gradients are right and far noisier."
    remedy = "Nothing, if the latent is discrete; enumerate it where that is cheap; else use a reparameterized distribution"
    cheap = True
    bad = _BAD
    mended = RIGHT

    def look(self, subject: Subject) -> Iterator[Finding]:
        """Look for latents of the guide without rsample that no enumeration sums over."""
        for name in subject.structure.latents:
            site = subject.guide[name]
            excused = site["infer"].get("enumerate") is not None or isinstance(innermost(site["fn"]), Delta)
            if name not in subject.structure.reparameterized and not excused:
                family = type(innermost(site["fn"])).__name__
                line = subject.line_of(name, guide=True)
                yield self.found(f"the guide draws latent '{name}' from a {family}", site=name, line=line)
