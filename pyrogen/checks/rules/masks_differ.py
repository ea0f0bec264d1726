"""PG118: a latent has one mask in the model and another in the guide."""

from __future__ import annotations

from ..probed import Probed

__all__ = ["MasksDiffer"]

_BAD = """\
def model(x):
    with pyro.plate("data", len(x)):
        with poutine.mask(mask=x[:, 0] > 0):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(1))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""

_MENDED = """\
def model(x):
    with pyro.plate("data", len(x)):
        with poutine.mask(mask=x[:, 0] > 0):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        with poutine.mask(mask=x[:, 0] > 0):
            pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(1))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""


class MasksDiffer(Probed):
    """A latent has one mask in the model and another in the guide."""

    code = "PG118"
    title = "a latent has one mask in the model and another in the guide"
    group = "structure"
    severity = "error"
    why = "One side then counts what the other leaves out, and the bound is none."
    remedy = "Use the same poutine.mask around the latent in both"
    bad = _BAD
    mended = _MENDED
