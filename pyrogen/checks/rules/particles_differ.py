"""PG302: several particles at once have other log weights than one after the other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..examples import RIGHT
from ..finding import Finding
from ..rule import Rule

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["ParticlesDiffer"]

_BAD = """\
def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z - z.mean(0)), 1.0).to_event(1), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(1))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""


class ParticlesDiffer(Rule):
    """A run of several particles gives another log probability than single runs on the same latents."""

    code = "PG302"
    title = "several particles at once have other log probabilities than one after the other"
    group = "vectorisation"
    severity = "warning"
    why = (
        "A dimension was counted from the left, and means another thing once particles stand there. They are run in a loop "
        "here; with vectorize_particles=True Pyro's own losses would be wrong in silence."
    )
    remedy = "Count dimensions from the right (dim=-1), and reduce over named ones only"
    bad = _BAD
    mended = RIGHT

    def look(self, subject: Subject) -> Iterator[Finding]:
        """Read what the probe saw."""
        reason = subject.structure.loop
        if reason is not None and reason.startswith("site '"):
            found = re.match("site '(.*?)'", reason)
            yield self.found(reason, site=found[1] if found else None)
