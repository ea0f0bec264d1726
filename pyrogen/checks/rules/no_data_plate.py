"""PG107: no vectorized plate holds the data."""

from __future__ import annotations

from ..examples import RIGHT
from ..probed import Probed

__all__ = ["NoDataPlate"]

_BAD = """\
def model(x):
    z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 2), 1.0).to_event(2))
    pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(2), obs=x)

def guide(x):
    pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(2))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""


class NoDataPlate(Probed):
    """No vectorized plate holds the data."""

    code = "PG107"
    title = "no vectorized plate holds the data"
    group = "structure"
    severity = "warning"
    why = (
        "Then there is one log density for all data together: no evidence per datum, and a bound whose size depends on the "
        "batch's."
    )
    remedy = "Put what belongs to one datum inside pyro.plate('data', len(x)), or set data_plate to the name that you use"
    bad = _BAD
    mended = RIGHT
