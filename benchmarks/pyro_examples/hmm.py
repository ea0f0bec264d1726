"""``hmm.py``: a hidden Markov model whose states Pyro sums out (its model 1)."""

from __future__ import annotations

from argparse import Namespace
from functools import partial
from types import ModuleType

import torch
from pyro import poutine
from pyro.infer import TraceEnum_ELBO
from pyro.infer.autoguide import AutoDelta

from pyrogen.pair import Pair

from .attempt import Attempt, Example, Refusal
from .vae import PICTURES

__all__ = ["HMM"]

_SHARED = Refusal(
    r"'probs_x' lies outside plate 'sequences', so that all data share it.*a single value \(Delta\)",
    "all sequences share the transitions, to which the guide gives a point.",
)
_ASSERTED = Refusal(
    r"assert lengths.max\(\) <= max_length`: it needs the value of a tensor on the host",
    "an assertion about values cannot be a part of a graph of tensor operations.",
)
_CODE = """
model = partial(model_1, args=args)
guide = AutoDelta(poutine.block(model, expose=["probs_x", "probs_y"]))  # as in the example
pair, batch = Pair.of(model, guide, data_plate="sequences"), (sequences, lengths)
objective = PyroLoss(TraceEnum_ELBO(max_plate_nesting=2))
"""


def _attempts(module: ModuleType) -> list[Attempt]:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(2, 6, (24,), generator=generator)
    sequences = (torch.rand(24, 5, 12, generator=generator) < 0.1).float()
    model = partial(module.model_1, args=Namespace(hidden_dim=3, jit=True))
    guide = AutoDelta(poutine.block(model, expose=["probs_x", "probs_y"]))
    return [
        Attempt(
            Pair.of(model, guide, data_plate="sequences"),
            (sequences, lengths),
            code=_CODE,
            elbo=TraceEnum_ELBO(max_plate_nesting=2),
            programs=(model, guide),
            refusals={"compare": _SHARED, "graph": _ASSERTED},
            findings={
                "PG301": "`probs_x[x]` indexes the leftmost dimension, which is that of particles.",
                "PG601": "the example makes its tensors on the default device, which it sets.",
                "PG604": "the host waits for what is asserted.",
            },
        )
    ]


HMM = Example("hmm.py", _attempts, PICTURES)
