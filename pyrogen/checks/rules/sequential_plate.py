"""PG113: the data plate is a Python loop."""

from __future__ import annotations

from ..probed import Probed

__all__ = ["SequentialPlate"]

_BAD = """\
def model(x):
    for i in pyro.plate("data", len(x)):
        z = pyro.sample(f"z_{i}", dist.Normal(x.new_zeros(()), 1.0))
        pyro.sample(f"x_{i}", dist.Normal(z, 1.0), obs=x[i])

def guide(x):
    for i in pyro.plate("data", len(x)):
        pyro.sample(f"z_{i}", dist.Normal(x[i] / 2, 0.7))

pair, batch = Pair.of(model, guide), torch.randn(8)
"""

_MENDED = """\
def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x / 2, 0.7))

pair, batch = Pair.of(model, guide), torch.randn(8)
"""


class SequentialPlate(Probed):
    """The data plate is a Python loop."""

    code = "PG113"
    title = "the data plate is a Python loop"
    group = "structure"
    severity = "warning"
    why = "A loop over the data runs the networks once for each datum, and its sites are not one of each datum but many."
    remedy = "Write with pyro.plate('data', len(x)): and let the statements inside work on all rows at once"
    bad = _BAD
    mended = _MENDED
