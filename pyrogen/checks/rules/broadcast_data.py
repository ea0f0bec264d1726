"""PG303: broadcasting makes a matrix of data by data, or fills a datum's shape, in silence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torch import Tensor

from pyrogen.programs.traces import data_dim, samples

from ..finding import Finding
from ..rule import Rule

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["BroadcastData"]

_BAD = """\
def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(encoder(x.unsqueeze(-1)), 0.5).to_event(1))

encoder, decoder = nn.Linear(1, 2), nn.Linear(2, 1)
pair, batch = Pair.of(model, guide), torch.randn(8)
"""
_MENDED = _BAD.replace("obs=x)", "obs=x.unsqueeze(-1))")


class BroadcastData(Rule):
    """The observed value's shape is not the one that its distribution draws."""

    code = "PG303"
    title = "broadcasting makes a matrix of data by data"
    group = "vectorisation"
    severity = "error"
    why = (
        "A column of n numbers against a row of n becomes an n by n matrix without a word: each datum is scored against the "
        "others' parameters, and the loss still falls."
    )
    remedy = "Give the network's output and the data one shape: squeeze(-1) the one or unsqueeze(-1) the other"
    cheap = True
    bad = _BAD
    mended = _MENDED

    def look(self, subject: Subject) -> Iterator[Finding]:
        """Compare the event shapes of the observed values with those of their distributions."""
        for name, site in samples(subject.traces[1]):
            value, fn = site["value"], site["fn"]
            if not site["is_observed"] or not isinstance(value, Tensor) or value.numel() <= 1 or 0 in fn.event_shape:
                continue
            given, declared = tuple(value.shape[value.dim() - fn.event_dim :]), tuple(fn.event_shape)
            if given != declared:
                yield self.found(
                    f"site '{name}' observes a value of shape {tuple(value.shape)} where its distribution has batch shape "
                    f"{tuple(fn.batch_shape)} and event shape {declared}, and broadcasting hides it",
                    site=name,
                    shape=tuple(value.shape),
                )
                continue
            dim = data_dim(subject.pair, site)
            along = None if dim is None else value.dim() - fn.event_dim + dim  # where the data lie in the value
            if along is not None and fn.batch_shape[dim] > 1 and (along < 0 or value.shape[along] == 1):
                yield self.found(
                    f"site '{name}' observes one value of shape {tuple(value.shape)} for all {fn.batch_shape[dim]} data",
                    site=name,
                    shape=tuple(value.shape),
                    remedy="Observe the datum of each row",
                )
