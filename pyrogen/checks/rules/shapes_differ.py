"""PG110: a latent has another shape in the guide than in the model."""

from __future__ import annotations

from ..examples import RIGHT
from ..probed import Probed

__all__ = ["ShapesDiffer"]

_BAD = """\
def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(1))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""


class ShapesDiffer(Probed):
    """A latent has another shape in the guide than in the model."""

    code = "PG110"
    title = "a latent has another shape in the guide than in the model"
    group = "structure"
    severity = "error"
    why = "Broadcasting would score one latent as many, or many as one."
    remedy = "Use the same sizes, the same plates and the same .to_event(...) in both"
    bad = _BAD
    mended = RIGHT
