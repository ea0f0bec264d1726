"""PG120: a latent has no guide site, since Pyro's enumeration sums over it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pyrogen.programs.traces import is_summed_out

from ..finding import Finding
from ..rule import Rule

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["SummedOut"]

_BAD = """\
def model(x):
    with pyro.plate("data", len(x)):
        k = pyro.sample("k", dist.Categorical(logits=x.new_zeros(3)), infer={"enumerate": "parallel"})
        pyro.sample("x", dist.Normal(centres(k).squeeze(-1), 1.0), obs=x)

centres = nn.Embedding(3, 1)
pair, batch = Pair.of(model), torch.randn(8)
"""

_MENDED = """\
def model(x):
    with pyro.plate("data", len(x)):
        k = pyro.sample("k", dist.Categorical(logits=x.new_zeros(3)))
        pyro.sample("x", dist.Normal(centres(k).squeeze(-1), 1.0), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("k", dist.Categorical(logits=encoder(x.unsqueeze(-1))))

encoder, centres = nn.Linear(1, 3), nn.Embedding(3, 1)
pair, batch = Pair.of(model, guide), torch.randn(8)
"""


class SummedOut(Rule):
    """A latent is marked for parallel enumeration and the guide does not sample it."""

    code = "PG120"
    title = "a latent without a guide site is summed over by Pyro's enumeration"
    group = "structure"
    severity = "note"
    why = "Only a loss that enumerates, Pyro's TraceEnum_ELBO, sees the sum: the other objectives and estimators refuse it."
    remedy = "Train with TraceEnum_ELBO, or sample the latent in the guide"
    cheap = True
    bad = _BAD
    mended = _MENDED

    def look(self, subject: Subject) -> Iterator[Finding]:
        """Look for sites of the model that are marked so and missing from the guide."""
        for name, site in subject.model.items():
            if not site["is_observed"] and is_summed_out(site) and name not in subject.guide:
                yield self.found(f"latent '{name}' is left to Pyro's parallel enumeration", site=name)
