"""PG126: the pair runs on this very number of data only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pyrogen.batch import index
from pyrogen.lines import line_of_error

from ..examples import RIGHT
from ..finding import Finding
from ..rule import Rule

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["WholeBatchOnly"]

_BAD = """\
def model(x):
    with pyro.plate("data", 8):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)

def guide(x):
    with pyro.plate("data", 8):
        pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(1))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""


class WholeBatchOnly(Rule):
    """A part of the batch does not run; a note where the guide has parameters for each datum."""

    code = "PG126"
    title = "the pair runs on batches of one length only"
    group = "structure"
    severity = "warning"
    why = "The last batch of an epoch is shorter, evaluation takes other numbers of data, and new data have no posterior."
    remedy = "Take all sizes from the batch, as len(x), and compute the guide's parameters from the data"
    bad = _BAD
    mended = RIGHT

    def look(self, subject: Subject) -> Iterator[Finding]:
        """Find out why a part of the batch fails."""
        structure = subject.structure
        if structure.amortized or subject.rows < 2 or any(o.code in ("PG107", "PG113") for o in structure.objections):
            return
        each = [name for name, parameter in subject.pair.named_parameters() if subject.rows in parameter.shape]
        if each:
            yield self.found(
                f"there are parameters for each of the {subject.rows} data ('{each[0]}'), so that the pair fits these alone",
                severity="note",
                remedy="Nothing, if these are all data; fit with batch_size= their number",
            )
            return
        reason, line = "its plate or its shapes stay as they were", None
        try:
            with subject.running():
                subject.run(batch=index(subject.batch, slice(max(1, subject.rows // 2))))
        except Exception as error:  # whatever the program raises
            reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
            line = line_of_error(error)
        yield self.found(f"half of the batch of {subject.rows} data does not run: {reason}", line=line)
