"""PG128: the guide is the same whatever the data are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from ..examples import RIGHT
from ..finding import Finding
from ..rule import Rule

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["GuideIgnoresData"]

_BAD = """\
def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(centre, 0.5).to_event(1))

centre, decoder = nn.Parameter(torch.zeros(2)), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""


class GuideIgnoresData(Rule):
    """Another datum changes no density of the guide's local latents."""

    code = "PG128"
    title = "the guide's local latents do not depend on the data"
    group = "structure"
    severity = "note"
    why = "One posterior for all data leaves a gap as wide as the data are different."
    remedy = "Compute the parameters of local latents from the datum, as an encoder does"
    bad = _BAD
    mended = RIGHT

    def look(self, subject: Subject) -> Iterator[Finding]:
        """Put another datum into the batch, with the latents as they were."""
        structure = subject.structure
        local = [name for name in subject.draws if name in structure.local]
        if not structure.amortized or structure.subsampled or not local or subject.replacement is None:
            return
        with subject.running():
            for parameter in subject.pair.parameters():  # a network may begin with zeros
                if parameter.is_floating_point():
                    parameter.add_(torch.randn_like(parameter), alpha=0.1)
            before, after = subject.log_probs(), subject.log_probs(subject.replacement[1])
        if all(torch.equal(before["guide", name][1], after["guide", name][1]) for name in local):
            yield self.found(
                f"another datum changes the guide of no local latent ('{local[0]}')",
                site=local[0],
                line=subject.line_of(local[0], guide=True),
            )
