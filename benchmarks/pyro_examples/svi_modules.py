"""``svi_torch.py`` and ``svi_lightning.py``: a regression with an autoguide, on mini-batches."""

from __future__ import annotations

from types import ModuleType

import torch
from pyro.infer.autoguide import AutoNormal

from pyrogen.pair import Pair

from .attempt import Attempt, Example, Refusal

__all__ = ["SVI_LIGHTNING", "SVI_TORCH"]

_SHARED = Refusal(
    "'coeff' lies outside plate 'data', so that all data share it",
    "all data share the coefficients, so that there is one log p of all data and none of each.",
)


def _attempts(module: ModuleType) -> list[Attempt]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(48, generator=generator)
    y = 0.3 + 2.0 * x + torch.randn(48, generator=generator)
    model = module.Model(len(x))
    guide = AutoNormal(model)
    return [
        Attempt(
            Pair.of(model, guide),
            (x, y),
            code="model = Model(len(x))\npair, batch = Pair.of(model, AutoNormal(model)), (x, y)",
            programs=(model, guide),
            refusals={"compare": _SHARED},
        )
    ]


SVI_TORCH = Example("svi_torch.py", _attempts)
SVI_LIGHTNING = Example("svi_lightning.py", _attempts, ("lightning", "lightning.pytorch"))
