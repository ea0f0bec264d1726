"""PG114: a site lies outside the data plate, so that all data share it."""

from __future__ import annotations

from ..examples import RIGHT
from ..probed import Probed

__all__ = ["GlobalSite"]

_BAD = """\
def model(x):
    shift = pyro.sample("shift", dist.Normal(x.new_zeros(()), 1.0))
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z) + shift, 1.0).to_event(1), obs=x)

def guide(x):
    pyro.sample("shift", dist.Normal(x.mean(), 1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(1))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""


class GlobalSite(Probed):
    """A site lies outside the data plate, so that all data share it."""

    code = "PG114"
    title = "a site lies outside the data plate, so that all data share it"
    group = "structure"
    severity = "note"
    why = "The evidence is then one of all data together: training by ELBO is right, and estimates per datum are refused."
    remedy = "Nothing, if the latent is meant to be shared; else move the statement into the data plate"
    cheap = False
    bad = _BAD
    mended = RIGHT
