"""PG122: the pair runs dropout or batch normalization in a network that it does not own."""

from __future__ import annotations

from ..probed import Probed

__all__ = ["ForeignNetwork"]

_BAD = """\
def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(registry()["encoder"](x), 0.5).to_event(1))

class registry(dict):
    networks = {"encoder": nn.Sequential(nn.Linear(3, 2), nn.Dropout())}
    def __getitem__(self, name):
        return self.networks[name]

decoder = nn.Linear(2, 3)
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

encoder, decoder = nn.Sequential(nn.Linear(3, 2), nn.Dropout()), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""


class ForeignNetwork(Probed):
    """The pair runs dropout or batch normalization in a network that it does not own."""

    code = "PG122"
    title = "the pair runs dropout or batch normalization in a network that it does not own"
    group = "structure"
    severity = "error"
    why = "eval() does not reach that layer: evaluations would stay noisy, or mix the data."
    remedy = (
        "Name the network in the model or the guide itself, or make the pair a subclass of Pair with the network as an "
        "attribute"
    )
    bad = _BAD
    mended = _MENDED
