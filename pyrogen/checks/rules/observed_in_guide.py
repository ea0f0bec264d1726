"""PG104: a site is observed where the guide samples it, or observed in the guide."""

from __future__ import annotations

from ..examples import RIGHT
from ..probed import Probed

__all__ = ["ObservedInGuide"]

_BAD = """\
def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(1))
        pyro.sample("x", dist.Normal(x, 1.0).to_event(1))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""


class ObservedInGuide(Probed):
    """A site is observed where the guide samples it, or observed in the guide."""

    code = "PG104"
    title = "a site is observed where the guide samples it, or observed in the guide"
    group = "structure"
    severity = "error"
    why = "What is observed has no posterior: Pyro would score the guide's draw instead of the data, or the data twice."
    remedy = "Observe in the model only, and sample in the guide only what the model does not observe"
    bad = _BAD
    mended = RIGHT
