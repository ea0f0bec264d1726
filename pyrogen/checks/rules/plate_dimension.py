"""PG124: two nested plates use one dimension."""

from __future__ import annotations

from ..probed import Probed

__all__ = ["PlateDimension"]

_BAD = """\
def model(x):
    with pyro.plate("data", len(x), dim=-1):
        z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
        with pyro.plate("pixels", 4, dim=-1):
            pyro.sample("x", dist.Normal(z, 1.0), obs=x.T)

def guide(x):
    with pyro.plate("data", len(x), dim=-1):
        pyro.sample("z", dist.Normal(x.mean(-1), 0.5))

pair, batch = Pair.of(model, guide), torch.randn(8, 4)
"""

_MENDED = """\
def model(x):
    with pyro.plate("data", len(x), dim=-1):
        z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
        with pyro.plate("pixels", 4, dim=-2):
            pyro.sample("x", dist.Normal(z, 1.0), obs=x.T)

def guide(x):
    with pyro.plate("data", len(x), dim=-1):
        pyro.sample("z", dist.Normal(x.mean(-1), 0.5))

pair, batch = Pair.of(model, guide), torch.randn(8, 4)
"""


class PlateDimension(Probed):
    """Two nested plates use one dimension."""

    code = "PG124"
    title = "two nested plates use one dimension"
    group = "structure"
    severity = "error"
    why = "The sizes of both plates cannot stand in one dimension of a tensor."
    remedy = "Give one of the plates dim= one farther to the left"
    bad = _BAD
    mended = _MENDED
