"""PG301: several particles do not run at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pyrogen.lines import line_of_error

from ..finding import Finding
from ..rule import Rule

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["ParticlesFail"]

_BAD = """\
def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        both = torch.cat([z, x[:, :1]], dim=1)
        pyro.sample("x", dist.Normal(decoder(both), 1.0).to_event(1), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(1))

encoder, decoder = nn.Linear(3, 2), nn.Linear(3, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""
_MENDED = _BAD.replace("torch.cat([z, x[:, :1]], dim=1)", "torch.cat([z, x[:, :1].expand(*z.shape[:-1], 1)], dim=-1)")


class ParticlesFail(Rule):
    """A dimension to the left of the latents makes the programs fail."""

    code = "PG301"
    title = "the pair does not run for several particles at once"
    group = "vectorisation"
    severity = "warning"
    why = "Particles are then run one after the other: right, and as many times slower."
    remedy = "Count dimensions from the right (dim=-1), and let nothing depend on how many there are on the left"
    bad = _BAD
    mended = _MENDED

    def look(self, subject: Subject) -> Iterator[Finding]:
        """Read what the probe saw."""
        reason = subject.structure.loop
        if reason is not None and not reason.startswith("site '"):
            yield self.found(reason, line=_line(subject))


def _line(subject: Subject) -> str | None:
    try:
        with subject.running():
            subject.run(particles=17)
    except Exception as error:  # whatever the program raises
        return line_of_error(error)
    return None
