"""``scanvi/scanvi.py``: a semi-supervised model of gene counts, all of whose sites are scaled down."""

from __future__ import annotations

from types import ModuleType

import torch
from pyro import poutine
from pyro.infer import TraceEnum_ELBO, config_enumerate

from pyrogen.pair import Pair

from .attempt import Attempt, Example, Refusal
from .made_up_data import one_hot
from .vae import PICTURES

__all__ = ["SCANVI"]

_SCALED = Refusal(
    r"site 'z1' is scaled by .* which makes its log weight one of another density",
    "the example divides every log probability by the number of cells and genes: weights to that power are those of another "
    "density.",
)
_FINDINGS = {"PG301": "`nn.BatchNorm1d` takes a third dimension for a channel, so that particles run in turn."}
_UNTRAINED = {"PG404": "the classifier is trained by the loss that is left out here."}


def _attempts(module: ModuleType) -> list[Attempt]:
    cells, genes, labels = 32, 30, 4
    counts = torch.poisson(torch.full((cells, genes), 2.0), generator=torch.Generator().manual_seed(0))
    y = one_hot(cells, labels)
    attempts = []
    for batch, factor, change in (
        ((counts,), 1.0 / (cells * genes), ""),
        ((counts,), 1.0, "no scale"),
        ((counts, y), 1.0, "no scale, labels, the classifier's loss left out"),
    ):
        network = module.SCANVI(genes, labels, 4.0, 1.0, scale_factor=factor)
        guide = config_enumerate(network.guide, "parallel", expand=True)
        if len(batch) == 2:
            guide = poutine.block(guide, hide=["classification_loss"])
        attempts.append(
            Attempt(
                Pair.of(network.model, guide, data_plate="batch"),
                batch,
                change=change,
                code="scanvi = SCANVI(..., scale_factor=1.0)\n" * (factor == 1.0)
                + 'guide = config_enumerate(scanvi.guide, "parallel", expand=True)  # as in the example\n'
                + 'guide = poutine.block(guide, hide=["classification_loss"])\n' * (len(batch) == 2)
                + f'pair, batch = Pair.of(scanvi.model, guide, data_plate="batch"), {"(x, y)" if len(batch) == 2 else "x"}\n'
                + "objective = PyroLoss(TraceEnum_ELBO(max_plate_nesting=1, strict_enumeration_warning=False))",
                elbo=TraceEnum_ELBO(max_plate_nesting=1, strict_enumeration_warning=False),
                programs=(network.model, guide),
                refusals={} if factor == 1.0 else {"compare": _SCALED},
                findings=_FINDINGS
                | ({} if factor == 1.0 else {"PG116": _SCALED.why})
                | (_UNTRAINED if len(batch) == 2 else {}),
            )
        )
    return attempts


SCANVI = Example(
    "scanvi/scanvi.py",
    _attempts,
    PICTURES,
    note="Batch normalization is in training mode while it is fitted, as in the example, and in evaluation mode in "
    "estimates. With labels, the guide adds the loss of a classifier by `pyro.factor`, which is no part of a log weight: "
    "without it the estimates are those of log p(x, y).",
)
