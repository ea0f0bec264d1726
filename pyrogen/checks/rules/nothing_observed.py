"""PG103: the model observes nothing."""

from __future__ import annotations

from ..examples import RIGHT
from ..probed import Probed

__all__ = ["NothingObserved"]

_BAD = """\
def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        decoder(z)

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(1))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""


class NothingObserved(Probed):
    """The model observes nothing."""

    code = "PG103"
    title = "the model observes nothing"
    group = "structure"
    severity = "error"
    why = "Without data the best guide is the prior, and training learns nothing."
    remedy = "Give a pyro.sample statement of the model obs=<the data>"
    bad = _BAD
    mended = RIGHT
