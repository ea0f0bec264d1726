"""PG101: a latent of the model is neither observed nor sampled by the guide."""

from __future__ import annotations

from ..examples import RIGHT
from ..probed import Probed

__all__ = ["LatentWithoutGuide"]

_BAD = """\
def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1))

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(1))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""


class LatentWithoutGuide(Probed):
    """A latent of the model is neither observed nor sampled by the guide."""

    code = "PG101"
    title = "a latent of the model is neither observed nor sampled by the guide"
    group = "structure"
    severity = "error"
    why = (
        "Pyro would draw it from the prior in every step, so that the bound counts it without learning it; often obs= was "
        "forgotten."
    )
    remedy = "Sample a site of that name in the guide, or observe it"
    bad = _BAD
    mended = RIGHT
