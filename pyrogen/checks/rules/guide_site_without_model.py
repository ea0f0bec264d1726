"""PG102: a site of the guide is no site of the model."""

from __future__ import annotations

from ..examples import RIGHT
from ..probed import Probed

__all__ = ["GuideSiteWithoutModel"]

_BAD = """\
def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(1))
        pyro.sample("z_scale", dist.Gamma(x.new_ones(()), 1.0))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""


class GuideSiteWithoutModel(Probed):
    """A site of the guide is no site of the model."""

    code = "PG102"
    title = "a site of the guide is no site of the model"
    group = "structure"
    severity = "error"
    why = "Its density enters the bound with nothing against it; a misspelt name trains in silence."
    remedy = "Give the site the model's name, or mark it with infer={'is_auxiliary': True}"
    bad = _BAD
    mended = RIGHT
