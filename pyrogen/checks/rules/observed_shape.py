"""PG306: the observed value does not fit its distribution's shape."""

from __future__ import annotations

from ..probed import Probed

__all__ = ["ObservedShape"]

_BAD = """\
def model(x):
    with pyro.plate("data", len(x), subsample_size=4):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)

def guide(x):
    with pyro.plate("data", len(x), subsample_size=4):
        pyro.sample("z", dist.Normal(encoder(x[:4]), 0.5).to_event(1))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""

_MENDED = """\
def model(x):
    with pyro.plate("data", len(x), subsample_size=4) as rows:
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x[rows])

def guide(x):
    with pyro.plate("data", len(x), subsample_size=4) as rows:
        pyro.sample("z", dist.Normal(encoder(x[rows]), 0.5).to_event(1))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""


class ObservedShape(Probed):
    """The observed value does not fit its distribution's shape."""

    code = "PG306"
    title = "the observed value does not fit its distribution's shape"
    group = "vectorisation"
    severity = "error"
    why = (
        "The value and the distribution cannot be broadcast against each other; often a subsample was not applied to the "
        "data."
    )
    remedy = "Give obs the rows and the shape that the distribution has"
    bad = _BAD
    mended = _MENDED
