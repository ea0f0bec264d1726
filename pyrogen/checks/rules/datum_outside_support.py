"""PG203: an observed value lies outside the likelihood's support."""

from __future__ import annotations

from ..probed import Probed

__all__ = ["DatumOutsideSupport"]

_BAD = """\
def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Bernoulli(logits=decoder(z)).to_event(1), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(1))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.rand(8, 3)
"""

_MENDED = """\
def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Bernoulli(logits=decoder(z)).to_event(1), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(1))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.rand(8, 3).round()
"""


class DatumOutsideSupport(Probed):
    """An observed value lies outside the likelihood's support."""

    code = "PG203"
    title = "an observed value lies outside the likelihood's support"
    group = "support"
    severity = "error"
    why = (
        "A Bernoulli has no density at a grey pixel: where no one validates, a formula that happens to give a number is "
        "trained on."
    )
    remedy = "Binarize or rescale the data, or choose another likelihood"
    bad = _BAD
    mended = _MENDED
