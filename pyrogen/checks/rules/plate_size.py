"""PG108: the data plate has another length than the batch."""

from __future__ import annotations

from ..examples import RIGHT
from ..probed import Probed

__all__ = ["PlateSize"]

_BAD = """\
def model(x):
    with pyro.plate("data", 600):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)

def guide(x):
    with pyro.plate("data", 600):
        pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(1))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""


class PlateSize(Probed):
    """The data plate has another length than the batch."""

    code = "PG108"
    title = "the data plate has another length than the batch"
    group = "structure"
    severity = "error"
    why = (
        "The log densities are scaled by the plate's size over the number of data in it, or do not fit their shapes at all."
    )
    remedy = "Write pyro.plate('data', len(x)), with the batch that the program gets"
    bad = _BAD
    mended = RIGHT
