"""PG109: a batch dimension is declared neither by a plate nor by to_event."""

from __future__ import annotations

from ..examples import RIGHT
from ..probed import Probed

__all__ = ["UndeclaredDimension"]

_BAD = """\
def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z), 1.0), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(1))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""


class UndeclaredDimension(Probed):
    """A batch dimension is declared neither by a plate nor by to_event."""

    code = "PG109"
    title = "a batch dimension is declared neither by a plate nor by to_event"
    group = "structure"
    severity = "error"
    why = "The log density of a datum would be a row of numbers instead of one."
    remedy = "Declare dimensions of one datum with .to_event(...), and those of independent data with pyro.plate"
    bad = _BAD
    mended = RIGHT
