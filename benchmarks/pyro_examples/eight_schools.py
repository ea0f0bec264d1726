"""``eight_schools/svi.py``: a hierarchical model with parameters for each datum."""

from __future__ import annotations

from types import ModuleType

from pyrogen.pair import Pair

from .attempt import Attempt, Example

__all__ = ["EIGHT_SCHOOLS"]


def _attempts(module: ModuleType) -> list[Attempt]:
    programs = module.model, module.guide
    return [
        Attempt(
            Pair.of(*programs),
            module.data,
            code="pair, batch = Pair.of(model, guide), data",
            programs=programs,
            batch_size=len(module.data),
            findings={
                "PG403": "the standard errors are a part of the batch, and zeros for them are no data.",
                "PG501": "initial values are drawn by `torch.randn(...)` and `torch.rand(...)` in each run, and used in the "
                "first; a function, `pyro.param(name, lambda: torch.randn(...))`, would be called once.",
                "PG601": "the prior's tensors and the parameters' initial values are made on the CPU.",
            },
        )
    ]


EIGHT_SCHOOLS = Example(
    "eight_schools/svi.py",
    _attempts,
    note="The example draws the population's mean and scale inside the plate of the schools, so that each school has its "
    "own, and there is a log p of each school. Were they outside, as in the textbook, `compare` would say that all data "
    "share them.",
)
