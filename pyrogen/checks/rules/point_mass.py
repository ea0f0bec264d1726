"""PG119: the guide gives a continuous latent a single value."""

from __future__ import annotations

from ..examples import RIGHT
from ..probed import Probed

__all__ = ["PointMass"]

_BAD = """\
def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Delta(encoder(x)).to_event(1))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""


class PointMass(Probed):
    """The guide gives a continuous latent a single value."""

    code = "PG119"
    title = "the guide gives a continuous latent a single value"
    group = "structure"
    severity = "note"
    why = (
        "A Delta guide finds a posterior mode. The log density at a point is no bound on the evidence, so it can be "
        "trained towards with ELBO, but not be reported."
    )
    remedy = "Nothing, if a mode is what you want; else give the guide a density"
    cheap = False
    bad = _BAD
    mended = RIGHT
