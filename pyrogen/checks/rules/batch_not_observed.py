"""PG125: what the model observes does not depend on the batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from pyrogen.programs.traces import samples

from ..examples import RIGHT
from ..finding import Finding
from ..rule import Rule

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["BatchNotObserved"]

_BAD = """\
def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=data[:len(x)])

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(1))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
data = torch.randn(100, 3)
pair, batch = Pair.of(model, guide), data[:8]
"""


class BatchNotObserved(Rule):
    """Another datum in the batch leaves every observed value as it was."""

    code = "PG125"
    title = "what the model observes does not depend on the batch"
    group = "structure"
    severity = "warning"
    why = "Every batch would then train on the same data, those that a closure or a global holds."
    remedy = "Observe the batch that the program is given"
    bad = _BAD
    mended = RIGHT

    def look(self, subject: Subject) -> Iterator[Finding]:
        """Compare the observed values before and after."""
        if subject.replacement is None or subject.structure.subsampled:
            return
        with subject.running():
            seen = []
            for batch in (subject.batch, subject.replacement[1]):
                torch.manual_seed(0)
                seen.append(subject.trace(batch)[1])
        observed = {name: site for name, site in samples(seen[0]) if site["is_observed"]}
        for name, site in observed.items():
            before, after = site["value"], seen[1].nodes.get(name, site)["value"]
            if not isinstance(before, torch.Tensor) or not isinstance(after, torch.Tensor):
                continue
            if 0 in site["fn"].event_shape or not torch.equal(before, after):  # a factor, whose data are not known
                return
        names = ", ".join(f"'{name}'" for name in observed)
        seen_words = f"another datum in the batch changes no value that the model observes (sites {names})"
        yield self.found(seen_words, site=min(observed))
