"""``pyro.contrib.cevae``: a VAE for causal effects, whose guide observes what the model observes."""

from __future__ import annotations

from types import ModuleType

import torch
from pyro import poutine

from pyrogen.pair import Pair

from .attempt import Attempt, Example, Refusal

__all__ = ["CEVAE"]

_OBSERVED = Refusal(
    "site 't' is observed in the guide: observe it in the model only",
    "log q(t|x) and log q(y|t,x) are no part of the evidence lower bound, and `Trace_ELBO` would subtract them. The example "
    "has an objective of its own that adds them, as losses of two classifiers.",
)


def _attempts(module: ModuleType) -> list[Attempt]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(48, 5, generator=generator)
    t, y = (torch.rand(2, 48, generator=generator) < 0.5).float()
    network = module.CEVAE(5, latent_dim=4, hidden_dim=20)
    blocked = poutine.block(network.guide, hide=["t", "y"])
    return [
        Attempt(
            Pair.of(network.model, network.guide),
            (x, t, y),
            elbo=module.TraceCausalEffect_ELBO(),
            refusals={"structure": _OBSERVED},
            findings={"PG104": _OBSERVED.why},
        ),
        Attempt(
            Pair.of(network.model, blocked),
            (x, t, y),
            change="the guide's observed sites are blocked",
            code='pair, batch = Pair.of(cevae.model, poutine.block(cevae.guide, hide=["t", "y"])), (x, t, y)',
            programs=(network.model, blocked),
            findings={
                "PG404": "the guide's classifiers are trained by the sites that are blocked.",
                "PG601": "`dist.Normal(0, 1).expand(...)` is made, and expanded, on the CPU.",
            },
        ),
    ]


CEVAE = Example(
    "pyro/contrib/cevae/__init__.py",
    _attempts,
    note="The classifiers q(t|x) and q(y|t,x), which the blocked guide does not train, serve predictions where t and y are "
    "not known.",
)
