"""PG305: inside the data plate, the data lie in an event dimension once more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pyrogen.batch import index
from pyrogen.programs.traces import data_dim, samples

from ..examples import RIGHT
from ..finding import Finding
from ..rule import Rule

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["DataInEvent"]

_BAD = """\
def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(2), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(1))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""


class DataInEvent(Rule):
    """The event shape of a site inside the data plate grows with the batch."""

    code = "PG305"
    title = "a site inside the data plate has the data in its event dimensions, too"
    group = "vectorisation"
    severity = "error"
    why = "The plate repeats the log density of all data for each of them: the bound counts it as often as there are data."
    remedy = "Declare the dimensions of one datum only: .to_event(1) for rows, .to_event(3) for images with channels"
    bad = _BAD
    mended = RIGHT

    def look(self, subject: Subject) -> Iterator[Finding]:
        """Compare the event shapes of a run on all data with those of a run on one less."""
        if subject.rows < 3 or not subject.structure.local:
            return
        try:
            with subject.running():
                traces = subject.trace(index(subject.batch, slice(subject.rows - 1)))
        except Exception:  # a pair that runs on the whole batch only
            return
        for role, whole, trace in (("guide", subject.guide, traces[0]), ("model", subject.model, traces[1])):
            for name, site in samples(trace):
                if name not in whole or data_dim(subject.pair, site) is None:
                    continue
                before, after = tuple(whole[name]["fn"].event_shape), tuple(site["fn"].event_shape)
                if (subject.rows, subject.rows - 1) in zip(before, after, strict=False):
                    yield self.found(
                        f"site '{name}' of the {role} has event shape {before} for {subject.rows} data and {after} for one "
                        "less",
                        site=name,
                        line=subject.line_of(name, guide=role == "guide"),
                    )
