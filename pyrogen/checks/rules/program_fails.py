"""PG100: the model or the guide does not run on the batch."""

from __future__ import annotations

from ..examples import RIGHT
from ..probed import Probed

__all__ = ["ProgramFails"]

_BAD = """\
def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(1))

encoder, decoder = nn.Linear(4, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""


class ProgramFails(Probed):
    """The model or the guide does not run on the batch."""

    code = "PG100"
    title = "the model or the guide does not run on the batch"
    group = "structure"
    severity = "error"
    why = "Nothing can be said about a program that raises an error, and training would stop at once."
    remedy = "Read the error and its line; the batch that the programs get is the one that was given"
    bad = _BAD
    mended = RIGHT
