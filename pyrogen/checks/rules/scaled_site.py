"""PG116: a site's log density is scaled."""

from __future__ import annotations

from ..examples import RIGHT
from ..probed import Probed

__all__ = ["ScaledSite"]

_BAD = """\
def model(x):
    with pyro.plate("data", len(x)):
        with poutine.scale(scale=0.1):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        with poutine.scale(scale=0.1):
            pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(1))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""


class ScaledSite(Probed):
    """A site's log density is scaled."""

    code = "PG116"
    title = "a site's log density is scaled"
    group = "structure"
    severity = "warning"
    why = "A scaled density is another density: its bound is none on the evidence, and estimates per datum are refused."
    remedy = "Leave poutine.scale out; for an ELBO with a factor before its divergence, give fit beta="
    bad = _BAD
    mended = RIGHT
