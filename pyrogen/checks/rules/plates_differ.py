"""PG105: a site stands in other plates in the guide than in the model."""

from __future__ import annotations

from ..examples import RIGHT
from ..probed import Probed

__all__ = ["PlatesDiffer"]

_BAD = """\
def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)

def guide(x):
    pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(2))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""


class PlatesDiffer(Probed):
    """A site stands in other plates in the guide than in the model."""

    code = "PG105"
    title = "a site stands in other plates in the guide than in the model"
    group = "structure"
    severity = "error"
    why = "Plates scale and split the log densities; on two sides that differ these are no longer those of the same data."
    remedy = "Use the same plates, of the same sizes and subsamples, in both"
    bad = _BAD
    mended = RIGHT
