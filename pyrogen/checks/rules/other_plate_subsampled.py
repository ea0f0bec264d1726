"""PG117: a plate other than the data plate draws a subsample."""

from __future__ import annotations

from ..probed import Probed

__all__ = ["OtherPlateSubsampled"]

_BAD = """\
def model(x):
    with pyro.plate("data", len(x), dim=-2):
        z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0))
        with pyro.plate("pixels", 4, subsample_size=2, dim=-1) as chosen:
            pyro.sample("x", dist.Normal(z, 1.0), obs=x[:, chosen])

def guide(x):
    with pyro.plate("data", len(x), dim=-2):
        pyro.sample("z", dist.Normal(x.mean(-1, keepdim=True), 0.5))

pair, batch = Pair.of(model, guide), torch.randn(8, 4)
"""

_MENDED = """\
def model(x):
    with pyro.plate("data", len(x), dim=-2):
        z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0))
        with pyro.plate("pixels", 4, dim=-1) as chosen:
            pyro.sample("x", dist.Normal(z, 1.0), obs=x[:, chosen])

def guide(x):
    with pyro.plate("data", len(x), dim=-2):
        pyro.sample("z", dist.Normal(x.mean(-1, keepdim=True), 0.5))

pair, batch = Pair.of(model, guide), torch.randn(8, 4)
"""


class OtherPlateSubsampled(Probed):
    """A plate other than the data plate draws a subsample."""

    code = "PG117"
    title = "a plate other than the data plate draws a subsample"
    group = "structure"
    severity = "warning"
    why = (
        "Its scale then stands inside the log weight of each datum, where it makes importance weights those of another "
        "density: by hundreds of nats in known cases."
    )
    remedy = "Give that plate its full size, or name it as the data plate"
    bad = _BAD
    mended = _MENDED
