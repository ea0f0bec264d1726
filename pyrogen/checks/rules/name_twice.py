"""PG106: two sites or nested plates have one name."""

from __future__ import annotations

from ..probed import Probed

__all__ = ["NameTwice"]

_BAD = """\
def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)
        pyro.sample("x", dist.Normal(z[..., 0], 1.0), obs=x[:, 0])

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(1))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""

_MENDED = """\
def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)
        pyro.sample("x_0", dist.Normal(z[..., 0], 1.0), obs=x[:, 0])

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(1))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""


class NameTwice(Probed):
    """Two sites or nested plates have one name."""

    code = "PG106"
    title = "two sites or nested plates have one name"
    group = "structure"
    severity = "error"
    why = "A trace knows a site by its name; the second statement would replace the first."
    remedy = "Give each site a name of its own; in a loop, put the number into it"
    bad = _BAD
    mended = _MENDED
