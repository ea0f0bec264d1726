"""PG115: a factor in the guide does not say whether it is made of reparameterized draws."""

from __future__ import annotations

from ..probed import Probed

__all__ = ["FactorWithoutGradientKind"]

_BAD = """\
def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(1))
        pyro.factor("regularizer", -x.pow(2).sum(-1))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""

_MENDED = """\
def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(1))
        pyro.factor("regularizer", -x.pow(2).sum(-1), has_rsample=True)

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""


class FactorWithoutGradientKind(Probed):
    """A factor in the guide does not say whether it is made of reparameterized draws."""

    code = "PG115"
    title = "a factor in the guide does not say whether it is made of reparameterized draws"
    group = "structure"
    severity = "error"
    why = "The gradient of a bound depends on it, and Pyro cannot know it."
    remedy = "Give pyro.factor has_rsample=True or has_rsample=False"
    bad = _BAD
    mended = _MENDED
