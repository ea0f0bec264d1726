"""PG201: the guide draws values outside the prior's support."""

from __future__ import annotations

from ..probed import Probed

__all__ = ["DrawOutsideSupport"]

_BAD = """\
def model(x):
    with pyro.plate("data", len(x)):
        rate = pyro.sample("rate", dist.Gamma(x.new_ones(()), 1.0))
        pyro.sample("x", dist.Poisson(rate), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("rate", dist.Normal(x, 1.0))

pair, batch = Pair.of(model, guide), torch.arange(8.0)
"""

_MENDED = """\
def model(x):
    with pyro.plate("data", len(x)):
        rate = pyro.sample("rate", dist.Gamma(x.new_ones(()), 1.0))
        pyro.sample("x", dist.Poisson(rate), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("rate", dist.Gamma(x + 1.0, 2.0))

pair, batch = Pair.of(model, guide), torch.arange(8.0)
"""


class DrawOutsideSupport(Probed):
    """The guide draws values outside the prior's support."""

    code = "PG201"
    title = "the guide draws values outside the prior's support"
    group = "support"
    severity = "error"
    why = "The prior gives such a draw no density: the bound is minus infinity, or NaN, as soon as one comes up."
    remedy = "Give the guide a distribution of the same support, such as LogNormal or Gamma for what is positive"
    bad = _BAD
    mended = _MENDED
