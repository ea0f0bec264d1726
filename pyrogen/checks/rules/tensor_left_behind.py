"""PG602: a tensor that does not move with the pair."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..examples import changed
from ..finding import Finding
from ..foreign import name_of
from ..rehearsal import rehearse
from ..rule import Rule

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["TensorLeftBehind"]


class TensorLeftBehind(Rule):
    """A tensor held in an attribute, a closure or a global that ``pair.to(device)`` does not reach."""

    code = "PG602"
    title = "a tensor does not move with the pair"
    group = "devices"
    severity = "error"
    why = (
        "pair.to('cuda') moves parameters and buffers. A tensor that is a plain attribute, or one of a closure, a global or "
        "a list, stays on the CPU, and the first operation that takes it and another one raises; checkpoints lack it, too."
    )
    remedy = "Register it: self.register_buffer('name', tensor), or wrap it in nn.Parameter if it is to be trained"
    bad = """\
class MyVAE(Pair):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(3, 2), nn.Linear(2, 3)
        self.prior_mean = torch.zeros(2)

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(self.prior_mean, 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x), 0.5).to_event(1))

pair, batch = MyVAE(), torch.randn(8, 3)
"""
    mended = changed(bad, ("self.prior_mean = torch.zeros(2)", 'self.register_buffer("prior_mean", torch.zeros(2))'))

    def look(self, subject: Subject) -> Iterator[Finding]:
        """See `Rule.look`."""
        for meeting in rehearse(subject).meetings:
            tensor = meeting.origin.tensor
            name = None if tensor is None else name_of(tensor, subject)
            if tensor is not None and name is not None:
                yield self.found(
                    f"{name}, a tensor of shape {tuple(tensor.shape)} that the pair does not own, stays "
                    "on the CPU when the pair moves to a GPU",
                    shape=tuple(tensor.shape),
                    line=meeting.line or meeting.origin.used,
                )
