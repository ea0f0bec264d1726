"""PG127: a latent influences nothing in the model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from pyro.distributions import Delta
from torch import Tensor

from pyrogen.programs.run import run_model
from pyrogen.programs.traces import innermost

from ..examples import RIGHT
from ..finding import Finding
from ..rule import Rule

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["LatentWithoutInfluence"]

_BAD = """\
def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(encoder(x)), 1.0).to_event(1), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(1))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""


class LatentWithoutInfluence(Rule):
    """Another value of a latent changes no other site's log probability, whatever the parameters are."""

    code = "PG127"
    title = "a latent influences nothing in the model"
    group = "structure"
    severity = "warning"
    why = "Its posterior is its prior, and what the guide learns of it is in vain; often the model uses another variable."
    remedy = "Use the value that pyro.sample returns, or take the site out of both programs"
    bad = _BAD
    mended = RIGHT

    def look(self, subject: Subject) -> Iterator[Finding]:
        """Give each latent a draw from the prior, the others staying, and compare."""
        with subject.running():
            for parameter in subject.pair.parameters():  # a network may begin with zeros, and say nothing of its input
                if parameter.is_floating_point():
                    parameter.add_(torch.randn_like(parameter), alpha=0.1)
            before = subject.log_probs()
            for name in subject.structure.latents:
                site = subject.guide[name]
                if name not in subject.draws or isinstance(innermost(site["fn"]), Delta):
                    continue
                others = {other: value for other, value in subject.draws.items() if other != name}
                given = self._with_prior_draw(subject, name, others)
                if given is None or torch.equal(given[name], subject.draws[name]):
                    continue
                after = subject.log_probs(latents=given)
                if all(
                    (role, other) == ("model", name) or role == "guide" or _equal(values, after[role, other][1])
                    for (role, other), (_, values) in before.items()
                    if (role, other) in after
                ):
                    yield self.found(f"another value of latent '{name}' changes no other site of the model", site=name)

    @staticmethod
    def _with_prior_draw(subject: Subject, name: str, others: dict[str, Tensor]) -> dict[str, Tensor] | None:
        nesting = subject.structure.nesting
        drawn = run_model(subject.pair, subject.args, subject.kwargs, others, nesting=nesting, draw=True)
        value = drawn.visited[name].value
        return None if value.shape != subject.draws[name].shape else {**others, name: value}


def _equal(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors are equal to the last bit: the same operations on the same numbers."""
    return first.shape == second.shape and torch.allclose(first, second, rtol=0.0, atol=0.0, equal_nan=True)
