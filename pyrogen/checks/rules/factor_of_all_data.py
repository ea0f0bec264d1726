"""PG304: a factor inside the data plate is one number for all data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pyro.distributions import Unit

from pyrogen.programs.traces import data_dim, innermost

from ..finding import Finding
from ..rule import Rule

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["FactorOfAllData"]

_BAD = """\
def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.factor("x", -(decoder(z) - x).pow(2).sum())

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(1))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""
_MENDED = _BAD.replace(".sum())", ".sum(-1))")


class FactorOfAllData(Rule):
    """A factor has no dimension of the data, so that the plate repeats it for each of them."""

    code = "PG304"
    title = "a factor inside the data plate is one number for all data"
    group = "vectorisation"
    severity = "error"
    why = "The plate repeats the number for each datum: the sum over a batch then counts it as many times as there are data."
    remedy = "Sum over the dimensions of one datum only, .sum(-1) and not .sum() or .mean(), or move the factor outside"
    cheap = True
    bad = _BAD
    mended = _MENDED

    def look(self, subject: Subject) -> Iterator[Finding]:
        """Look for factors whose memory does not move along the data."""
        for role, sites in (("guide", subject.guide), ("model", subject.model)):
            for name, site in sites.items():
                dim, fn = data_dim(subject.pair, site), innermost(site["fn"])
                if dim is None or not isinstance(fn, Unit):
                    continue
                values = fn.log_factor
                if values.dim() < -dim or (values.shape[dim] > 1 and values.stride()[dim] == 0):
                    yield self.found(
                        f"factor '{name}' of the {role} is one number, which plate '{subject.pair.data_plate}' repeats for "
                        f"each of {subject.rows} data",
                        site=name,
                        line=subject.line_of(name, guide=role == "guide"),
                    )
