"""PG111: a change of one datum changes the log probability of another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from pyrogen.programs.vectorization import close

from ..examples import RIGHT
from ..finding import Finding
from ..rule import Rule

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["DataEntangled"]

_BAD = """\
def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(encoder(x - x.mean(0)), 0.5).to_event(1))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""


class DataEntangled(Rule):
    """One datum is put in another's place, the latents stay: only the log probabilities of that place may change."""

    code = "PG111"
    title = "a change of one datum changes the log probability of another"
    group = "structure"
    severity = "error"
    why = "The log weight of a datum then depends on its neighbours in the batch, and there is no evidence of it alone."
    remedy = "Let nothing inside the data plate mix the data, as means, sorting or softmax over the batch do"
    bad = _BAD
    mended = RIGHT

    def look(self, subject: Subject) -> Iterator[Finding]:
        """Compare the log probabilities of all other data before and after."""
        structure = subject.structure
        known = any(objection.code == self.code for objection in structure.objections)
        if known or structure.subsampled or subject.replacement is None or subject.rows < 2:
            return
        datum, batch = subject.replacement
        with subject.running():
            before, again, after = subject.log_probs(), subject.log_probs(), subject.log_probs(batch)
        others = [row for row in range(subject.rows) if row != datum]
        for key, (dim, values) in before.items():
            if dim is None or key not in after or not close(values, again[key][1]):
                continue
            changed = after[key][1]
            if values.dim() < -dim or values.shape != changed.shape or values.shape[dim] != subject.rows:
                continue
            rows = torch.tensor(others, device=values.device)
            if not close(values.index_select(dim, rows), changed.index_select(dim, rows), slack=10.0):
                role, name = key
                yield self.found(
                    f"another value for datum {datum} changes the log probability of other data at site '{name}' "
                    f"of the {role}",
                    site=name,
                    line=subject.line_of(name, guide=role == "guide"),
                )
                return
