"""PG130: the data plate scales the batch up to a larger data set."""

from __future__ import annotations

from ..examples import RIGHT
from ..probed import Probed

__all__ = ["ScaledUpBatch"]

_BAD = """\
def model(x):
    with pyro.plate("data", 600, len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)

def guide(x):
    with pyro.plate("data", 600, len(x)):
        pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(1))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""


class ScaledUpBatch(Probed):
    """The data plate has the size of a larger data set, of which the batch is the part that it takes."""

    code = "PG130"
    title = "the data plate scales the batch up to a larger data set"
    group = "structure"
    severity = "note"
    why = "Training on such mini-batches is right, also where data share a latent; estimates per datum are refused."
    remedy = "Nothing, if the batches are parts of that many data; to estimate, give the plate the batch's length"
    cheap = False
    bad = _BAD
    mended = RIGHT
